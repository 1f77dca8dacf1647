package view

import (
	"net/netip"
	"strings"
	"time"
)

// ResolvConf is resolv.conf as Go's own resolver reads it, which is what
// containerd uses (net/dnsconfig_unix.go of the Go distribution): at most three
// name servers, options it knows, everything else ignored.
type ResolvConf struct {
	Servers  []netip.Addr  // in order; 127.0.0.1 and ::1 if the file has none
	Default  bool          // Servers are the built-in ones: the file has none
	Missing  bool          // the file does not exist
	Search   []string      // rooted ("lab.") domains
	NDots    int           // names with fewer dots go through Search first; 1
	Timeout  time.Duration // one try at one server; 5 s
	Attempts int           // rounds over all servers; 2
	Rotate   bool          // servers are used in turn
	TCP      bool          // queries over TCP only
}

// ParseResolvConf reads the text of a resolv.conf. It always returns a value: like
// the runtime, it ignores what it does not know.
func ParseResolvConf(text []byte) *ResolvConf {
	c := &ResolvConf{NDots: 1, Timeout: 5 * time.Second, Attempts: 2}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ";") || strings.HasPrefix(line, "#") {
			continue
		}
		f := fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if len(f) > 1 && len(c.Servers) < 3 {
				if a, err := netip.ParseAddr(f[1]); err == nil {
					c.Servers = append(c.Servers, a)
				}
			}
		case "domain":
			if len(f) > 1 {
				c.Search = []string{Rooted(f[1])}
			}
		case "search":
			c.Search = nil
			for _, s := range f[1:] {
				if s = Rooted(s); s != "." {
					c.Search = append(c.Search, s)
				}
			}
		case "options":
			for _, o := range f[1:] {
				c.option(o)
			}
		}
	}
	if len(c.Servers) == 0 {
		c.Default = true
		c.Servers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return c
}

func (c *ResolvConf) option(o string) {
	key, value, _ := strings.Cut(o, ":")
	switch key {
	case "ndots":
		c.NDots = min(leadingNumber(value), 15)
	case "timeout":
		c.Timeout = time.Duration(max(leadingNumber(value), 1)) * time.Second
	case "attempts":
		c.Attempts = max(leadingNumber(value), 1)
	case "rotate":
		c.Rotate = c.Rotate || o == key
	case "use-vc", "usevc", "tcp":
		c.TCP = c.TCP || o == key
	}
}

// Names returns the absolute names that are queried for host, in order, by ndots and
// the search list. It is empty for a name that is not valid in DNS.
func (c *ResolvConf) Names(host string) []string {
	if len(host) > 254 || len(host) == 254 && !strings.HasSuffix(host, ".") {
		return nil
	}
	if strings.HasSuffix(host, ".") {
		return withoutOnion(host)
	}
	direct := host + "."
	var searched []string
	for _, suffix := range c.Search {
		if n := direct + suffix; len(n) <= 254 {
			searched = append(searched, n)
		}
	}
	if strings.Count(host, ".") >= c.NDots {
		return withoutOnion(append([]string{direct}, searched...)...)
	}
	return withoutOnion(append(searched, direct)...)
}

// withoutOnion removes names that Go never sends to a DNS server (RFC 7686).
func withoutOnion(names ...string) []string {
	var out []string
	for _, n := range names {
		if n != "" && !strings.HasSuffix(strings.ToLower(n), ".onion.") {
			out = append(out, n)
		}
	}
	return out
}

// Rooted returns s with a dot at its end: an absolute name.
func Rooted(s string) string {
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// fields splits at blanks as Go's resolver does: ASCII white space only.
func fields(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
}

// leadingNumber returns the decimal number that s begins with, up to a bound that no
// option needs; 0 if there is none.
func leadingNumber(s string) int {
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9' && n < 1<<20; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
