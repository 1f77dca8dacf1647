// Package cri is everything pullprobe knows about the container runtime: its
// socket and the process behind it, the images it holds, what its error
// messages mean, and the guarded test pull.
//
// It speaks CRI v1 (k8s.io/cri-api) to containerd, CRI-O and cri-dockerd.
package cri
