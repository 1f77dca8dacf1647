package view

import (
	"net/netip"
	"strings"
)

// HostsFile is /etc/hosts as Go's resolver reads it (net/hosts.go of the Go
// distribution).
type HostsFile struct {
	byName map[string][]netip.Addr // lower case, rooted
}

// ParseHostsFile reads the text of a hosts file; it ignores invalid lines.
func ParseHostsFile(text []byte) *HostsFile {
	h := &HostsFile{byName: map[string][]netip.Addr{}}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		f := fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		for _, name := range f[1:] {
			key := hostKey(name)
			h.byName[key] = append(h.byName[key], addr)
		}
	}
	return h
}

// Addresses returns the addresses of name, in the order of the file. h may be nil.
func (h *HostsFile) Addresses(name string) []netip.Addr {
	if h == nil {
		return nil
	}
	return h.byName[hostKey(name)]
}

func hostKey(name string) string { return Rooted(strings.ToLower(name)) }

// Lookup is where names are looked up. The zero value is the usual: the hosts file,
// then DNS.
type Lookup struct {
	DNSFirst bool // DNS is queried before the hosts file
	NoDNS    bool // DNS is never queried
	NoFiles  bool // the hosts file is never read

	// Others are sources that only libc knows (resolve, mdns4_minimal, …). Go ignores
	// them or leaves the lookup to libc.
	Others []string
}

// ParseNSSwitch reads the "hosts" line of an nsswitch.conf. Without one, names
// are looked up in the hosts file and then in DNS.
func ParseNSSwitch(text []byte) Lookup {
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		db, sources, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(db) != "hosts" {
			continue
		}
		var l Lookup
		var files, dns bool
		for _, s := range fields(sources) {
			switch {
			case strings.ContainsAny(s, "[]=!"):
				// An action such as [NOTFOUND=return]; the probes do not follow it.
			case s == "files":
				l.DNSFirst, files = l.DNSFirst || dns, true
			case s == "dns":
				dns = true
			case len(l.Others) < 8:
				l.Others = append(l.Others, s)
			}
		}
		if !files && !dns && len(l.Others) == 0 {
			return Lookup{}
		}
		// A libc-only source such as resolve or myhostname may answer instead of dns or
		// files: only a plain list proves that one is off.
		if len(l.Others) == 0 {
			l.NoDNS, l.NoFiles = !dns, !files
		}
		return l
	}
	return Lookup{}
}
