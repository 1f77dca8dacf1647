// Package lab is a Kubernetes cluster of real parts on one Linux machine, made
// to have its image pulls broken.
//
// Two nodes (containerd, kubelet), a control plane (etcd, kube-apiserver,
// scheduler, controller manager), registries with and without faults, and DNS
// servers whose answers a test controls. Every part lives in namespaces of its
// own and nothing leaves the machine: see README.md for the picture, the hosts
// and the faults.
//
// A program or test uses it like this:
//
//	l, err := lab.Open(lab.DefaultDir())     // a lab that `lab up` started
//	err = l.Inject(ctx, "node-a", "resolver-dead")
//	pull := l.Pull(ctx, "node-a", "registry.lab/app:1", nil)
//	err = l.Lift(ctx, "node-a", "resolver-dead")
package lab
