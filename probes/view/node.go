package view

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Node is what the runtime process sees: how it resolves names, whom it
// trusts and which way it goes out. Build it with [ReadNode] for every
// diagnosis: the runtime reads most of this afresh at every pull. What could
// not be read is nil, which means unknown; it is never replaced by what the
// probing process would see.
type Node struct {
	Resolv *ResolvConf // name servers and search list
	Hosts  *HostsFile  // static names
	Lookup Lookup      // which of the two is asked, in which order (nsswitch.conf)
	Roots  *Roots      // trusted certificate authorities
	Proxy  *Proxy      // proxy of the runtime's environment

	// Config is where the runtime's registry configuration lies.
	Config runtimeconfig.RegistryConfig
	// Files is where that and the files named in it are read.
	Files runtimeconfig.Files
}

// Paths names the files that [ReadNode] reads; an empty field is the standard
// place.
type Paths struct {
	ResolvConf string // /etc/resolv.conf
	Hosts      string // /etc/hosts
	NSSwitch   string // /etc/nsswitch.conf
	HostsDir   string // a certs.d, or several separated by colons: /etc/containerd/certs.d:/etc/docker/certs.d
	CAFile     string // as if SSL_CERT_FILE named it: takes the place of the distribution's bundle
}

// ReadNode reads what the runtime process sees through its root directory and
// environment. A nil env means that the environment could not be read. The
// checks tell what is unknown, and why; there is none for what was read.
func Read(f runtimeconfig.Files, env []string, p Paths) (*Node, []report.Check) {
	n := &Node{Files: f, Config: runtimeconfig.RegistryConfig{Dirs: filepath.SplitList(cmp.Or(p.HostsDir, "/etc/containerd/certs.d:/etc/docker/certs.d"))}}
	var checks []report.Check
	unread := func(id string, kind report.Kind, target, without string, err error) {
		checks = append(checks, report.Check{
			ID: id, Kind: kind, Target: target, Outcome: report.Skipped,
			Summary:  "cannot read " + target + " as the runtime sees it (" + evidence.Errno(err) + "): " + without,
			Evidence: evidence.Facts{"error": evidence.Errno(err)}.Checked(),
		})
	}

	name := cmp.Or(p.ResolvConf, "/etc/resolv.conf")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Resolv = ParseResolvConf(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Resolv = ParseResolvConf(nil)
		n.Resolv.Missing = true
	default:
		unread("runtime/resolv.conf", report.KindDNS, name, "which resolvers the runtime asks is unknown", err)
	}

	name = cmp.Or(p.Hosts, "/etc/hosts")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Hosts = ParseHostsFile(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Hosts = ParseHostsFile(nil)
	default:
		unread("runtime/hosts", report.KindDNS, name, "names that the runtime resolves from it are unknown", err)
	}

	name = cmp.Or(p.NSSwitch, "/etc/nsswitch.conf")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Lookup = ParseNSSwitch(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Lookup = ParseNSSwitch(nil)
	default:
		unread("runtime/nsswitch.conf", report.KindDNS, name, "taken as hosts file first, then DNS", err)
	}

	var err error
	if n.Roots, err = ReadRoots(f, env, p.CAFile); err != nil {
		unread("runtime/ca", report.KindTLS, "the trust store", "which certificate authorities the runtime trusts is unknown", err)
	}

	if env == nil {
		checks = append(checks, report.Check{
			ID: "runtime/proxy", Kind: report.KindRuntime, Outcome: report.Skipped,
			Summary: "the runtime's environment cannot be read: whether it goes through a proxy is unknown",
		})
	} else {
		n.Proxy = ReadProxy(env)
	}
	return n, checks
}

// lookupEnv returns the value of name in env, a list of NAME=value as
// /proc/PID/environ holds it. As in getenv(3), the first one counts.
func lookupEnv(env []string, name string) string {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}
