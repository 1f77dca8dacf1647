package runtimeconfig

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/pullprobe/pullprobe/evidence"
)

// Files is the node's file system through the runtime's eyes. Names are
// absolute; links resolve under the runtime's root.
type Files interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// RegistryConfig is where the runtime's registry configuration is: in directories
// with a hosts.toml for each registry, or in the deprecated sections of its own
// configuration.
type RegistryConfig struct {
	// Assumed reports that the runtime's configuration is not known: the directories
	// are the usual ones.
	Assumed bool
	// Version is that of containerd, whose rules apply; empty: the newest.
	Version string
	// ByClient reports that containerd 2.1 or later pulls by its client, as older ones do,
	// and not by the transfer service.
	ByClient bool

	Dirs []string // searched in this order (config_path)
	// Passed are directories that are commonly used and that the runtime does not
	// search, for the reason Why.
	Passed []string
	Why    string
	Stale  bool // it would search them after a restart
	// Ignored is a table of its configuration that the runtime does not read.
	Ignored *IgnoredTable

	// Mirrors is registry.mirrors of containerd's config.toml: URLs by domain,
	// "*" for all others. If it is not nil, Dirs has no effect.
	Mirrors map[string][]string
	// TLS is registry.configs."host".tls, by host.
	TLS map[string]TLSFiles
}

// TLSFiles are the TLS settings of one host in containerd's config.toml.
type TLSFiles struct {
	CA, Cert, Key string
	SkipVerify    bool
}

// Problem is what is wrong with the registry configuration of a domain.
type Problem struct {
	File    string
	Reason  string // in plain words
	Ignored bool   // the runtime ignores the file and reports that in its log only
	Remedy  string // what makes the runtime use it, as a command to a person; empty: the reason says it
	Stale   bool   // it would not ignore it after a restart
	Unread  bool   // this process could not read it: the runtime's configuration is unknown
}

func (p *Problem) Error() string { return p.File + ": " + p.Reason }

// unreadable returns the problem of a file that cannot be read. It distinguishes
// files that the runtime cannot read either from those that only this process cannot
// read.
func unreadable(file, what string, err error) *Problem {
	p := &Problem{File: file, Reason: what + " cannot be read (" + evidence.Errno(err) + ")", Unread: true}
	for _, same := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.EIO} {
		if errors.Is(err, same) {
			p.Unread = false
		}
	}
	return p
}

// Hosts is the registry configuration of one domain.
type Hosts struct {
	List    []Host
	File    string   // the file or directory that it was read from; empty: none
	Unknown []string // keys that the runtime does not know, at most 8
	// DependsOn is what another version of containerd makes of the files, if the version
	// is unknown and that matters.
	DependsOn string
	Unused    []string // files that look meant for this domain and that the runtime does not read, at most 8
}

// Hosts returns the hosts that containerd contacts for images of domain, in its
// order. It follows core/remotes/docker/config/hosts.go of containerd 2.4, but reads
// under the runtime's root and keeps the errors that containerd ignores: with a
// *[Problem] the list is what the runtime makes of it, or the registry alone if that
// is nothing at all or unknown. Without files it is the registry alone.
func (c RegistryConfig) Hosts(f Files, domain string) (Hosts, *Problem) {
	if f == nil {
		return Hosts{List: c.defaultHosts(domain)}, nil
	}
	hosts, problem := c.hosts(f, domain)
	if c.Version == "" && c.Mirrors == nil && hosts.File != "" {
		hosts.DependsOn = c.otherReading(f, domain, hosts.List)
	}
	return hosts, problem
}

