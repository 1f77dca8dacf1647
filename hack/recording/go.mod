module github.com/pullprobe/pullprobe/hack/recording

go 1.26.0
