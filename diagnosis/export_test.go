package diagnosis

import "github.com/pullprobe/pullprobe/report"

// Rule names one rule of a table of [ruleSet].
type Rule struct{ Table, ID, When string }

func (r Rule) String() string { return r.Table + "/" + r.ID }

// Rules returns every rule by which Diagnose draws its verdict.
func Rules() []Rule {
	var out []Rule
	r := allRules()
	for _, x := range r.verdicts {
		out = append(out, Rule{"verdict", x.id, x.when})
	}
	for _, x := range r.causes {
		out = append(out, Rule{"cause", x.id, x.when})
	}
	for _, x := range r.confidences {
		out = append(out, Rule{"confidence", x.id, x.when})
	}
	for _, x := range r.weaknesses {
		out = append(out, Rule{"weakness", x.id, x.when})
	}
	for _, x := range r.rivalries {
		for _, y := range x.rivals {
			out = append(out, Rule{"rival", y.id, string(x.cause) + ": " + y.looks})
		}
	}
	for _, x := range r.faults {
		out = append(out, Rule{"fault", x.id, x.when})
	}
	return out
}

// Without returns Diagnose with one rule removed.
func Without(rule Rule) func([]report.Check) report.Verdict {
	r := allRules()
	is := func(table, id string) bool { return rule.Table == table && rule.ID == id }
	r.verdicts = without(r.verdicts, func(x verdictRule) bool { return is("verdict", x.id) })
	r.causes = without(r.causes, func(x causeRule) bool { return is("cause", x.id) })
	r.confidences = without(r.confidences, func(x confidenceRule) bool { return is("confidence", x.id) })
	r.weaknesses = without(r.weaknesses, func(x weakness) bool { return is("weakness", x.id) })
	for i := range r.rivalries {
		r.rivalries[i].rivals = without(r.rivalries[i].rivals, func(x rival) bool { return is("rival", x.id) })
	}
	r.faults = without(r.faults, func(x faultRule) bool { return is("fault", x.id) })
	return r.diagnose
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

// Rivals returns what else may explain the evidence of a cause, as docs/causes.md
// prints it.
func Rivals(c report.Cause) (lines []string, note string) {
	for _, x := range allRivalries() {
		if x.cause != c {
			continue
		}
		for _, r := range x.rivals {
			line := r.looks
			switch r.acts {
			case "":
			case report.FaultUndetermined:
				line += "; then who must act is undetermined"
			case report.FaultNone:
				line += "; then no one must act"
			default:
				line += "; then `" + string(r.acts) + "` must act"
			}
			lines = append(lines, line+". To find out: "+r.question)
		}
		return lines, x.note
	}
	return nil, ""
}
