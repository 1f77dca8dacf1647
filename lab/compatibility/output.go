package compatibility

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Outcome is what became of the tests of one run.
type Outcome struct {
	Passed, Failed, Skipped []string // names; a test with subtests counts as those
	Differences             []Difference
}

// versionReason matches the reason of a test that was skipped, or expects something else,
// because of a version.
var versionReason = regexp.MustCompile(`(?m)^\s+\S+\.go:\d+: ((?:Kubernetes|containerd) \d.*)$`)

// ParseOutput reads the output of `go tool test2json`. Output without a test that ended is
// an error: the tests did not run.
func ParseOutput(r io.Reader) (Outcome, error) {
	results, text := map[string]string{}, map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return Outcome{}, err
		}
		switch e.Action {
		case "pass", "fail", "skip":
			if e.Test != "" {
				results[e.Test] = e.Action
			}
		case "output":
			text[e.Test] += e.Output
		}
	}
	if err := lines.Err(); err != nil {
		return Outcome{}, err
	}
	if len(results) == 0 {
		return Outcome{}, errors.New("no test ended")
	}
	parents := map[string]bool{}
	for name := range results {
		for i, c := range name {
			if c == '/' {
				parents[name[:i]] = true
			}
		}
	}
	var o Outcome
	for name, result := range results {
		switch {
		case result == "fail" && (!parents[name] || !failsBelow(results, name)):
			o.Failed = append(o.Failed, name)
		case parents[name]:
		case result == "pass":
			o.Passed = append(o.Passed, name)
		case result == "skip":
			o.Skipped = append(o.Skipped, name)
		}
		if m := versionReason.FindStringSubmatch(text[name]); m != nil && result != "fail" {
			o.Differences = append(o.Differences, Difference{name, m[1], result == "pass"})
		}
	}
	for _, names := range [][]string{o.Passed, o.Failed, o.Skipped} {
		slices.Sort(names)
	}
	slices.SortFunc(o.Differences, func(a, b Difference) int { return strings.Compare(a.Test, b.Test) })
	return o, nil
}

// PassedAll reports whether a test, or what it consists of, passed and nothing of it failed.
func (o Outcome) PassedAll(name string) bool {
	of := func(other string) bool { return other == name || strings.HasPrefix(other, name+"/") }
	return slices.ContainsFunc(o.Passed, of) && !slices.ContainsFunc(o.Failed, of)
}

func failsBelow(results map[string]string, parent string) bool {
	for name, result := range results {
		if result == "fail" && strings.HasPrefix(name, parent+"/") {
			return true
		}
	}
	return false
}
