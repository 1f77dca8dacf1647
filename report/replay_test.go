package report_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

// recording is the evidence of one row of the lab's fault matrix, seen on real
// parts, and the verdict that the row claims. `make matrix RECORD=1` writes
// them anew.
type recording struct {
	Row    string
	Todo   string // which rule is lacking: the verdict may differ until it comes
	Want   Verdict
	Checks []Check
}

// The evidence of every row of the fault matrix still leads to its verdict.
func TestReplayMatrix(t *testing.T) {
	files, err := filepath.Glob("testdata/matrix/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			got := Diagnose(r.Checks)
			ok := got.Fault == r.Want.Fault && got.Cause == r.Want.Cause && got.Confidence == r.Want.Confidence &&
				!slices.ContainsFunc(r.Want.Because, func(id string) bool { return !slices.Contains(got.Because, id) })
			switch {
			case !ok && r.Todo != "":
				t.Skipf("to do: %s: got %s %s %s", r.Todo, got.Fault, got.Cause, got.Confidence)
			case !ok:
				t.Errorf("got %s %s %s because %q, want %s %s %s because %q", got.Fault, got.Cause, got.Confidence, got.Because,
					r.Want.Fault, r.Want.Cause, r.Want.Confidence, r.Want.Because)
			}
		})
	}
}
