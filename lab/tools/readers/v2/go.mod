module github.com/pullprobe/pullprobe/lab/tools/readers/v2

go 1.26.6
