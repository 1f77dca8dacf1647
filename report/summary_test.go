package report_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

func node() Node {
	at := time.Date(2026, 11, 21, 3, 58, 12, 0, time.UTC)
	diagnosis := func(pod string, checks []Check) Diagnosis {
		return Diagnosis{Image: host + "/app:1", Node: "node-a", Pod: pod, Container: "web", Time: at, Verdict: Diagnose(checks), Checks: checks}
	}
	return Node{
		Schema: Schema, Node: "node-a", Agent: "v0", Time: at, Fault: FaultNode, Cause: ConnectionTimeout, Stuck: 2,
		Runtime: Check{ID: "runtime", Outcome: Pass, Summary: "containerd 2.4.2, ready"},
		Disk:    Check{ID: "disk", Outcome: Fail, Cause: DiskFull, Summary: "/var/lib/containerd has 12 KiB free of 600 MiB"},
		Diagnoses: []Diagnosis{
			diagnosis("shop/web-1", all(words(TagNotFound), ladder(KindManifest, TagNotFound))),
			diagnosis("shop/web-2", all(check("credentials", KindCredentials, Skipped, ""), check("local/"+host, KindImage, Pass, "", ev("count", "3")),
				ladder(KindDial, ConnectionTimeout, ev("deadline", "true")))),
		},
	}
}

func TestSummary(t *testing.T) {
	golden(t, "summary", node().Summary())
}

// golden compares a summary with the file that a person has looked at.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
	fitsTerminal(t, got)
}

// fitsTerminal holds a summary to 80 columns. Only what is to be copied whole
// may be longer: a command, or a long name at the end of its line.
func fitsTerminal(t *testing.T, summary string) {
	t.Helper()
	for line := range strings.Lines(summary) {
		line = strings.TrimSuffix(line, "\n")
		last := line[strings.LastIndexByte(line, ' ')+1:]
		if utf8.RuneCountInString(line) > 80 && len(last) <= 33 && !strings.Contains(line, "kubectl") {
			t.Errorf("wider than 80 columns: %q", line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("ends in spaces: %q", line)
		}
	}
}

// A report of 500 stuck pods stays within its bound, keeps the newest and says
// how many it left out.
func TestBounded(t *testing.T) {
	n := node()
	d := n.Diagnoses[0]
	n.Diagnoses = nil
	for i := range 500 {
		d.Pod = fmt.Sprintf("shop/web-%d", i)
		n.Diagnoses = append(n.Diagnoses, d)
	}
	summary, body, err := n.Bounded(MaxReport)
	if err != nil {
		t.Fatal(err)
	}
	if len(summary)+len(body) > MaxReport {
		t.Errorf("%d + %d bytes", len(summary), len(body))
	}
	var back Node
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Diagnoses)+back.Omitted != 500 || back.Omitted == 0 || len(back.Diagnoses) < 10 {
		t.Errorf("%d diagnoses and %d omitted", len(back.Diagnoses), back.Omitted)
	}
	if back.Diagnoses[0].Pod != "shop/web-0" {
		t.Errorf("the newest is %s", back.Diagnoses[0].Pod)
	}
	if !strings.Contains(summary, "left out") {
		t.Error("the summary does not say that something is left out")
	}
}
