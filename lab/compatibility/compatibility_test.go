package compatibility

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the page from the results")

const page = "../../docs/compatibility.md"

// TestPage checks that the page shows the results.
func TestPage(t *testing.T) {
	all, err := Read("results")
	if err != nil {
		t.Fatal(err)
	}
	want := Page(all)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s differs from lab/compatibility/results: cd lab && go test ./compatibility -run TestPage -update", page)
	}
}

// TestOld says which results are older than the rules. This is no failure: a change of a
// rule must not cost the hour of `make versions`.
func TestOld(t *testing.T) {
	all, err := Read("results")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := RulesDigest("../..")
	if err != nil {
		t.Fatal(err)
	}
	if old := Old(all, rules); len(old) > 0 {
		t.Logf("docs/compatibility.md: a rule was changed after these runs; `make versions` renews them:\n  %s", strings.Join(old, "\n  "))
	}
	if old := Old([]Result{{Tests: "matrix", Containerd: "1.7.35", Commit: "abc", Rules: "other"}, {Rules: rules}}, rules); len(old) != 1 ||
		old[0] != "matrix on containerd 1.7.35 at abc" {
		t.Errorf("old results are %q", old)
	}
}

func TestDifferencesAreListedOnce(t *testing.T) {
	d := []Difference{{"TestA", "Kubernetes 1.31: no tokens", false}, {"TestB", "Kubernetes 1.31: no tokens", false}, {"TestD", "containerd 2.1: new", true}}
	text := Page([]Result{{Tests: "end-to-end", Differences: d}, {Tests: "end-to-end", Differences: d[:1], Kubernetes: "1.31.14", Failed: []string{"TestMatrix/rows/TestC"}}})
	for _, want := range []string{"- Kubernetes 1.31: no tokens. Skipped: `TestA`, `TestB`.\n", "- containerd 2.1: new. Expects something else before: `TestD`.\n", "## Failed\n\n- end-to-end on Kubernetes 1.31.14 with containerd : `TestC`.\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
}
