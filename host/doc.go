// Package host reads other processes on this host: the container runtime and the
// kubelet. It reads their root directories (confined: links resolve beneath the
// root), environments, command lines and systemd units, and when files changed.
// It starts nothing and writes nothing.
package host
