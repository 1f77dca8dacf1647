package report_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/report.md says of every check what its evidence means: a heading with
// the check's id, capitals for what is particular, and under it a table with
// the keys.
func TestEvidenceIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## Checks and their evidence\n")
	if !ok {
		t.Fatal("docs/report.md has no section on evidence")
	}
	var common []string
	byID := map[string][]string{} // keys by the pattern of an id
	var keys *[]string
	var patterns []string
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(line, "#### "); ok {
			patterns = quoted(heading)
			keys = new([]string)
			if len(patterns) == 0 {
				keys = &common
			}
			continue
		}
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| `") {
			*keys = append(*keys, quoted(first)...)
		}
		for _, p := range patterns {
			byID[p] = *keys
		}
	}

	for _, r := range recordings(t) {
		for _, c := range r.Checks {
			pattern := ""
			for p := range byID {
				if fits(p, c.ID) > fits(pattern, c.ID) {
					pattern = p
				}
			}
			if pattern == "" {
				t.Errorf("%s: the check %s is not in docs/report.md", r.Row, c.ID)
				continue
			}
			for key := range c.Evidence {
				if !slices.Contains(byID[pattern], key) && !slices.Contains(common, key) {
					t.Errorf("%s: %q of %s is not in docs/report.md under %s", r.Row, key, c.ID, pattern)
				}
			}
		}
	}
}

func quoted(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// fits says how well an id is of a pattern, in which words in capitals stand
// for anything; 0 is not at all. A check that was skipped may lack its last part.
func fits(pattern, id string) int {
	p, parts := strings.Split(pattern, "/"), strings.Split(id, "/")
	score := 100
	if len(parts) != len(p) {
		if score = 1; len(parts) != len(p)-1 || len(parts) < 2 {
			return 0
		}
	}
	for i, part := range parts {
		switch {
		case p[i] == part:
			score += 10
		case strings.ToUpper(p[i]) != p[i]:
			return 0
		}
	}
	return score
}
