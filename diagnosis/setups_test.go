package diagnosis_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
)

// setup is one kind of node, with the failures that were recorded on it. The test
// TestSetups of package examine records them.
type setup struct {
	Setup   string
	Kubelet string // whether it is seen
	Rows    []struct {
		recording

		Registry, Failure string
		NoFix             string // what the fix must not have
		Says              string // what the fix, or what would decide, must have: alternatives
	}
}

// setups returns the recorded nodes, in the order of docs/setups.md.
func setups(t *testing.T) []setup {
	t.Helper()
	var out []setup
	for _, name := range []string{"eks", "gke", "aks", "bottlerocket", "kubeadm", "k3s", "rke2", "talos"} {
		b, err := os.ReadFile("testdata/setups/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var s setup
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, s)
	}
	return out
}

// The evidence of every set-up leads to the verdict that it wants, but for those that are
// to do. docs/setups.md says what the verdict is: -update writes it.
func TestSetupsAreDocumented(t *testing.T) {
	var want strings.Builder
	want.WriteString("| set-up | kubelet seen | registry | failure | cause | confidence | who acts |\n")
	want.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, s := range setups(t) {
		setup, kubelet := s.Setup, s.Kubelet
		for _, r := range s.Rows {
			v := Diagnose(r.Checks)
			advice := strings.Join(append(slices.Clone(v.WouldDecide), v.Fix), "\n")
			mentioned := slices.ContainsFunc(strings.Split(r.Says, "|"), func(word string) bool { return strings.Contains(advice, word) })
			ok := r.allows(v) && mentioned && (r.NoFix == "" || !strings.Contains(v.Fix, r.NoFix))
			mark := ""
			switch {
			case !ok && r.Todo == "":
				t.Errorf("%s: got %s %s %s, want %s %s %s; %s", r.Row,
					v.Fault, v.Cause, v.Confidence, r.Want.Fault, r.Want.Cause, r.Want.Confidence, advice)
			case !ok:
				mark = " (*)"
			}
			fmt.Fprintf(&want, "| %s | %s | %s | %s | `%s`%s | %s | %s |\n",
				setup, kubelet, r.Registry, r.Failure, v.Cause, mark, v.Confidence, v.Fault)
			setup, kubelet = "", ""
		}
	}
	expectSection(t, "../docs/setups.md", "setups", want.String())
}
