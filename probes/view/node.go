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

// Node is what the runtime process sees: how it resolves names, which authorities it
// trusts and which proxy it uses. Build it with [Read] for every diagnosis: the
// runtime reads most of this again at every pull. A nil field could not be read and
// is unknown; it is never replaced by what the probing process sees.
type Node struct {
	Resolv *ResolvConf // name servers and search list
	Hosts  *HostsFile  // static names
	Lookup Lookup      // which of the two are used, in which order (nsswitch.conf)
	Roots  *Roots      // trusted certificate authorities
	Proxy  *Proxy      // proxy of the runtime's environment

	// Config is where the runtime's registry configuration is.
	Config runtimeconfig.RegistryConfig
	// Files reads that, and the files that it names; nil: there is no configuration.
	Files runtimeconfig.Files
}

// Paths are the files that [Read] reads; an empty field is the standard path.
type Paths struct {
	ResolvConf string // /etc/resolv.conf
	Hosts      string // /etc/hosts
	NSSwitch   string // /etc/nsswitch.conf
	HostsDir   string // a certs.d, or several separated by colons: /etc/containerd/certs.d:/etc/docker/certs.d
	CAFile     string // as SSL_CERT_FILE: replaces the distribution's bundle
}

// Read reads what the runtime process sees through its root directory and
// environment. A nil env means that the environment could not be read. The checks
// are for what is unknown, and say why; there is none for what was read.
func Read(f runtimeconfig.Files, env []string, p Paths) (*Node, []report.Check) {
	dirs := cmp.Or(p.HostsDir, "/etc/containerd/certs.d:/etc/docker/certs.d")
	n := &Node{Files: f, Config: runtimeconfig.RegistryConfig{Dirs: filepath.SplitList(dirs), Assumed: p.HostsDir == ""}}
	var checks []report.Check
	unread := func(id string, kind report.Kind, target, without string, err error) {
		checks = append(checks, report.Check{
			ID: id, Kind: kind, Target: target, Outcome: report.Skipped,
			Summary:  "cannot read " + target + " as the runtime sees it (" + evidence.Errno(err) + "): " + without,
			Evidence: evidence.Facts{report.KeyError: evidence.Errno(err)}.Checked(),
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
		unread(report.IDRuntimeResolvConf, report.KindDNS, name, "the runtime's resolvers are unknown", err)
	}

	name = cmp.Or(p.Hosts, "/etc/hosts")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Hosts = ParseHostsFile(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Hosts = ParseHostsFile(nil)
	default:
		unread(report.IDRuntimeHosts, report.KindDNS, name, "its names are unknown", err)
	}

	name = cmp.Or(p.NSSwitch, "/etc/nsswitch.conf")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Lookup = ParseNSSwitch(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Lookup = ParseNSSwitch(nil)
	default:
		unread(report.IDRuntimeNsswitch, report.KindDNS, name, "assuming hosts file first, then DNS", err)
	}

	var err error
	if n.Roots, err = ReadTrustStore(f, env, p.CAFile); err != nil {
		unread(report.IDRuntimeCA, report.KindTLS, "the trust store", "the certificate authorities that the runtime trusts are unknown", err)
	}

	if env == nil {
		checks = append(checks, report.Check{
			ID: report.IDRuntimeProxy, Kind: report.KindRuntime, Outcome: report.Skipped,
			Summary: "cannot read the runtime's environment: whether it uses a proxy is unknown",
		})
	} else {
		n.Proxy = ReadProxy(env)
	}
	return n, checks
}

// lookupEnv returns the value of name in env, a list of NAME=value as in
// /proc/PID/environ. As in getenv(3), the first one counts.
func lookupEnv(env []string, name string) string {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}
