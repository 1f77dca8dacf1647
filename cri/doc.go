// Package cri is everything pullprobe knows about the container runtime: its
// socket and the process behind it, its configuration, the images it holds,
// what its error messages mean, and the guarded test pull. From the kubelet
// beside it comes when that minds a full disk.
//
// Its checks:
//
//	runtime               who it is, and whether it is ready
//	runtime/config.toml   the configuration files, and whether they are newer than the process
//	runtime/environment   proxy and trust settings, and what its service's files would give it now
//	runtime/sandbox       the image that pods' sandboxes are made from
//	pull                  the test pull
//
// It speaks CRI v1 (k8s.io/cri-api) to containerd, CRI-O and cri-dockerd.
package cri
