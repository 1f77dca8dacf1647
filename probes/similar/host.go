package similar

import (
	"net"
	"strings"
)

// Host returns that of used, the likeliest first, which was probably meant by the host of a
// registry that does not exist; empty: none. The ports must be equal. Names that differ in a
// number or in a short word, such as eu and us, belong to two registries, and are no typo.
func Host(host string, used []string) string {
	name, port := splitPort(host)
	best, bestRank := "", 0
	for _, u := range used {
		other, otherPort := splitPort(u)
		if len(other) > maxName || len(name) > maxName || other == name || port != otherPort {
			continue
		}
		if r := hostRank(name, other); r > 0 && (best == "" || r < bestRank) {
			best, bestRank = u, r
		}
	}
	return best
}

// splitPort returns a host's name in lower case, and its port; empty: it has none.
func splitPort(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return strings.ToLower(name), port
	}
	return strings.ToLower(host), ""
}

// hostRank returns how likely other was meant by name, 1 is likeliest; 0: not at all.
func hostRank(name, other string) int {
	separators := strings.NewReplacer(".", "", "-", "", "_", "")
	switch {
	case net.ParseIP(other) != nil, net.ParseIP(name) != nil, len(name) < minHost:
		return 0
	case separators.Replace(name) == separators.Replace(other):
		return 1
	case !strings.Contains(name, ".") && strings.HasPrefix(other, name+"."):
		return 2 // its short name
	case oneTypo(name, other):
		return 2 + distance(name, other)
	}
	return 0
}

// minHost is how short a name may be that is compared.
const minHost = 3

// oneTypo reports whether one word of a host's name was mistyped.
func oneTypo(name, other string) bool {
	if digits(name) != digits(other) {
		return false
	}
	labels, others := strings.Split(name, "."), strings.Split(other, ".")
	if len(labels) != len(others) {
		return false
	}
	typos := 0
	for i := range labels {
		words, meant := strings.Split(labels[i], "-"), strings.Split(others[i], "-")
		if len(words) != len(meant) {
			words, meant = labels[i:i+1], others[i:i+1]
		}
		for j := range words {
			if words[j] == meant[j] {
				continue
			}
			if typos++; !mistyped(words[j], meant[j], i > 0 && i == len(labels)-1) {
				return false
			}
		}
	}
	return typos == 1
}

// mistyped reports whether word is meant with a typo. Short words mean something of their
// own, except for a top-level domain.
func mistyped(word, meant string, topLevel bool) bool {
	d := distance(word, meant)
	switch n := len(meant); {
	case n >= longWord:
		return d <= 2
	case n >= 4, topLevel && n == 3:
		return d == 1
	}
	return false
}
