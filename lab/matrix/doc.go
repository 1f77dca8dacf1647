// Package matrix tests pullprobe on a matrix of faults of real parts: a real
// containerd, a real registry, real DNS, TLS and proxies, without a cluster.
//
// Each row breaks one thing, makes containerd pull an image, runs `pullprobe
// check`, and compares both with the row's expectations. Then it fixes that one
// thing, and the same image must be Healthy. Everything is in tests, behind the
// build tag matrix: see ../README.md and `make matrix`.
package matrix
