package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Fault is something that can be broken on one node while the cluster runs.
// Injecting and lifting it are idempotent.
type Fault struct {
	Name string
	Does string // one line for people

	inject, lift func(ctx context.Context, l *Lab, node string) error
}

// Faults returns the faults that can be injected into a node.
func Faults() []Fault {
	all := []Fault{
		resolverFault("resolver-dead", "resolv.conf names a resolver that never answers", ResolverDead),
		resolverFault("resolver-servfail", "resolv.conf names a resolver that answers SERVFAIL", ResolverServfail),
		resolverFault("resolver-nxdomain", "resolv.conf names a resolver that denies every name", ResolverNXDomain),
		resolverFault("resolver-unreachable", "resolv.conf names an address that no machine has", ResolverNoHost),
		resolverFault("resolver-first-dead", "a resolver that never answers, before the good one", ResolverDead, ResolverGood),
		firewallFault("registry-dropped", "the node drops packets to registry.lab:443", hostRule("registry.lab", "DROP")),
		firewallFault("registry-reset", "the node answers packets to registry.lab:443 with a TCP reset",
			hostRule("registry.lab", "REJECT", "--reject-with", "tcp-reset")),
		firewallFault("registry-intercepted", "connections to registry.lab:443 end at intercept.lab",
			[]string{"OUTPUT", "-t", "nat", "-d", hostAddr("registry.lab"), "-p", "tcp", "--dport", "443",
				"-j", "DNAT", "--to-destination", hostAddr("intercept.lab")}),
		firewallFault("mirror-dropped", "the node drops packets to mirror.lab:443", hostRule("mirror.lab", "DROP")),
		firewallFault("blobs-dropped", "the node drops packets to blobs.lab:443, the blob host of redirect.lab",
			hostRule("blobs.lab", "DROP")),
		// The replies are dropped: a process would get an error for a UDP packet that is
		// dropped on its way out.
		firewallFault("egress-dropped", "replies of all registries and resolvers to the node are dropped; the API server is still reachable",
			[]string{"INPUT", "-s", Subnet, "-p", "tcp", "--sport", "6443", "-j", "ACCEPT"},
			[]string{"INPUT", "-s", Subnet, "-p", "tcp", "--dport", "10250", "-j", "ACCEPT"},
			[]string{"INPUT", "-s", Subnet, "-j", "DROP"}),
		routeFault("registry-refused-route", "the node has an unreachable route to registry.lab", "registry.lab"),
		{
			Name: "ca-missing", Does: "the node's trust store lacks the registries' CA; restarts containerd",
			inject: func(ctx context.Context, l *Lab, node string) error { return l.setTrust(ctx, node, "public-ca") },
			lift: func(ctx context.Context, l *Lab, node string) error {
				return l.setTrust(ctx, node, "public-ca", "registry-ca")
			},
		},
		diskFault("disk-full", "less than 64 KiB is free in the image store", 32<<10),
		diskFault("disk-low", "40 MiB is free in the image store: enough for tiny:1, not for big:1", 40<<20),
	}
	return all
}

// Inject injects a fault into a node.
//
// The resolver faults return at once, but a running containerd uses the old
// resolv.conf for up to five seconds: call WaitResolverSeen.
func (l *Lab) Inject(ctx context.Context, node, fault string) error {
	f, err := l.findFault(node, fault)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir.Run(node, "faults"), 0o755); err != nil {
		return err
	}
	// Record it first: what may be broken must be listed as broken.
	if err := os.WriteFile(l.dir.Run(node, "faults", fault), nil, 0o644); err != nil {
		return err
	}
	return faultError(node, fault, f.inject(ctx, l, node))
}

// Lift removes a fault from a node. It is no error if the node does not have it.
func (l *Lab) Lift(ctx context.Context, node, fault string) error {
	f, err := l.findFault(node, fault)
	if err != nil {
		return err
	}
	if err := f.lift(ctx, l, node); err != nil {
		return faultError(node, fault, err)
	}
	return os.RemoveAll(l.dir.Run(node, "faults", fault))
}

// Heal lifts every fault from every node, starts every stopped service and undoes
// every SetDNS. Tests call it when they end.
func (l *Lab) Heal(ctx context.Context) error {
	errs := []error{l.ResetDNS(ctx)}
	for _, space := range l.Spaces() {
		services, err := l.Services(ctx, space)
		errs = append(errs, err)
		for _, s := range services {
			if !s.Running {
				errs = append(errs, l.StartService(ctx, space, s.Name))
			}
		}
	}
	for _, n := range l.NodeNames() {
		for _, f := range Faults() {
			errs = append(errs, l.Lift(ctx, n, f.Name))
		}
	}
	return errors.Join(errs...)
}

