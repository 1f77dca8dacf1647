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
// Both directions are idempotent.
type Fault struct {
	Name string
	Does string // one line for people

	inject, lift func(ctx context.Context, l *Lab, node string) error
}

// Faults are the faults that a node can be given.
func Faults() []Fault {
	all := []Fault{
		resolverFault("resolver-dead", "resolv.conf names a resolver that never answers", ResolverDead),
		resolverFault("resolver-servfail", "resolv.conf names a resolver that answers SERVFAIL", ResolverServfail),
		resolverFault("resolver-nxdomain", "resolv.conf names a resolver that denies every name", ResolverNXDomain),
		resolverFault("resolver-unreachable", "resolv.conf names an address that no machine has", ResolverNoHost),
		resolverFault("resolver-first-dead", "a resolver that never answers, before the good one", ResolverDead, ResolverGood),
		firewallFault("registry-dropped", "the node drops packets to registry.lab:443", hostRule("registry.lab", "DROP")),
		firewallFault("registry-reset", "the node answers packets to registry.lab:443 with a TCP reset", hostRule("registry.lab", "REJECT", "--reject-with", "tcp-reset")),
		firewallFault("blobs-dropped", "the node drops packets to blobs.lab:443, where redirect.lab sends for blobs", hostRule("blobs.lab", "DROP")),
		// What comes back is dropped: a process whose own UDP packet is would be told.
		firewallFault("egress-dropped", "no answer of any registry or resolver comes through to the node; the API server is still there",
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
		diskFault("disk-full", "less than 64 KiB left in /var/lib/containerd", 32<<10),
		diskFault("disk-low", "40 MiB left in /var/lib/containerd: enough for tiny:1, not for big:1", 40<<20),
	}
	return all
}

// Inject gives a node a fault.
//
// The resolver faults return at once, but a running containerd goes on with
// the old resolv.conf for up to five seconds: call WaitResolverSeen.
func (l *Lab) Inject(ctx context.Context, node, fault string) error {
	f, err := findFault(node, fault)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir.Run(node, "faults"), 0o755); err != nil {
		return err
	}
	// Noted before it is done: what may be broken is listed as broken.
	if err := os.WriteFile(l.dir.Run(node, "faults", fault), nil, 0o644); err != nil {
		return err
	}
	return faultError(node, fault, f.inject(ctx, l, node))
}

// Lift takes a fault from a node; it is no error if the node hasn't got it.
func (l *Lab) Lift(ctx context.Context, node, fault string) error {
	f, err := findFault(node, fault)
	if err != nil {
		return err
	}
	if err := f.lift(ctx, l, node); err != nil {
		return faultError(node, fault, err)
	}
	return os.RemoveAll(l.dir.Run(node, "faults", fault))
}

// Heal lifts every fault from every node, starts what was stopped and undoes
// every SetDNS: what a test does when it ends.
func (l *Lab) Heal(ctx context.Context) error {
	errs := []error{l.ResetDNS(ctx)}
	for _, space := range spaceNames() {
		services, err := l.Services(ctx, space)
		errs = append(errs, err)
		for _, s := range services {
			if !s.Running {
				errs = append(errs, l.StartService(ctx, space, s.Name))
			}
		}
	}
	for _, n := range NodeNames() {
		for _, f := range Faults() {
			errs = append(errs, l.Lift(ctx, n, f.Name))
		}
	}
	return errors.Join(errs...)
}

// Injected are the faults that a node has now.
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
// from now on reads the present resolv.conf. Go's resolver looks at the file's
// time at most every five seconds (net/dnsclient_unix.go, resolverConfig).
//
// It also shares one lookup among all who ask for a name at a time. So while
// other pulls of the same host are stuck in a lookup from before, a new pull
// waits with them: RestartContainerd forgets those, and needs no wait.
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

func findFault(node, name string) (Fault, error) {
	if _, err := findNode(node); err != nil {
		return Fault{}, err
	}
	var names []string
	for _, f := range Faults() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Fault{}, fmt.Errorf("no fault %q: there are %s", name, strings.Join(names, ", "))
}

func faultError(node, fault string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s on %s: %w", fault, node, err)
}

// resolverFault writes resolv.conf in place: pods have the file itself mounted.
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
				return err // another fault's by now, or healthy
			}
			return l.writeIfChanged(node, resolvConf, "nameserver "+ResolverGood+"\n")
		},
	}
}

// rewrite replaces a file's content in place, and touches nothing if it is
// that already: the file's time tells WaitResolverSeen how long to wait.
func (l *Lab) writeIfChanged(node, path, content string) error {
	now, err := l.ReadFile(node, path)
	if err != nil || string(now) == content {
		return err
	}
	return l.WriteFile(node, path, []byte(content))
}

// toHost is what is done with packets to a host's port 443.
func hostRule(host string, target ...string) []string {
	return append([]string{"OUTPUT", "-d", hostAddr(host), "-p", "tcp", "--dport", "443", "-j"}, target...)
}

// firewallFault has rules for the node's firewall, each with its chain.
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

// trust makes the node trust these authorities and no others. Go programs read
// the trust store once, hence the restart.
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

// diskFault fills the node's image store with one file and leaves so much.
func diskFault(name, does string, leave int64) Fault {
	filler := filepath.Join(imageStore, "lab-"+name)
	return Fault{
		Name: name, Does: does,
		inject: func(_ context.Context, l *Lab, node string) error {
			path, err := l.Path(node, filler)
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
		lift: func(_ context.Context, l *Lab, node string) error { return l.RemoveFile(node, filler) },
	}
}
