package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// minSide is how many nodes have to be on either side before a trait sets them apart: what
// one node alone has is no pattern.
const minSide = 2

// setsApart returns the traits that every failing node has and no other node that checked.
// A trait that is not known of one of them sets nothing apart.
func setsApart(failing, others []*observation) []Share {
	if len(failing) < minSide || len(others) < minSide {
		return nil
	}
	var out []Share
	for _, t := range traits() {
		for _, v := range t.of(failing[0]) {
			has := func(o *observation) bool { return slices.Contains(t.of(o), v) }
			hasOrUnknown := func(o *observation) bool { return len(t.of(o)) == 0 || has(o) }
			all := !slices.ContainsFunc(failing, func(o *observation) bool { return !has(o) })
			if len(out) < maxApart && all && !slices.ContainsFunc(others, hasOrUnknown) {
				out = append(out, shareOf(t, v, failing, others))
			}
		}
	}
	return out
}

// sharesOf returns the traits that most of the failing nodes have and fewer of the others,
// those with the largest difference first.
func sharesOf(failing, others []*observation) []Share {
	if len(others) == 0 {
		return nil
	}
	var out []Share
	for _, t := range traits() {
		seen := map[string]bool{}
		for _, o := range failing {
			for _, v := range t.of(o) {
				if seen[v] || len(seen) >= maxValues {
					continue
				}
				seen[v] = true
				if s := shareOf(t, v, failing, others); 2*s.Failing > s.OfFailing && s.difference() > 0 {
					out = append(out, s)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.difference(), a.difference()), cmp.Compare(a.Unknown, b.Unknown))
	})
	return out[:min(len(out), maxShares)]
}

// maxValues is how many values of one trait are counted: each node may have its own.
const maxValues = 20

// difference returns by how much more frequent the trait is among the failing nodes.
func (s Share) difference() float64 {
	return float64(s.Failing)/float64(s.OfFailing) - float64(s.Others)/float64(s.OfOthers)
}

// String returns the counts in words.
func (s Share) String() string {
	text := fmt.Sprintf("%s %s: %d of %d failing, %d of %d others", s.Trait, s.Value, s.Failing, s.OfFailing, s.Others, s.OfOthers)
	if s.Unknown > 0 {
		text += fmt.Sprintf(" (not known of %d)", s.Unknown)
	}
	return text
}

func shareOf(t trait, value string, failing, others []*observation) Share {
	s := Share{Trait: t.name, Value: clean(value), OfFailing: len(failing), OfOthers: len(others)}
	count := func(list []*observation) (n int) {
		for _, o := range list {
			values := t.of(o)
			if slices.Contains(values, value) {
				n++
			}
			if len(values) == 0 {
				s.Unknown++
			}
		}
		return n
	}
	s.Failing, s.Others = count(failing), count(others)
	return s
}

// common returns the values of a trait that all these observations have.
func common(of func(*observation) []string, list []*observation) []string {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(of(list[0]))
	for _, o := range list[1:] {
		values := of(o)
		out = slices.DeleteFunc(out, func(v string) bool { return !slices.Contains(values, v) })
	}
	return out
}

// differ reports whether two of these observations are known to have nothing of a trait in common:
// they use two resolvers, or two egress addresses.
func differ(of func(*observation) []string, list []*observation) bool {
	for i, a := range list {
		x := of(a)
		if len(x) == 0 {
			continue
		}
		for _, b := range list[i+1:] {
			y := of(b)
			if len(y) > 0 && len(common(of, []*observation{a, b})) == 0 {
				return true
			}
		}
		if i >= maxPairs {
			break
		}
	}
	return false
}

// maxPairs bounds the search for two that differ: thousands that agree are one.
const maxPairs = 50

// union returns all values that these observations have.
func union(of func(*observation) []string, list []*observation) []string {
	var out []string
	for _, o := range list {
		out = append(out, of(o)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// disjoint reports whether both lists have values and none in common.
func disjoint(a, b []string) bool {
	return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) })
}

// allKnown reports whether every observation has a value.
func allKnown(of func(*observation) []string, list []*observation) bool {
	return !slices.ContainsFunc(list, func(o *observation) bool { return len(of(o)) == 0 })
}

// agree reports whether two observations at least have a value in common: nodes that each have
// their own show that the value differs from node to node anyway.
func agree(of func(*observation) []string, list []*observation) bool {
	seen := map[string]bool{}
	for _, o := range list {
		for _, v := range of(o) {
			if seen[v] {
				return true
			}
		}
		for _, v := range of(o) {
			seen[v] = true
		}
	}
	return false
}

func addressesOf(o *observation) []string { return o.host.Addresses }
func resolversOf(o *observation) []string { return o.node.Facts.Node.Resolvers }
func proxyOf(o *observation) []string     { return known(o.node.Facts.Node.Proxy) }
func certificateOf(o *observation) []string {
	return known(o.host.Certificate)
}
func subnetOf(o *observation) []string { return known(o.node.Traits[TraitSubnet]) }
func issuerOf(o *observation) []string { return known(o.host.Issuer) }

// list returns values for a sentence.
func list(values []string) string {
	const most = 3
	if len(values) > most {
		return strings.Join(values[:most], ", ") + fmt.Sprintf(" and %d more", len(values)-most)
	}
	return strings.Join(values, ", ")
}
