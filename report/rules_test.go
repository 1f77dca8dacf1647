package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

// Every rule decides something: without it some verdict turns another. A rule
// that nothing depends on is one that nobody has seen at work.
func TestEveryRuleDecides(t *testing.T) {
	all := situations()
	for _, r := range recordings(t) {
		all = append(all, situation{name: r.Row, checks: r.Checks})
	}
	for _, name := range RuleNames() {
		var turned []string
		for _, s := range all {
			if diff := cmp.Diff(Diagnose(s.checks), DiagnoseWithout(name, s.checks)); diff != "" {
				turned = append(turned, s.name)
			}
		}
		if len(turned) == 0 {
			t.Errorf("nothing depends on the rule %q", name)
			continue
		}
		t.Logf("%-70s %d of %d verdicts, e.g. %s", name, len(turned), len(all), turned[0])
	}
}
