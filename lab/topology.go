package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Addresses of the lab's network: a bridge in the infra namespace, and routed links to the
// nodes of other subnets.
const (
	Subnet       = "10.77.0.0/24"
	SubnetV6     = "fd77::/64"
	SubnetGlobal = "2001:db8:77::/64" // global addresses, on the same bridge; fd77 goes after IPv4 by RFC 6724
	InfraAddr    = "10.77.0.1"        // API server, gateway, good resolver
	InfraGlobal  = "2001:db8:77::1"   // gateway; nothing listens on port 443
	ServiceAddr  = "10.96.0.1"        // the API server as pods see it
	APIAddr      = InfraAddr + ":6443"
	registryPort = "5000" // loopback of infra: plain HTTP, no auth; the lab pushes here
)

// Resolvers, each with its own address, all on port 53, UDP and TCP.
const (
	ResolverGood     = "10.77.0.1"   // answers .lab from its table, NXDOMAIN for the rest of .lab, REFUSED outside
	ResolverServfail = "10.77.0.2"   // SERVFAIL to everything
	ResolverDead     = "10.77.0.3"   // receives and never answers
	ResolverNXDomain = "10.77.0.4"   // NXDOMAIN to everything
	ResolverSecond   = "10.77.0.5"   // answers as the good one does; SetDNS changes the answers of each alone
	ResolverV6       = "fd77::1"     // the same, over IPv6
	ResolverNoHost   = "10.77.0.250" // no machine has this address
)

// Credentials that auth.lab and token.lab accept.
const (
	User     = "puller"
	Password = "s3cret"
)

// Infra is the name of the namespace of everything that is not a node.
const Infra = "infra"

// prefix marks what the lab owns on the machine: network namespaces, cgroups.
const prefix = "ppl-"

// cgroup is the lab's directory in every cgroup hierarchy.
const cgroup = "ppl"

// Node is one machine of the cluster.
type Node struct {
	Name     string
	Addr     string // IPv4. In Subnet the node is on the bridge; otherwise infra routes its /24
	V6       string // IPv6, in a /64
	Families Families
	Resolver string // the nameserver in its resolv.conf
	Layout   string // K3s or RKE2; empty: as on a node of kubeadm
	Zone     string // label topology.kubernetes.io/zone
	Pool     string // label karpenter.sh/nodepool

	pods string // subnet of its pods
}

// Families are the address families that a node has in the cluster.
type Families int

const (
	V4Node   Families = iota // the node reports IPv4 alone, but has an IPv6 address too
	DualNode                 // it reports both
	V6Node                   // it has IPv6 alone; IPv4 leads to the API server and nowhere else
)

// Nodes returns the nodes that the lab knows. Up starts those of DefaultNodes, AddNode one
// more.
func Nodes() []Node {
	return []Node{
		{
			Name: "node-a", Addr: "10.77.0.101", V6: "fd77::101", Resolver: ResolverGood,
			Zone: "zone-1", Pool: "general", pods: "10.88.1.0/24",
		},
		{
			Name: "node-b", Addr: "10.77.0.102", V6: "fd77::102", Resolver: ResolverGood,
			Zone: "zone-1", Pool: "general", pods: "10.88.2.0/24",
		},
		{
			Name: "node-c", Addr: "10.78.0.103", V6: "fd78::103", Resolver: ResolverSecond,
			Zone: "zone-2", Pool: "batch", pods: "10.88.3.0/24",
		},
		{ // differs from node-a and node-b in its subnet alone
			Name: "node-d", Addr: "10.79.0.104", V6: "fd79::104", Resolver: ResolverGood,
			Zone: "zone-1", Pool: "general", pods: "10.88.4.0/24",
		},
		{
			Name: "node-v6", Addr: "10.77.0.105", V6: "fd77::105", Families: V6Node, Resolver: ResolverV6,
			Zone: "zone-1", Pool: "general", pods: "fd88:5::/64",
		},
		{
			Name: "node-dual", Addr: "10.77.0.106", V6: "2001:db8:77::106", Families: DualNode, Resolver: ResolverV6,
			Zone: "zone-1", Pool: "general", pods: "10.88.6.0/24",
		},
		{
			Name: "node-k3s", Addr: "10.77.0.107", V6: "fd77::107", Resolver: ResolverGood, Layout: K3s,
			Zone: "zone-1", Pool: "general", pods: "10.88.7.0/24",
		},
		{
			Name: "node-rke2", Addr: "10.77.0.108", V6: "fd77::108", Resolver: ResolverGood, Layout: RKE2,
			Zone: "zone-1", Pool: "general", pods: "10.88.8.0/24",
		},
	}
}

