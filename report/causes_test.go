package report_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

// The table in docs/causes.md is the catalogue; -update writes it.
func TestCausesAreDocumented(t *testing.T) {
	const path, begin, end = "../docs/causes.md", "<!-- catalogue -->\n", "<!-- /catalogue -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no catalogue markers", path)
	}
	var want strings.Builder
	var fault Fault
	for _, info := range Catalogue() {
		if info.Fault != fault {
			fault = info.Fault
			fmt.Fprintf(&want, "\n### %s\n\n| cause | what it means | what mends it |\n| --- | --- | --- |\n", fault)
		}
		meaning, fix := Explain(info.Cause)
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", info.Cause, cell(meaning), cell(fix))
	}
	want.WriteByte('\n')
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), table); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
