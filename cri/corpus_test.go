package cri

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

// TestCorpus measures the reader on messages that people posted in public,
// labelled by how their threads ended. They are not part of this repository;
// the file may lie beside the checkout.
func TestCorpus(t *testing.T) {
	const path = "../../shared/corpus/train.jsonl"
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("no corpus beside the checkout: %v", err)
	}
	defer f.Close()

	type row struct {
		ID         string         `json:"id"`
		Message    string         `json:"message"`
		Causes     []report.Cause `json:"causes"`
		Defensible []report.Cause `json:"defensible"`
		Faults     []report.Fault `json:"faults"`
		Misleading bool           `json:"misleading"`
	}
	var rows, plain, plainHit, misled, misledHit, strict, fault int
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		got := Read(r.Message)
		rows++
		if slices.Contains(r.Causes, got.Cause) {
			strict++
		}
		if slices.Contains(r.Faults, got.Cause.DefaultFault()) {
			fault++
		}
		named := append([]report.Cause{got.Cause}, got.Could[:min(4, len(got.Could))]...)
		var hit bool
		if r.Misleading {
			misled++
			if hit = slices.ContainsFunc(r.Causes, func(c report.Cause) bool { return slices.Contains(named, c) }); hit {
				misledHit++
			}
		} else {
			plain++
			if hit = slices.Contains(append(r.Causes, r.Defensible...), got.Cause); hit {
				plainHit++
			}
		}
		if !hit {
			t.Logf("miss %s (misleading %t): want %v or %v, got %s, could be %v, by %q", r.ID, r.Misleading, r.Causes, r.Defensible, got.Cause, got.Could, got.Clause)
		}
	}
	t.Logf("%d rows: cause %d, fault %d; not misleading %d/%d; misleading %d/%d", rows, strict, fault, plainHit, plain, misledHit, misled)
	if plainHit*100 < 95*plain {
		t.Errorf("rows whose words do not mislead: read %d of %d, want 95 %%", plainHit, plain)
	}
	if misledHit*100 < 85*misled {
		t.Errorf("rows whose words mislead: true cause named for %d of %d, want 85 %%", misledHit, misled)
	}
}
