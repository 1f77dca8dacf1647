// Package compatibility keeps what the tests showed beside several versions of Kubernetes
// and containerd, and writes docs/compatibility.md from it.
package compatibility

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is one run of tests beside one pair of versions.
type Result struct {
	Tests      string `json:"tests"`      // "end-to-end" or "matrix"
	Kubernetes string `json:"kubernetes"` // "1.33.13"; empty: no cluster
	Containerd string `json:"containerd"` // "1.7.35"
	Commit     string `json:"commit"`     // of the product
	Rules      string `json:"rules"`      // RulesDigest at that commit
	Date       string `json:"date"`       // "2026-11-30", UTC
	Seconds    int    `json:"seconds"`    // wall time, without builds

	Passed      int          `json:"passed"` // tests, or subtests of those that have any
	Skipped     int          `json:"skipped"`
	Failed      []string     `json:"failed,omitempty"`
	Repeated    []string     `json:"repeated,omitempty"` // failed, and passed when they ran again alone
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is a test that was skipped because of a version, or that expects something
// else of it.
type Difference struct {
	Test    string `json:"test"`
	Reason  string `json:"reason"`
	Adapted bool   `json:"adapted,omitempty"` // it ran, and expects something else
}

// Read returns the results in a directory, one file for each, in the order of the table.
func Read(dir string) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Result
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var r Result
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Result) int {
		if a.Tests != b.Tests {
			return strings.Compare(a.Tests, b.Tests)
		}
		return slices.Compare(append(numbers(a.Kubernetes), numbers(a.Containerd)...), append(numbers(b.Kubernetes), numbers(b.Containerd)...))
	})
	return all, nil
}

func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}

// Write writes a result into a directory.
func Write(dir, name string, r Result) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644)
}

// RulesDigest returns a short hash of the files that decide verdicts. root is the
// repository's.
func RulesDigest(root string) (string, error) {
	h := sha256.New()
	for _, pattern := range []string{"diagnosis/*.go", "diagnosis/facts/*.go", "classify/*.go", "compare/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(b), b)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Old returns the results whose rules are not these.
func Old(all []Result, rules string) []string {
	var old []string
	for _, r := range all {
		if r.Rules != rules {
			old = append(old, r.String()+" at "+r.Commit)
		}
	}
	return old
}

// String returns what ran: "end-to-end on Kubernetes 1.33.13 with containerd 1.7.35".
func (r Result) String() string {
	if r.Kubernetes == "" {
		return r.Tests + " on containerd " + r.Containerd
	}
	return r.Tests + " on Kubernetes " + r.Kubernetes + " with containerd " + r.Containerd
}

// Page returns docs/compatibility.md.
func Page(all []Result) string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("\n| tests | Kubernetes | containerd | passed | failed | skipped | wall time | date | commit |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range all {
		kubernetes := r.Kubernetes
		if kubernetes == "" {
			kubernetes = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %v | %s | `%s` |\n", r.Tests, kubernetes, r.Containerd,
			r.Passed, len(r.Failed), r.Skipped, time.Duration(r.Seconds)*time.Second, r.Date, r.Commit)
	}
	writeFailures(&b, all)
	writeDifferences(&b, all)
	return b.String()
}

const intro = `# Compatibility

What the tests showed beside other versions than those of ` + "`make test`" + `. ` + "`make versions`" + ` writes this page
([how](../lab/README.md#other-versions)). The end-to-end tests run the agent on real nodes of a cluster; the matrix
breaks one thing at a time beside one containerd. A test is skipped here for the same reasons as with the default
versions (other manifests, a mark of what is not done yet), or because of a difference that is listed below. Rows of the
matrix named ` + "`containerd-1.6-…`" + ` run beside that version in every run.
Each line is about its commit: what was corrected since then is seen in the next run.
`

func writeFailures(b *strings.Builder, all []Result) {
	for _, section := range []struct {
		title string
		names func(Result) []string
	}{
		{"Failed", func(r Result) []string { return r.Failed }},
		{"Passed at the second attempt", func(r Result) []string { return r.Repeated }},
	} {
		first := true
		for _, r := range all {
			names := section.names(r)
			if len(names) == 0 {
				continue
			}
			if first {
				fmt.Fprintf(b, "\n## %s\n\n", section.title)
				first = false
			}
			fmt.Fprintf(b, "- %s: %s.\n", r, list(names))
		}
	}
}

// list returns the names of tests, without what all rows of the matrix begin with.
func list(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, "`"+strings.TrimPrefix(name, "TestMatrix/rows/")+"`")
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// writeDifferences writes each reason once, with the tests that it is about.
func writeDifferences(b *strings.Builder, all []Result) {
	b.WriteString("\n## Differences\n\n")
	type about struct{ skipped, adapted []string }
	tests := map[string]*about{}
	for _, r := range all {
		for _, d := range r.Differences {
			a := tests[d.Reason]
			if a == nil {
				a = &about{}
				tests[d.Reason] = a
			}
			names := &a.skipped
			if d.Adapted {
				names = &a.adapted
			}
			if !slices.Contains(*names, d.Test) {
				*names = append(*names, d.Test)
			}
		}
	}
	if len(tests) == 0 {
		b.WriteString("None.\n")
		return
	}
	for _, reason := range slices.Sorted(maps.Keys(tests)) {
		fmt.Fprintf(b, "- %s.", strings.TrimSuffix(reason, "."))
		if names := tests[reason].skipped; len(names) > 0 {
			fmt.Fprintf(b, " Skipped: %s.", list(names))
		}
		if names := tests[reason].adapted; len(names) > 0 {
			fmt.Fprintf(b, " Expects something else before: %s.", list(names))
		}
		b.WriteString("\n")
	}
}
