package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

var corpus = flag.String("corpus", "../shared/corpus/train.jsonl", "messages that people posted, labelled by how their threads ended")

// TestExplainCorpus measures `pullprobe explain` on messages that people
// posted in public. They are no part of this repository: the file may lie
// beside the checkout. `make corpus` prints the misses.
func TestExplainCorpus(t *testing.T) {
	f, err := os.Open(*corpus)
	if err != nil {
		t.Skipf("no corpus: %v", err)
	}
	defer f.Close()

	type row struct {
		ID         string         `json:"id"`
		Message    string         `json:"message"`
		Causes     []report.Cause `json:"causes"`     // what it was
		Defensible []report.Cause `json:"defensible"` // what a careful reader could say
		Faults     []report.Fault `json:"faults"`
		Misleading bool           `json:"misleading"`
	}
	var plain, hit, wrongFault, open int
	var misleading, named, wrongLikely, indefensible int
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		var r row
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		x := explain(r.Message)
		right := slices.Contains(r.Causes, x.Cause)
		defensible := right || slices.Contains(r.Defensible, x.Cause)
		undetermined := x.Confidence == report.ConfidenceUndetermined
		miss := ""
		if !r.Misleading {
			plain++
			switch {
			case undetermined && !right:
				open++
				miss = "undetermined"
			case !defensible:
				miss = "wrong cause"
			}
			if defensible {
				hit++
			}
			if !slices.Contains(r.Faults, x.Fault) && !undetermined {
				wrongFault++
				miss += " wrong fault " + string(x.Fault)
			}
		} else {
			misleading++
			if slices.ContainsFunc(append([]report.Cause{x.Cause}, x.Alternatives...), func(c report.Cause) bool { return slices.Contains(r.Causes, c) }) {
				named++
			} else {
				miss = "true cause not named"
			}
			if !right && x.Confidence == report.Confirmed {
				t.Errorf("%s: wrong, and sure of it: %s", r.ID, x.Cause)
			}
			if !right && x.Confidence == report.Likely {
				wrongLikely++
				if !defensible {
					indefensible++
					miss += " wrong as likely"
				}
			}
		}
		if miss != "" {
			t.Logf("%s (misleading %t): %s: want %v or %v, got %s %s, or %v", r.ID, r.Misleading, miss, r.Causes, r.Defensible, x.Confidence, x.Cause, x.Alternatives)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	atLeast := func(what string, n, of, percent int) {
		t.Logf("%-62s %3d of %3d (at least %d %%)", what, n, of, percent)
		if n*100 < percent*of {
			t.Errorf("%s: %d of %d is less than %d %%", what, n, of, percent)
		}
	}
	atMost := func(what string, n, of, percent int) {
		t.Logf("%-62s %3d of %3d (at most %d %%)", what, n, of, percent)
		if n*100 > percent*of {
			t.Errorf("%s: %d of %d is more than %d %%", what, n, of, percent)
		}
	}
	atLeast("plain words: an accepted cause", hit, plain, 95)
	atMost("plain words: wrong fault", wrongFault, plain, 5)
	atMost("plain words: undetermined", open, plain, 10)
	atLeast("misleading words: true cause first or an alternative", named, misleading, 85)
	atMost("misleading words: wrong as likely, and not defensible", indefensible, misleading, 15)
	t.Logf("%-62s %3d of %3d", "misleading words: likely, and not what it turned out to be", wrongLikely, misleading)
}
