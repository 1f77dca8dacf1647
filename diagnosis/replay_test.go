package diagnosis_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// recording is the evidence of one row of the lab's fault matrix, recorded with
// real components, and the verdict that the row expects. `make matrix RECORD=1`
// writes the recordings.
type recording struct {
	Row    string
	Todo   string // what the product says instead; a recording with other checks may not show it
	Want   Verdict
	Never  []string // what the verdict must not be: "FAULT CAUSE CONFIDENCE"
	Checks []Check
}

// allows reports whether a recording wants or permits a verdict. Fault, cause and
// confidence may have alternatives ("likely|undetermined"); "*" is any.
func (r recording) allows(got Verdict) bool {
	matches := func(fault, cause, confidence string) bool {
		return oneOf(string(got.Fault), fault) && oneOf(string(got.Cause), cause) && oneOf(string(got.Confidence), confidence)
	}
	return matches(string(r.Want.Fault), string(r.Want.Cause), string(r.Want.Confidence)) &&
		!slices.ContainsFunc(r.Want.Because, func(id string) bool { return !slices.Contains(got.Because, id) }) &&
		!slices.ContainsFunc(r.Never, func(n string) bool {
			f := strings.Fields(n)
			return matches(f[0], f[1], f[2])
		})
}

func oneOf(s, alternatives string) bool {
	return alternatives == "*" || slices.Contains(strings.Split(alternatives, "|"), s)
}

func recordings(t testing.TB) []recording {
	t.Helper()
	files, err := filepath.Glob("testdata/matrix/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	var all []recording
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r recording
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, r)
	}
	return all
}

// The evidence of every row of the fault matrix leads to its verdict.
func TestReplayMatrix(t *testing.T) {
	for _, r := range recordings(t) {
		t.Run(r.Row, func(t *testing.T) {
			got := Diagnose(r.Checks)
			ok := r.allows(got)
			switch {
			case !ok && r.Todo != "":
				t.Skipf("to do: %s: got %s %s %s", r.Todo, got.Fault, got.Cause, got.Confidence)
			case !ok:
				t.Errorf("got %s %s %s because %q, want %s %s %s because %q and never %q", got.Fault, got.Cause, got.Confidence, got.Because,
					r.Want.Fault, r.Want.Cause, r.Want.Confidence, r.Want.Because, r.Never)
			}
		})
	}
}

// A confirmed verdict rests on two sources: without the runtime's message, or
// without the checks that it names beside it, it is no longer confirmed. (What the
// input alone proves, and a pull that succeeds, need one.)
func TestReplayWithOneSource(t *testing.T) {
	isMessage := func(c Check) bool { return c.Kind == KindPull || c.Kind == KindPod }
	for _, r := range recordings(t) {
		v := Diagnose(r.Checks)
		if v.Confidence != Confirmed || v.Cause == Healthy || v.Cause == InvalidReference {
			continue
		}
		for _, message := range []bool{true, false} {
			less := slices.Clone(r.Checks)
			for i, c := range less {
				if slices.Contains(v.Because, c.ID) && isMessage(c) == message {
					less[i] = Check{ID: c.ID, Kind: c.Kind, Host: c.Host, Summary: "not made"}
				}
			}
			if got := Diagnose(less); got.Cause == v.Cause && got.Confidence == Confirmed {
				t.Errorf("%s: %s is still %s without %q (message: %v)", r.Row, v.Cause, v.Confidence, v.Because, message)
			}
		}
	}
}

// A password that is a common word does not change the verdict.
func TestRedactorKeepsTheVerdict(t *testing.T) {
	for _, secret := range []string{"registry", "manifest", "pull", "true", "password", "token", "anonymous", "Timeout"} {
		for _, row := range recordings(t) {
			want, got := Diagnose(row.Checks), Diagnose(RedactedChecks(redact.New(secret), row.Checks))
			if !got.Same(want) {
				t.Errorf("%s with the password %q: %s %s %s, want %s %s %s", row.Row, secret,
					got.Fault, got.Cause, got.Confidence, want.Fault, want.Cause, want.Confidence)
			}
		}
	}
}
