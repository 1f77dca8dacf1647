package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// makeNetwork creates the namespaces, the bridge in infra, and a link to each node that the
// lab knows, whether it is started or not. It creates both ends of a link inside, so the
// host's own namespace is not touched.
func makeNetwork(ctx context.Context, d Dir) error {
	// `ip netns add` turns /run/netns into a mount point when it creates the first
	// namespace. Down undoes that if the lab caused it.
	if _, err := os.Stat("/run/netns"); os.IsNotExist(err) {
		if err := os.WriteFile(d.Run("made-run-netns"), nil, 0o644); err != nil {
			return err
		}
	}
	for _, s := range spaceNames() {
		if err := runHostCommand(ctx, "ip", "netns", "add", prefix+s); err != nil {
			return err
		}
	}
	infra := []string{
		"link set lo up",
		// A bridge without an address of its own has that of one of its ports. When that port
		// is removed, the nodes would send to the old one for half a minute.
		"link add lab0 address 02:00:0a:4d:00:01 type bridge",
		"link set lab0 up",
		"addr add " + ServiceAddr + "/32 dev lab0",
	}
	addrs := bridgeAddrs()
	for _, a := range append(resolvers(), InfraGlobal) {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	for _, a := range addrs {
		if a.Is6() {
			infra = append(infra, "addr add "+a.String()+"/64 dev lab0 nodad")
		} else {
			infra = append(infra, "addr add "+a.String()+"/24 dev lab0")
		}
	}
	// Infra forwards between the subnets of the nodes. It drops packets to other networks
	// without an answer, as a network without a route to the Internet does.
	infra = append(infra, "route add blackhole default")
	if err := ipBatch(ctx, Infra, infra); err != nil {
		return err
	}
	if err := inNetns(netns(Infra), func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	}); err != nil {
		return err
	}
	for _, n := range Nodes() {
		if err := makeLink(ctx, n); err != nil {
			return err
		}
	}
	// Pods use the API server's service address, and there is no kube-proxy.
	for _, chain := range []string{"PREROUTING", "OUTPUT"} {
		if err := runInNetns(ctx, Infra, "iptables", "-w", "-t", "nat", "-A", chain, "-d", ServiceAddr, "-p", "tcp", "--dport", "443",
			"-j", "DNAT", "--to-destination", APIAddr); err != nil {
			return err
		}
	}
	for name, host := range map[string]string{"iptables": "blackhole.lab", "ip6tables": "blackhole6.lab"} {
		if err := runInNetns(ctx, Infra, name, "-w", "-A", "INPUT", "-d", hostAddr(host), "-j", "DROP"); err != nil {
			return err
		}
	}
	return nil
}

// makeLink creates the link between infra and a node, whose network namespace is new.
func makeLink(ctx context.Context, n Node) error {
	v4, v6 := gateway(n.Addr), gateway(n.V6)
	infra := []string{fmt.Sprintf("link add %s type veth peer name eth0 netns %s", n.Name, prefix+n.Name)}
	node := []string{"link set lo up", "link set eth0 up", "addr add " + n.V6 + "/64 dev eth0 nodad"}
	if n.Families == V6Node {
		node = append(node,
			"addr add "+n.Addr+"/32 dev eth0",
			"route add "+InfraAddr+" dev eth0",
			"route add "+ServiceAddr+" via "+InfraAddr,
			"route add default via "+v6.String())
	} else {
		node = append(node, "addr add "+n.Addr+"/24 dev eth0", "route add default via "+v4.String())
	}
	if n.Families == DualNode {
		node = append(node, "route add default via "+v6.String())
	}
	if n.onBridge() {
		infra = append(infra, fmt.Sprintf("link set %s master lab0 up", n.Name))
	} else {
		infra = append(infra,
			fmt.Sprintf("addr add %s/24 dev %s", v4, n.Name),
			fmt.Sprintf("addr add %s/64 dev %s nodad", v6, n.Name),
			fmt.Sprintf("link set %s up", n.Name))
		node = append(node, "route add "+SubnetV6+" via "+v6.String())
	}
	if err := ipBatch(ctx, Infra, infra); err != nil {
		return err
	}
	return ipBatch(ctx, n.Name, node)
}

// renewNetwork replaces a node's network namespace and its link by new ones.
func renewNetwork(ctx context.Context, n Node) error {
	// Deleting the link here takes effect at once. With the namespace it would be
	// deleted later.
	if err := ipBatch(ctx, Infra, []string{"link del " + n.Name}); err != nil {
		return err
	}
	for _, verb := range []string{"del", "add"} {
		if err := runHostCommand(ctx, "ip", "netns", verb, prefix+n.Name); err != nil {
			return err
		}
	}
	return makeLink(ctx, n)
}

// ipBatch runs several ip commands in one process.
func ipBatch(ctx context.Context, space string, commands []string) error {
	return inNetns(netns(space), func() error {
		cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
		out, err := cmd.CombinedOutput()
		return commandError("ip", []string{"-batch in", space}, out, err)
	})
}
