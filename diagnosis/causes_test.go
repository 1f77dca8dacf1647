package diagnosis_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

var update = flag.Bool("update", false, "rewrite what docs have from the code")

// generated matches the lines of docs/causes.md that come from the code.
var generated = regexp.MustCompile(`^- \*\*(Means|Who acts|Fix|Mistaken for)\*\*`)

// docs/causes.md has a section for every cause of the catalogue. Its meaning, its
// fix and what else looks like it come from the code: -update writes them. How it
// is known and what its message reads like are written there by hand.
func TestCausesAreDocumented(t *testing.T) {
	const path, name = "../docs/causes.md", "catalogue"
	_, text, _ := section(t, path, name)
	byHand := map[string][]string{}
	cause := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "#### `"); ok {
			cause = strings.TrimSuffix(strings.TrimSpace(name), "`")
		} else if strings.HasPrefix(line, "- **") && !generated.MatchString(line) {
			byHand[cause] = append(byHand[cause], line)
		}
	}

	var want strings.Builder
	var fault Fault
	for _, info := range Catalogue() {
		if info.Fault != fault {
			fault = info.Fault
			fmt.Fprintf(&want, "\n### %s\n", fault)
		}
		meaning, fix := info.Cause.Meaning(), info.Cause.Fix(FaultNone)
		fmt.Fprintf(&want, "\n#### `%s`\n\n- **Means**: %s\n- **Who acts**: %s\n", info.Cause, meaning, info.Fault)
		if fix != "" {
			fmt.Fprintf(&want, "- **Fix**: %s\n", onOneLine(fix))
		}
		lines := strings.Join(byHand[string(info.Cause)], "")
		if !strings.Contains(lines, "- **Known by**: ") || !strings.Contains(lines, "- **Reads like**: ") && info.Cause != Healthy {
			t.Errorf("%s: %s does not say how it is known, or what it reads like", path, info.Cause)
		}
		want.WriteString(lines)
		writeRivals(&want, info.Cause)
	}
	want.WriteByte('\n')
	expectSection(t, path, name, want.String())
}

// docs/causes.md lists what makes a check weak: -update writes that.
func TestWeaknessesAreDocumented(t *testing.T) {
	var want strings.Builder
	for _, rule := range Rules() {
		if rule.Table == "weakness" {
			fmt.Fprintf(&want, "- %s\n", rule.When)
		}
	}
	expectSection(t, "../docs/causes.md", "weaknesses", want.String())
}

// section returns what a document has between its markers of this name, and what is
// before and after that, with the markers.
func section(t *testing.T, path, name string) (head, text, tail string) {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	text, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no markers of %s", path, name)
	}
	return head + begin, text, end + tail
}

// expectSection checks a section of a document: -update writes it.
func expectSection(t *testing.T, path, name, want string) {
	t.Helper()
	head, text, tail := section(t, path, name)
	if *update {
		if err := os.WriteFile(path, []byte(head+want+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
}

// onOneLine returns a text of several lines on one, with its commands as code.
func onOneLine(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if readable.IsCommand(line) {
			lines[i] = "`" + line + "`"
		}
	}
	return strings.Join(lines, " ")
}

// writeRivals writes what else explains the evidence of a cause.
func writeRivals(w *strings.Builder, c Cause) {
	rivals, note := Rivals(c)
	if len(rivals) == 0 {
		fmt.Fprintf(w, "- **Mistaken for**: nothing: %s\n", note)
		return
	}
	w.WriteString("- **Mistaken for**, unless excluded by evidence:\n")
	for _, r := range rivals {
		fmt.Fprintf(w, "  - %s\n", onOneLine(r))
	}
	if note != "" {
		fmt.Fprintf(w, "  - %s\n", note)
	}
}
