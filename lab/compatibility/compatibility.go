// Package compatibility keeps what the tests showed beside several versions of Kubernetes
// and containerd, and writes docs/compatibility.md from it.
package compatibility

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// Difference is a test that was skipped because of a version.
type Difference struct {
	Test   string `json:"test"`
	Reason string `json:"reason"`
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
versions (other manifests, a mark of what is not done yet), or because of a difference that is listed below.
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
			for _, name := range section.names(r) {
				if first {
					fmt.Fprintf(b, "\n## %s\n\n", section.title)
					first = false
				}
				fmt.Fprintf(b, "- `%s`: %s\n", name, r)
			}
		}
	}
}

// writeDifferences writes each reason once, with the tests that were skipped for it.
func writeDifferences(b *strings.Builder, all []Result) {
	b.WriteString("\n## Differences\n\n")
	tests := map[string][]string{}
	for _, r := range all {
		for _, d := range r.Differences {
			if !slices.Contains(tests[d.Reason], d.Test) {
				tests[d.Reason] = append(tests[d.Reason], d.Test)
			}
		}
	}
	if len(tests) == 0 {
		b.WriteString("None.\n")
		return
	}
	reasons := make([]string, 0, len(tests))
	for reason := range tests {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		slices.Sort(tests[reason])
		fmt.Fprintf(b, "- %s Skipped: `%s`.\n", strings.TrimSuffix(reason, ".")+".", strings.Join(tests[reason], "`, `"))
	}
}
