package probes

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Files is the node's file system through the runtime's eyes. Names are
// absolute; links resolve under the runtime's root.
type Files interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

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
	Config RegistryConfig
	// Files is where that and the files named in it are read.
	Files Files

	// ExpirySoon is how many days before its end a certificate is worth a remark;
	// 0: none is. ReadNode sets 14.
	ExpirySoon int
	// Limits bounds a call in time; the zero value means the defaults.
	Limits Limits
	// ResolverPort is the port that resolvers are asked on; 0 means 53.
	ResolverPort uint16
	// Guard says whom the probes contact.
	Guard Guard

	call *call // what is shared within one call; nil outside
}

// RegistryConfig is where the runtime's registry configuration lies: in
// directories with a hosts.toml for each registry, or in the deprecated
// sections of its own configuration.
type RegistryConfig struct {
	Dirs []string // searched in this order (config_path)
	// Passed are directories that people use and the runtime does not search,
	// for the reason Why.
	Passed []string
	Why    string
	Stale  bool // it would, if it were started anew

	// Mirrors is registry.mirrors of containerd's config.toml: URLs by domain,
	// "*" for all others. If it is not nil it counts, and Dirs does not.
	Mirrors map[string][]string
	// TLS is registry.configs."host".tls, by host.
	TLS map[string]TLSFiles
}

// TLSFiles are the TLS settings of one host in containerd's config.toml.
type TLSFiles struct {
	CA, Cert, Key string
	SkipVerify    bool
}

// Limits are the deadlines of one call of [Node.Registry]. A deadline shorter
// than the runtime's own is marked in the evidence (deadline=true), so that a
// black hole costs seconds here and is still told from a refusal. They leave
// room for one black hole at any rung behind a silent first resolver (which
// costs one second, see patience); a step that the end of the whole call cuts
// short is unknown, not failed.
type Limits struct {
	Overall time.Duration // all of it; 4 s
	DNS     time.Duration // one host's name, all resolvers and search domains; 2.5 s
	Dial    time.Duration // one TCP connection, or the way through a proxy; 2.5 s
	TLS     time.Duration // one handshake; 2 s
	HTTP    time.Duration // one request up to the end of its answer; 2.5 s
}

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&l.Overall, 4*time.Second)
	set(&l.DNS, 2500*time.Millisecond)
	set(&l.Dial, 2500*time.Millisecond)
	set(&l.TLS, 2*time.Second)
	set(&l.HTTP, 2500*time.Millisecond)
	return l
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
func ReadNode(f Files, env []string, p Paths) (*Node, []report.Check) {
	n := &Node{Files: f, ExpirySoon: 14, Config: RegistryConfig{Dirs: filepath.SplitList(orDefault(p.HostsDir, "/etc/containerd/certs.d:/etc/docker/certs.d"))}}
	var checks []report.Check
	unread := func(id string, kind report.Kind, target, without string, err error) {
		checks = append(checks, report.Check{
			ID: id, Kind: kind, Target: target, Outcome: report.Skipped,
			Summary:  "cannot read " + target + " as the runtime sees it (" + errnoWord(err) + "): " + without,
			Evidence: evidence{"error": errnoWord(err)}.checked(),
		})
	}

	name := orDefault(p.ResolvConf, "/etc/resolv.conf")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Resolv = ParseResolvConf(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Resolv = ParseResolvConf(nil)
		n.Resolv.Missing = true
	default:
		unread("runtime/resolv.conf", report.KindDNS, name, "which resolvers the runtime asks is unknown", err)
	}

	name = orDefault(p.Hosts, "/etc/hosts")
	switch b, err := f.ReadFile(name); {
	case err == nil:
		n.Hosts = ParseHostsFile(b)
	case errors.Is(err, fs.ErrNotExist):
		n.Hosts = ParseHostsFile(nil)
	default:
		unread("runtime/hosts", report.KindDNS, name, "names that the runtime resolves from it are unknown", err)
	}

	name = orDefault(p.NSSwitch, "/etc/nsswitch.conf")
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

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
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
