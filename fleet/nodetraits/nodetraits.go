// Package nodetraits reads from Node objects by what nodes are compared.
package nodetraits

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/compare"
)

// Of returns the traits of a Node object. The first of the labels poolBy that it has names its
// pool, as in [compare.NodeTraits].
func Of(n *corev1.Node, poolBy ...string) compare.Traits {
	info := n.Status.NodeInfo
	x := compare.NodeInfo{
		Labels: n.Labels, Arch: info.Architecture, OSImage: info.OSImage, Kernel: info.KernelVersion, Kubelet: info.KubeletVersion,
		Runtime: info.ContainerRuntimeVersion,
	}
	for _, a := range n.Status.Addresses {
		switch a.Type {
		case corev1.NodeInternalIP:
			x.InternalIP = append(x.InternalIP, a.Address)
		case corev1.NodeExternalIP:
			x.ExternalIP = append(x.ExternalIP, a.Address)
		default:
		}
	}
	return compare.NodeTraits(x, poolBy...)
}
