package report

// RuleNames lists the rules of the rulebook, each with the table it stands in.
func RuleNames() []string {
	var out []string
	r := theRules()
	for _, x := range r.verdicts {
		out = append(out, "verdict: "+x.name)
	}
	for _, x := range r.roots {
		out = append(out, "root: "+x.name)
	}
	for _, x := range r.doubts {
		out = append(out, "doubt: "+x.name)
	}
	for _, x := range r.acting {
		out = append(out, "acting: "+x.name)
	}
	return out
}

// DiagnoseWithout is Diagnose with one rule, by its name, taken away.
func DiagnoseWithout(name string, checks []Check) Verdict {
	r := theRules()
	r.verdicts = without(r.verdicts, func(x verdictRule) bool { return "verdict: "+x.name == name })
	r.roots = without(r.roots, func(x rootRule) bool { return "root: "+x.name == name })
	r.doubts = without(r.doubts, func(x doubtRule) bool { return "doubt: "+x.name == name })
	r.acting = without(r.acting, func(x actingRule) bool { return "acting: "+x.name == name })
	return r.diagnose(checks)
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
