package compare

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
)

// Traits are what a Node object says about a node: values by the name of the trait.
type Traits map[string]string

// The traits of a Node object. Names are API, as keys of evidence are.
const (
	TraitZone         = "zone"
	TraitRegion       = "region"
	TraitPool         = "node pool"
	TraitInstanceType = "instance type"
	TraitArch         = "architecture"
	TraitOS           = "OS image"
	TraitKernel       = "kernel"
	TraitKubelet      = "kubelet"
	TraitRuntime      = "container runtime"
	TraitSubnet       = "subnet"
	TraitEgress       = "egress address"
)

// The traits that a node's facts add.
const (
	TraitResolver    = "resolver"
	TraitProxy       = "proxy"
	TraitCA          = "CA pool"
	TraitMirrors     = "mirrors"
	TraitHostsTOML   = "hosts.toml"
	TraitAddress     = "address"
	TraitCertificate = "certificate"
	TraitIssuer      = "issuer" // of the certificate
	TraitFamily      = "IP family"
)

// NodeInfo is the part of a Node object that traits come from.
type NodeInfo struct {
	Labels     map[string]string
	Arch       string   // status.nodeInfo.architecture
	OSImage    string   // status.nodeInfo.osImage
	Kernel     string   // status.nodeInfo.kernelVersion
	Kubelet    string   // status.nodeInfo.kubeletVersion
	Runtime    string   // status.nodeInfo.containerRuntimeVersion
	InternalIP []string // status.addresses of type InternalIP
	ExternalIP []string // status.addresses of type ExternalIP
}

// poolLabels are the labels by which providers name a node's pool, the one of most effect
// first: on EKS a node of Karpenter has no node group.
// Sources: https://karpenter.sh/docs/concepts/nodepools/, https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html,
// https://cloud.google.com/kubernetes-engine/docs/concepts/node-pools, https://learn.microsoft.com/azure/aks/use-labels,
// https://kops.sigs.k8s.io/labels/, and RKEMachinePoolNameLabel in github.com/rancher/rancher pkg/capr (Rancher's RKE2).
var poolLabels = []string{
	"karpenter.sh/nodepool",
	"karpenter.sh/provisioner-name", // Karpenter before v1beta1
	"eks.amazonaws.com/nodegroup",
	"alpha.eksctl.io/nodegroup-name",
	"cloud.google.com/gke-nodepool",
	"kubernetes.azure.com/agentpool",
	"agentpool", // older AKS
	"kops.k8s.io/instancegroup",
	"rke.cattle.io/rke-machine-pool-name",
}

// NodeTraits returns the traits of a Node object. The first of the further labels that the
// node has names its pool; else the label of its provider.
func NodeTraits(n NodeInfo, poolBy ...string) Traits {
	t := Traits{}
	set := func(name, value string) {
		if value = clean(value); value != "" {
			t[name] = value
		}
	}
	label := func(names ...string) string {
		for _, o := range names {
			if v := n.Labels[o]; v != "" {
				return v
			}
		}
		return ""
	}
	set(TraitZone, label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"))
	set(TraitRegion, label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"))
	set(TraitInstanceType, label("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"))
	set(TraitPool, label(slices.Concat(poolBy, poolLabels)...))
	set(TraitArch, n.Arch)
	set(TraitOS, n.OSImage)
	set(TraitKernel, n.Kernel)
	set(TraitKubelet, n.Kubelet)
	set(TraitRuntime, n.Runtime)
	set(TraitSubnet, strings.Join(subnets(n.InternalIP), ", "))
	if len(n.ExternalIP) > 0 {
		if a, err := netip.ParseAddr(n.ExternalIP[0]); err == nil {
			set(TraitEgress, a.Unmap().String())
		}
	}
	return t
}

// subnets returns the networks of addresses: /24 of IPv4, /64 of IPv6. The real size of a
// subnet is not known to Kubernetes.
func subnets(addresses []string) []string {
	var out []string
	for _, s := range addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			continue
		}
		a = a.Unmap().WithZone("")
		bits := 64
		if a.Is4() {
			bits = 24
		}
		if p, err := a.Prefix(bits); err == nil && !slices.Contains(out, p.String()) {
			out = append(out, p.String())
		}
	}
	slices.Sort(out)
	return out
}

// trait is one property by which nodes may differ in how they see a host.
type trait struct {
	name string
	of   func(*observation) []string // nil: not known
}

// none is the value of a trait that a node is known not to have.
const none = "none"

// traits returns all traits, in the order in which they are shown.
func traits() []trait {
	var out []trait
	for _, name := range []string{
		TraitZone, TraitRegion, TraitPool, TraitInstanceType, TraitArch, TraitOS, TraitKernel, TraitKubelet, TraitRuntime, TraitSubnet,
	} {
		out = append(out, trait{name, func(o *observation) []string {
			if o.node.Traits == nil {
				return nil
			}
			return []string{cmp.Or(o.node.Traits[name], none)}
		}})
	}
	of := func(get func(nodefacts.Host) string) func(*observation) []string {
		return func(o *observation) []string { return known(get(o.host)) }
	}
	return append(
		out,
		trait{TraitEgress, egress},
		trait{TraitResolver, func(o *observation) []string { return o.node.Facts.Node.Resolvers }},
		trait{TraitProxy, func(o *observation) []string { return known(o.node.Facts.Node.Proxy) }},
		trait{TraitCA, func(o *observation) []string { return known(o.node.Facts.Node.CA) }},
		trait{TraitMirrors, func(o *observation) []string { return known(strings.Join(o.host.Mirrors, ", ")) }},
		trait{TraitHostsTOML, of(func(h nodefacts.Host) string { return h.HostsTOML })},
		trait{TraitAddress, func(o *observation) []string {
			if o.host.Used != "" {
				return []string{o.host.Used}
			}
			return o.host.Addresses
		}},
		trait{TraitCertificate, of(func(h nodefacts.Host) string { return h.Certificate })},
		trait{TraitFamily, family},
	)
}

func known(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// egress returns the address from which the node's requests come: what servers see, or
// else its external address.
func egress(o *observation) []string {
	if from := o.node.Facts.Node.Egress; from != "" {
		return []string{from}
	}
	return known(o.node.Traits[TraitEgress])
}

// family returns whether the node reaches for the host by IPv4 or IPv6.
func family(o *observation) []string {
	list := o.host.Addresses
	if o.host.Used != "" {
		list = []string{o.host.Used}
	}
	return families(list)
}

// families returns the IP families of addresses or networks: IPv4, IPv6.
func families(list []string) []string {
	var out []string
	for _, s := range list {
		address, _, _ := strings.Cut(s, "/")
		a, err := netip.ParseAddr(address)
		if err != nil {
			continue
		}
		version := "IPv4"
		if a.Is6() {
			version = "IPv6"
		}
		if !slices.Contains(out, version) {
			out = append(out, version)
		}
	}
	return out
}
