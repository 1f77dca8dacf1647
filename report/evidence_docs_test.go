package report_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

// documentedEvidence returns the keys that docs/report.md describes, by the
// pattern of a check's id: a heading has the id, with capitals for the parts that
// differ, and below it a table has the keys. Common are the keys of any check.
func documentedEvidence(t *testing.T) (byID map[string][]string, common []string) {
	t.Helper()
	b, err := os.ReadFile("../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## Checks and their evidence\n")
	if !ok {
		t.Fatal("docs/report.md has no section on evidence")
	}
	byID = map[string][]string{}
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
	return byID, common
}

// Every key that docs/report.md describes has a constant, and every constant is
// described there. So are the ids of checks.
func TestKeysAreDocumented(t *testing.T) {
	byID, documented := documentedEvidence(t)
	for _, keys := range byID {
		documented = append(documented, keys...)
	}
	keys, ids := constants(t, "keys.go", "Key"), constants(t, "checks.go", "ID")
	for name, key := range keys {
		if !slices.Contains(documented, key) {
			t.Errorf("%s: %q is not in docs/report.md", name, key)
		}
		if !strings.EqualFold(strings.TrimPrefix(name, "Key"), key) {
			t.Errorf("%s has the value %q", name, key)
		}
	}
	known := slices.Collect(maps.Values(keys))
	for _, key := range documented {
		if !slices.Contains(known, key) {
			t.Errorf("%q of docs/report.md has no constant", key)
		}
	}
	known = slices.Collect(maps.Values(ids))
	for name, id := range ids {
		if _, ok := byID[id]; !ok {
			t.Errorf("%s: the check %q is not in docs/report.md", name, id)
		}
	}
	for pattern := range byID {
		if pattern == strings.ToLower(pattern) && !slices.Contains(known, pattern) {
			t.Errorf("the check %q of docs/report.md has no constant", pattern)
		}
	}
}

// constants returns the string constants of a file whose names begin so.
func constants(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, decl := range parsed.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			spec := spec.(*ast.ValueSpec)
			if name := spec.Names[0].Name; strings.HasPrefix(name, prefix) {
				out[name], _ = strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no constant %s…", file, prefix)
	}
	return out
}

// recordedChecks returns the checks of every recording of the fault matrix.
func recordedChecks(t *testing.T) map[string][]Check {
	t.Helper()
	files, err := filepath.Glob("../diagnosis/testdata/matrix/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	out := map[string][]Check{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r struct{ Checks []Check }
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[filepath.Base(file)] = r.Checks
	}
	return out
}

// Every check of the recordings, with all of its evidence, is described in
// docs/report.md.
func TestEvidenceIsDocumented(t *testing.T) {
	byID, common := documentedEvidence(t)
	for row, checks := range recordedChecks(t) {
		for _, c := range checks {
			pattern := ""
			for p := range byID {
				if fits(p, c.ID) > fits(pattern, c.ID) {
					pattern = p
				}
			}
			if pattern == "" {
				t.Errorf("%s: the check %s is not in docs/report.md", row, c.ID)
				continue
			}
			for key := range c.Evidence {
				if !slices.Contains(byID[pattern], key) && !slices.Contains(common, key) {
					t.Errorf("%s: %q of %s is not in docs/report.md under %s", row, key, c.ID, pattern)
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

// fits returns how well an id fits a pattern, in which words in capitals are
// placeholders; 0 is not at all. A check that was skipped may lack its last part.
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
