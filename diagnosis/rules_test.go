package diagnosis_test

import (
	"reflect"
	"regexp"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// Every rule decides something: without it some verdict changes. Nothing shows
// that a rule works on which no verdict depends.
func TestEveryRuleDecides(t *testing.T) {
	all := situations()
	for _, r := range recordings(t) {
		all = append(all, situation{name: r.Row, checks: r.Checks})
	}
	for _, c := range rivalCases() {
		all = append(all, situation{name: "rival " + c.id, checks: c.open})
	}
	want := make([]Verdict, len(all))
	for i, s := range all {
		want[i] = Diagnose(s.checks)
	}
	for _, rule := range Rules() {
		var changed []string
		diagnose := Without(rule)
		for i, s := range all {
			if !reflect.DeepEqual(want[i], diagnose(s.checks)) {
				changed = append(changed, s.name)
				if !testing.Verbose() {
					break // one is enough
				}
			}
		}
		if len(changed) == 0 {
			t.Errorf("nothing depends on the rule %s (%s)", rule, rule.When)
			continue
		}
		t.Logf("%-45s %3d of %d verdicts, e.g. %s\n\t\t%s", rule, len(changed), len(all), changed[0], rule.When)
	}
}

// Every rule has a unique id and a sentence.
func TestRulesHaveIDs(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	ids, sentences := map[string]bool{}, map[string]bool{}
	for _, rule := range Rules() {
		if !kebab.MatchString(rule.ID) || ids[rule.ID] {
			t.Errorf("%s is no id, or not unique", rule)
		}
		if rule.When == "" || sentences[rule.Table+rule.When] {
			t.Errorf("%s has the sentence %q, or another rule has it too", rule, rule.When)
		}
		ids[rule.ID], sentences[rule.Table+rule.When] = true, true
	}
}
