module github.com/pullprobe/pullprobe/lab/tools/readers/v1

go 1.26.6
