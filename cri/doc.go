// Package cri is the client of the container runtime: its status, its images, the
// guarded test pull and the journal that cleans up after it.
//
// Its checks:
//
//	runtime           who it is, and whether it is ready
//	runtime/sandbox   the image that pod sandboxes are made from
//	pull              the test pull
//
// It speaks CRI v1 (k8s.io/cri-api) to containerd, CRI-O and cri-dockerd.
package cri
