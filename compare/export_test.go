package compare

// Rule names one rule of a table of [ruleSet].
type Rule struct{ Table, ID, When string }

func (r Rule) String() string { return r.Table + "/" + r.ID }

// Rules returns every rule of the comparison.
func Rules() []Rule {
	var out []Rule
	r := allRules()
	for _, x := range r.counts {
		out = append(out, Rule{"count", x.id, x.why})
	}
	for _, x := range r.hosts {
		out = append(out, Rule{"host", x.id, x.when})
	}
	for _, x := range r.doubts {
		out = append(out, Rule{"doubt", x.id, x.when})
	}
	for _, x := range r.images {
		out = append(out, Rule{"image", x.id, x.when})
	}
	for _, x := range r.nodes {
		out = append(out, Rule{"node", x.id, x.when})
	}
	return out
}

// Without returns Compare with one rule removed.
func Without(rule Rule) func(Input) Result {
	r := allRules()
	is := func(table, id string) bool { return rule.Table == table && rule.ID == id }
	r.counts = without(r.counts, func(x countRule) bool { return is("count", x.id) })
	r.hosts = without(r.hosts, func(x hostRule) bool { return is("host", x.id) })
	r.doubts = without(r.doubts, func(x doubt) bool { return is("doubt", x.id) })
	r.images = without(r.images, func(x imageRule) bool { return is("image", x.id) })
	r.nodes = without(r.nodes, func(x nodeRule) bool { return is("node", x.id) })
	return r.compare
}

func without[T any](list []T, drop func(T) bool) []T {
	var out []T
	for _, x := range list {
		if !drop(x) {
			out = append(out, x)
		}
	}
	return out
}
