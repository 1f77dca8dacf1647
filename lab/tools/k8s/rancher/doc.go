// Package rancher does on a node of the lab what k3s and RKE2 do at their start: it writes
// containerd's files from registries.yaml, and the kubelet's default settings; it runs
// containerd as a child, and starts the kubelet with its arguments. Files, paths and
// arguments are those of github.com/k3s-io/k3s (pkg/agent/containerd, pkg/agent/templates,
// pkg/agent/config, pkg/daemons/agent) and github.com/rancher/rke2 (pkg/executor/staticpod).
//
// Left out is what no image pull depends on: the control plane, networks, and the cloud
// controller (as with --disable-cloud-controller).
package rancher
