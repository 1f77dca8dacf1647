// The versions that this is built with are in the .mod files beside it: go build -modfile=NAME.mod
module github.com/pullprobe/pullprobe/lab/tools/readers/v2

go 1.26.6