// DefaultNodes returns the names of the nodes that Up starts if none are named.
func DefaultNodes() []string { return []string{"node-a", "node-b"} }

// allNodeNames returns the names of Nodes.
func allNodeNames() []string {
	var names []string
	for _, n := range Nodes() {
		names = append(names, n.Name)
	}
	return names
}

// onBridge reports whether the node is in the subnet of the bridge.
func (n Node) onBridge() bool {
	return netip.MustParsePrefix(Subnet).Contains(netip.MustParseAddr(n.Addr))
}

// gateway returns the first address of the subnet that an address of the node is in: infra
// has it.
func gateway(addr string) netip.Addr {
	a := netip.MustParseAddr(addr)
	bits := 24
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked().Addr().Next()
}

// spaceNames returns the names of all namespaces: infra and the nodes.
func spaceNames() []string { return append([]string{Infra}, allNodeNames()...) }

func findNode(name string) (Node, error) {
	for _, n := range Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return Node{}, fmt.Errorf("unknown node %q: the nodes are %s", name, strings.Join(allNodeNames(), ", "))
}

// netns returns the path of a network namespace, as `ip netns` names it.
func netns(space string) string { return "/run/netns/" + prefix + space }

// How a host serves; see serve.go and faulthosts.go.
const (
	serveOpen     = "open"     // the registry, no credentials required
	serveAuth     = "auth"     // the registry behind htpasswd
	serveToken    = "token"    // the registry behind bearer tokens, and the token service on :5001
	serveSlow     = "slow"     // the registry, blobs at about 1 MB/s
	serveRedirect = "redirect" // the registry, blobs redirected to blobs.lab
	servePlain    = "plain"    // the registry, HTTP on port 443
	serveFault    = "fault"    // chosen by the Host header: faulthosts.go
	serveClose    = "close"    // accepts and closes
	serveHang     = "hang"     // accepts and sends nothing
	serveNothing  = ""         // nothing listens
)

// AnyHost is the domain for a test's own host names, which it gives addresses by SetDNS: the
// certificates of the good registries are valid for them too.
const AnyHost = ".any.lab"

// Host is one name in the zone .lab.
type Host struct {
	Name string
	Addr netip.Addr // zero: none
	V6   netip.Addr // zero: none
	Does string     // one line for people

	serve string
	cert  string // name of the key pair in the PKI directory
}

