// Package classify reads error messages of the kubelet, containerd and CRI-O and
// returns the causes that they may mean. It is the only place that reads
// English. It does no I/O and builds for every platform.
//
// [Message] classifies a message. The rules are a table in rules.go.
package classify
