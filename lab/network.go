package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// makeNetwork creates the namespaces, the bridge in infra, and one link from it to each
// node. It creates both ends of a link inside, so the host's own namespace is not
// touched.
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
		"link add lab0 type bridge",
		"link set lab0 up",
		"addr add " + ServiceAddr + "/32 dev lab0",
	}
	for _, a := range []string{ResolverGood, ResolverServfail, ResolverDead, ResolverNXDomain} {
		infra = append(infra, "addr add "+a+"/24 dev lab0")
	}
	for _, a := range bridgeAddrs() {
		if a.Is6() {
			infra = append(infra, "addr add "+a.String()+"/64 dev lab0 nodad")
		} else {
			infra = append(infra, "addr add "+a.String()+"/24 dev lab0")
		}
	}
	for _, n := range Nodes() {
		infra = append(infra,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", n.Name, prefix+n.Name),
			fmt.Sprintf("link set %s master lab0 up", n.Name))
	}
	if err := ipBatch(ctx, Infra, infra); err != nil {
		return err
	}
	for i, n := range Nodes() {
		if err := ipBatch(ctx, n.Name, []string{
			"link set lo up",
			"addr add " + n.Addr + "/24 dev eth0",
			fmt.Sprintf("addr add fd77::%x/64 dev eth0 nodad", 0x101+i),
			"link set eth0 up",
			"route add default via " + InfraAddr,
		}); err != nil {
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
	return runInNetns(ctx, Infra, "iptables", "-w", "-A", "INPUT", "-d", hostAddr("blackhole.lab"), "-j", "DROP")
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
