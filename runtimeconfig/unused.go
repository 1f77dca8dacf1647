package runtimeconfig

import (
	"path"
	"strings"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// maxUnused bounds the files that are reported as unused.
const maxUnused = 8

// ignored returns the problem of settings for domain that the runtime does not use; nil if
// there are none. The runtime then silently contacts the registry directly.
func (c RegistryConfig) ignored(f Files, domain string) *Problem {
	problem := c.ignoredDir(f, domain)
	if c.Ignored == nil {
		return problem
	}
	_, named := c.Ignored.Mirrors[domain]
	_, all := c.Ignored.Mirrors["*"]
	if problem == nil && (named || all) {
		problem = &Problem{File: c.Ignored.File, Reason: c.Why, Ignored: true}
	}
	if problem != nil {
		problem.Remedy = c.Ignored.Remedy
	}
	return problem
}

// ignoredDir returns the problem of a directory for domain at a common path that the
// runtime does not search; nil if there is none.
func (c RegistryConfig) ignoredDir(f Files, domain string) *Problem {
	dir, err := hostsDirFor(f, c.Passed, domain)
	if err != nil || dir == "" {
		return nil
	}
	file := path.Join(dir, "hosts.toml")
	if _, err := f.Stat(file); err != nil {
		if entries, err := f.ReadDir(dir); err != nil || len(entries) == 0 {
			return nil
		}
		file = dir
	}
	return &Problem{File: file, Reason: c.Why, Ignored: true, Stale: c.Stale}
}

// misplaced returns files that look like a configuration of domain but have a name
// that containerd does not read: the port is missing or separated in another form, it
// is another name of Docker Hub, a file instead of a directory, or a hosts.toml one
// level too high.
func misplaced(f Files, roots []string, domain string) []string {
	name, port := domain, ""
	if i := strings.LastIndex(domain, ":"); i > strings.LastIndex(domain, "]") {
		name, port = domain[:i], domain[i+1:]
	}
	like := map[string]bool{}
	if port != "" {
		for _, form := range []string{name, name + "_" + port, name + "-" + port} {
			like[form] = true
		}
	} else {
		for _, port := range []string{"443", "80"} {
			like[name+"_"+port+"_"], like[name+":"+port] = true, true
		}
	}
	for _, scheme := range []string{"https:", "http:", "https_", "http_"} {
		like[scheme+domain] = true
	}
	if domain == "docker.io" {
		for _, other := range []string{report.ServerOf(domain), "index.docker.io", "hub.docker.com", "docker.com"} {
			like[other] = true
		}
	}
	var out []string
	add := func(file string) {
		if len(out) < maxUnused {
			out = append(out, readable.Clean(file, 120))
		}
	}
	for _, root := range roots {
		entries, err := f.ReadDir(root)
		if err != nil {
			continue
		}
		for _, e := range entries {
			switch entry := e.Name(); {
			case entry == "hosts.toml", entry == domain+".toml", entry == name+".toml":
				add(path.Join(root, entry))
			case like[entry], strings.EqualFold(entry, domain) && entry != domain:
				if hosts := path.Join(root, entry, "hosts.toml"); isFile(f, hosts) {
					add(hosts)
				} else {
					add(path.Join(root, entry))
				}
			}
		}
	}
	return out
}

func isFile(f Files, name string) bool {
	info, err := f.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// certFilesIn returns the certificates in Docker's layout beside a hosts.toml:
// containerd reads them only where there is no hosts.toml, unless that names them.
func certFilesIn(f Files, dir string, hosts []Host) []string {
	named := map[string]bool{}
	for _, h := range hosts {
		for _, file := range h.CAFiles {
			named[path.Clean(file)] = true
		}
		for _, pair := range h.clients {
			named[path.Clean(pair[0])] = true
		}
	}
	entries, err := f.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		file := path.Join(dir, e.Name())
		if ext := path.Ext(file); (ext == ".crt" || ext == ".cert") && !named[file] && len(out) < maxUnused {
			out = append(out, readable.Clean(file, 120))
		}
	}
	return out
}