// Hosts returns the zone .lab: every registry with its fault.
func Hosts() []Host {
	a := netip.MustParseAddr
	fault := func(name, does string) Host {
		return Host{Name: name, Addr: a("10.77.0.20"), serve: serveFault, cert: "registry", Does: does}
	}
	return []Host{
		{Name: "registry.lab", Addr: a("10.77.0.10"), serve: serveOpen, cert: "registry", Does: "good, no credentials needed"},
		{Name: "mirror.lab", Addr: a("10.77.0.26"), serve: serveOpen, cert: "registry", Does: "good, same content, for hosts.toml"},
		{Name: "dual.lab", Addr: a("10.77.0.25"), V6: a("fd77::25"), serve: serveOpen, cert: "registry", Does: "good, with an IPv6 address too"},
		{Name: "auth.lab", Addr: a("10.77.0.11"), serve: serveAuth, cert: "registry", Does: "good, basic auth, " + User + "/" + Password},
		{
			Name: "token.lab", Addr: a("10.77.0.18"), serve: serveToken, cert: "registry",
			Does: "good, bearer tokens from https://token.lab:5001/token: public/* without login, the rest for " + User + "/" + Password,
		},
		{Name: "slow.lab", Addr: a("10.77.0.19"), serve: serveSlow, cert: "registry", Does: "good, blobs at about 1 MB/s"},
		{Name: "redirect.lab", Addr: a("10.77.0.24"), serve: serveRedirect, cert: "registry", Does: "good, blobs redirected to blobs.lab"},
		{Name: "blobs.lab", Addr: a("10.77.0.23"), serve: serveOpen, cert: "registry", Does: "good, blobs of redirect.lab"},
		{Name: "expired.lab", Addr: a("10.77.0.12"), serve: serveOpen, cert: "expired", Does: "certificate expired yesterday"},
		{Name: "badca.lab", Addr: a("10.77.0.13"), serve: serveOpen, cert: "badca", Does: "certificate of a CA that no node trusts"},
		{Name: "wrongname.lab", Addr: a("10.77.0.14"), serve: serveOpen, cert: "wrongname", Does: "certificate for elsewhere.lab"},
		{Name: "intercept.lab", Addr: a("10.77.0.27"), serve: serveOpen, cert: "intercept",
			Does: "certificate for every host, of a CA that no node trusts"},
		{Name: "plain.lab", Addr: a("10.77.0.15"), serve: servePlain, Does: "plain HTTP on port 443"},
		{Name: "refused.lab", Addr: a("10.77.0.16"), serve: serveNothing, Does: "nothing listens on port 443"},
		{Name: "blackhole.lab", Addr: a("10.77.0.17"), serve: serveNothing, Does: "SYN dropped"},
		{Name: "v6.lab", V6: a("fd77::26"), serve: serveOpen, cert: "registry", Does: "good, IPv6 only"},
		{
			Name: "global.lab", Addr: a("10.77.0.28"), V6: a("2001:db8:77::28"), serve: serveOpen, cert: "registry",
			Does: "good, IPv4 and IPv6; its IPv6 address is global, so that nodes prefer it (RFC 6724)",
		},
		{Name: "refused6.lab", V6: a("fd77::16"), serve: serveNothing, Does: "IPv6 only, nothing listens on port 443"},
		{Name: "blackhole6.lab", V6: a("fd77::17"), serve: serveNothing, Does: "IPv6 only, SYN dropped"},
		{Name: "nohost.lab", Addr: a("10.77.0.99"), serve: serveNothing, Does: "no machine has this address"},
		{Name: "rawclose.lab", Addr: a("10.77.0.21"), serve: serveClose, Does: "accepts TCP and closes"},
		{Name: "rawhang.lab", Addr: a("10.77.0.22"), serve: serveHang, Does: "accepts TCP and never speaks TLS"},
		fault("ratelimit.lab", "429 with Retry-After: 60"),
		fault("unavailable.lab", "503"),
		fault("err500.lab", "500"),
		fault("forbidden.lab", "403 DENIED"),
		fault("token401.lab", "token service answers 401"),
		fault("token403.lab", "token service answers 403"),
		fault("tokendenied.lab", "anonymous token granted, then 401 insufficient_scope"),
		fault("noaccess.lab", "token for "+User+"/"+Password+" granted, then 403 DENIED"),
		fault("stale.lab", "404 MANIFEST_UNKNOWN for every tag but 1: a mirror that lacks the rest"),
		fault("hang.lab", "takes the request and never answers"),
		fault("badblob.lab", "one byte of every blob is wrong"),
		fault("truncblob.lab", "every blob ends half-way with a reset"),
		fault("slowblob.lab", "every blob stalls half-way and never ends"),
		fault("noblob.lab", "404 BLOB_UNKNOWN for every blob"),
	}
}

// Addrs returns the addresses of a host, IPv4 first.
func (h Host) Addrs() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{h.Addr, h.V6}, func(a netip.Addr) bool { return !a.IsValid() })
}

// resolvers returns the addresses that answer DNS, or receive it.
func resolvers() []string {
	return []string{ResolverGood, ResolverServfail, ResolverDead, ResolverNXDomain, ResolverSecond, ResolverV6}
}

// bridgeAddrs returns the addresses that infra's bridge must have for Hosts.
func bridgeAddrs() []netip.Addr {
	var addrs []netip.Addr
	for _, h := range Hosts() {
		if h.Name == "nohost.lab" {
			continue
		}
		for _, a := range h.Addrs() {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// hostAddr returns the address of a host of the zone, IPv4 if it has one.
func hostAddr(name string) string {
	for _, h := range Hosts() {
		if h.Name == name {
			return h.Addrs()[0].String()
		}
	}
	panic("lab: unknown host " + name)
}