// Injected returns the names of the faults that a node has now.
func (l *Lab) Injected(node string) ([]string, error) {
	entries, err := os.ReadDir(l.dir.Run(node, "faults"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// WaitResolverSeen returns when every lookup that a node's containerd starts
// from now on reads the current resolv.conf. Go's resolver checks the file's
// time at most every five seconds (net/dnsclient_unix.go, resolverConfig).
//
// Go also shares one lookup among all concurrent callers for a name. So while
// other pulls of the same host are stuck in an earlier lookup, a new pull waits
// with them. RestartContainerd drops those lookups and needs no wait.
func (l *Lab) WaitResolverSeen(ctx context.Context, node string) error {
	path, err := l.Path(node, resolvConf)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(st.ModTime().Add(5100 * time.Millisecond))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findFault finds a fault for a node that is started.
func (l *Lab) findFault(node, name string) (Fault, error) {
	if _, err := findNode(node); err != nil {
		return Fault{}, err
	}
	if _, err := l.initOf(node); err != nil {
		return Fault{}, err
	}
	var names []string
	for _, f := range Faults() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Fault{}, fmt.Errorf("unknown fault %q: the faults are %s", name, strings.Join(names, ", "))
}

func faultError(node, fault string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s on %s: %w", fault, node, err)
}

// resolverFault returns a fault that writes resolv.conf in place: pods have the file
// itself mounted.
func resolverFault(name, does string, resolvers ...string) Fault {
	var content string
	for _, r := range resolvers {
		content += "nameserver " + r + "\n"
	}
	return Fault{
		Name: name, Does: does,
		inject: func(_ context.Context, l *Lab, node string) error {
			return l.writeIfChanged(node, resolvConf, content)
		},
		lift: func(_ context.Context, l *Lab, node string) error {
			now, err := l.ReadFile(node, resolvConf)
			if err != nil || string(now) != content {
				return err // another fault has written it since, or it is healthy
			}
			n, err := findNode(node)
			if err != nil {
				return err
			}
			return l.writeIfChanged(node, resolvConf, n.resolvConf())
		},
	}
}

// writeIfChanged replaces a file's content in place, unless the file has it already:
// WaitResolverSeen derives its wait from the file's time.
func (l *Lab) writeIfChanged(node, path, content string) error {
	now, err := l.ReadFile(node, path)
	if err != nil || string(now) == content {
		return err
	}
	return l.WriteFile(node, path, []byte(content))
}

// hostRule returns a firewall rule for packets to a host's port 443.
func hostRule(host string, target ...string) []string {
	return append([]string{"OUTPUT", "-d", hostAddr(host), "-p", "tcp", "--dport", "443", "-j"}, target...)
}

// firewallFault returns a fault made of rules for the node's firewall. Each rule begins
// with its chain.
func firewallFault(name, does string, rules ...[]string) Fault {
	apply := func(ctx context.Context, node, action string, rule []string) error {
		return runInNetns(ctx, node, "iptables", append([]string{"-w", action}, rule...)...)
	}
	each := func(action string, wanted bool) func(context.Context, *Lab, string) error {
		return func(ctx context.Context, _ *Lab, node string) error {
			for _, rule := range rules {
				if there := apply(ctx, node, "-C", rule) == nil; there == wanted {
					continue
				}
				if err := apply(ctx, node, action, rule); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return Fault{Name: name, Does: does, inject: each("-A", true), lift: each("-D", false)}
}

func routeFault(name, does, host string) Fault {
	route := "unreachable " + hostAddr(host)
	return Fault{
		Name: name, Does: does,
		inject: func(ctx context.Context, _ *Lab, node string) error {
			return ipBatch(ctx, node, []string{"route replace " + route})
		},
		lift: func(ctx context.Context, l *Lab, node string) error {
			routes, err := l.Exec(ctx, node, "ip", "route", "show", "type", "unreachable")
			if err != nil || !strings.Contains(string(routes), hostAddr(host)) {
				return err
			}
			return ipBatch(ctx, node, []string{"route del " + route})
		},
	}
}

// setTrust makes the node trust only these authorities. It restarts containerd, because
// Go programs read the trust store once.
func (l *Lab) setTrust(ctx context.Context, node string, authorities ...string) error {
	content, err := trustStore(l.dir, authorities...)
	if err != nil {
		return err
	}
	now, err := l.ReadFile(node, trustFile)
	if err != nil || string(now) == content {
		return err
	}
	if err := l.WriteFile(node, trustFile, []byte(content)); err != nil {
		return err
	}
	return l.RestartContainerd(ctx, node)
}

// diskFault returns a fault that fills the node's image store with one file and leaves
// that many bytes free.
func diskFault(name, does string, leave int64) Fault {
	filler := func(node string) (string, error) {
		layout, err := layoutOf(node)
		return filepath.Join(layout.images, "lab-"+name), err
	}
	return Fault{
		Name: name, Does: does,
		inject: func(_ context.Context, l *Lab, node string) error {
			file, err := filler(node)
			if err != nil {
				return err
			}
			path, err := l.Path(node, file)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			var fs unix.Statfs_t
			if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
				return err
			}
			st, err := f.Stat()
			if err != nil {
				return err
			}
			grow := int64(fs.Bavail)*fs.Bsize - leave
			if grow <= 0 {
				return nil
			}
			return unix.Fallocate(int(f.Fd()), 0, st.Size(), grow)
		},
		lift: func(_ context.Context, l *Lab, node string) error {
			file, err := filler(node)
			if err != nil {
				return err
			}
			return l.RemoveFile(node, file)
		},
	}
}