// otherReading returns what older versions of containerd do with the files of domain
// that the newest reads as these hosts; empty if they do the same.
func (c RegistryConfig) otherReading(f Files, domain string, newest []Host) string {
	// From the newest to the oldest: the last version of each that reads hosts.toml alike.
	for _, version := range []string{"2.3.99", "2.1.99", "2.0.99", "1.7.99", "1.7.31"} {
		c.Version = version
		version = strings.TrimSuffix(version, ".99")
		old, problem := c.hosts(f, domain)
		same := func(a, b Host) bool {
			return a.Scheme == b.Scheme && a.Host == b.Host && a.Path == b.Path && a.HTTPFallback == b.HTTPFallback &&
				a.SkipVerify == b.SkipVerify && a.Serves(true) == b.Serves(true) && a.Serves(false) == b.Serves(false)
		}
		switch {
		case slices.EqualFunc(old.List, newest, same):
		case problem != nil:
			return "containerd up to " + version + " ignores it: " + problem.Reason
		default:
			return "containerd up to " + version + " reads other hosts in it"
		}
	}
	return ""
}

func (c RegistryConfig) hosts(f Files, domain string) (Hosts, *Problem) {
	if c.Mirrors != nil {
		return loadMirrors(f, c, domain)
	}
	dir, err := hostsDirFor(f, c.Dirs, domain)
	if err != nil {
		return Hosts{List: c.defaultHosts(domain)}, unreadable(dir, "it", err)
	}
	if dir == "" {
		config := Hosts{List: c.defaultHosts(domain), Unused: misplaced(f, c.Dirs, domain)}
		return config, c.ignored(f, domain)
	}
	config, problem := loadHostsDir(f, dir, c.Version)
	if problem != nil && config.List == nil {
		return Hosts{List: c.defaultHosts(domain)}, problem
	}
	if path.Base(dir) == DefaultDomain {
		config.Unused = append(config.Unused, misplaced(f, c.Dirs, domain)...)
	}
	finishHosts(config.List, domain, c.Version)
	for i := range config.List {
		if p := config.List[i].loadFiles(f); p != nil {
			// containerd rejects the whole list here, so no pull from this domain can
			// work; the other hosts are still worth a check.
			return config, p
		}
	}
	return config, problem
}

// DefaultHosts returns the list for a domain without any configuration: the registry
// alone.
func DefaultHosts(domain string) []Host { return RegistryConfig{}.defaultHosts(domain) }

func (c RegistryConfig) defaultHosts(domain string) []Host {
	hosts := []Host{{}}
	finishHosts(hosts, domain, c.Version)
	return hosts
}

// hostsDirFor returns the directory for domain under the first of the roots that has
// one; empty if none has.
func hostsDirFor(f Files, roots []string, domain string) (string, error) {
	for _, root := range roots {
		names := []string{domain, DefaultDomain}
		if i := strings.LastIndex(domain, ":"); i > 0 {
			names = slices.Insert(names, 0, domain[:i]+"_"+domain[i+1:]+"_")
		}
		for _, name := range names {
			dir := path.Join(root, name)
			if _, err := f.Stat(dir); err == nil {
				return dir, nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return dir, err
			}
		}
	}
	return "", nil
}

// DefaultDomain is the name of the directory for every domain without one of its own
// (containerd docs/hosts.md).
const DefaultDomain = "_default"

// maxDomains bounds the configured domains that are listed.
const maxDomains = 64

// ConfiguredDomains returns the domains that the registry configuration names,
// "_default" among them.
func (c RegistryConfig) ConfiguredDomains(f Files) []string {
	var out []string
	add := func(domain string) {
		if len(out) < maxDomains && !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	for domain := range c.Mirrors {
		if domain == "*" {
			domain = DefaultDomain
		}
		add(domain)
	}
	if c.Mirrors != nil || f == nil {
		slices.Sort(out)
		return out
	}
	for _, dir := range c.Dirs {
		entries, err := f.ReadDir(dir)
		if err != nil {
			continue // the check of each domain reports what is wrong with it
		}
		for _, e := range entries {
			if _, err := f.Stat(path.Join(dir, e.Name(), "hosts.toml")); err != nil {
				continue
			}
			domain := e.Name()
			if name, ok := strings.CutSuffix(domain, "_"); ok { // host_port_
				if i := strings.LastIndex(name, "_"); i > 0 {
					domain = name[:i] + ":" + name[i+1:]
				}
			}
			add(domain)
		}
	}
	return out
}
