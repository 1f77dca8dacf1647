// Package matrix is a matrix of faults on real parts: a real containerd, a real
// registry, real DNS, TLS and proxies, and no cluster.
//
// Each row breaks one thing, has containerd pull, has `pullprobe check` look,
// and compares both with what the row claims; then it mends that one thing,
// and the same image must be Healthy. All of it is in tests, behind the build
// tag matrix: see ../README.md and `make matrix`.
package matrix
