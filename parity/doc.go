// Package parity compares what pullprobe reads and requests with containerd's own code:
// hosts.toml, challenges, requests and addresses. It is a module of its own, so that
// containerd and what it needs stay out of the agent's go.mod.
package parity
