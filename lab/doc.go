// Package lab runs a Kubernetes cluster of real parts on one Linux machine, in
// which image pulls can be made to fail.
//
// Two nodes (containerd, kubelet), a control plane (etcd, kube-apiserver,
// scheduler, controller manager), registries with and without faults, and DNS
// servers whose answers a test controls. Every part runs in its own namespaces
// and no packet leaves the machine. README.md describes the hosts and the faults.
//
// Programs and tests use it like this:
//
//	l, err := lab.Open(lab.DefaultDir())     // a lab that `lab up` started
//	err = l.Inject(ctx, "node-a", "resolver-dead")
//	pull := l.Pull(ctx, "node-a", "registry.lab/app:1", nil)
//	err = l.Lift(ctx, "node-a", "resolver-dead")
package lab
