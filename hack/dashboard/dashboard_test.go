package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// files are the copies of the dashboard.
var files = []string{"../../manifests/components/dashboard/pullprobe.json", "../../charts/pullprobe/dashboard.json"}

// TestFiles checks that the files are what this code makes.
func TestFiles(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code makes (%v): make dashboard", file, err)
		}
	}
}

// TestSchema checks that the dashboard has every required field, and no unknown one.
func TestSchema(t *testing.T) {
	text, err := render()
	if err != nil {
		t.Fatal(err)
	}
	plugins.RegisterDefaultPlugins()
	err = new(dashboard.Dashboard).UnmarshalJSONStrict(text)
	if problems, ok := errors.AsType[cog.BuildErrors](err); !ok || len(problems) > 0 { // without one it is not nil
		t.Error(err)
	}
}

// panels returns the panels, without rows.
func panels(t *testing.T) []dashboard.Panel {
	t.Helper()
	d, err := build()
	if err != nil {
		t.Fatal(err)
	}
	var out []dashboard.Panel
	ids := map[uint32]bool{}
	for _, p := range d.Panels {
		id := uint32(0)
		if p.Panel != nil {
			out, id = append(out, *p.Panel), *p.Panel.Id
		} else {
			id = p.RowPanel.Id
		}
		if ids[id] {
			t.Errorf("two panels have the id %d", id)
		}
		ids[id] = true
	}
	return out
}

// TestPanels checks that every panel says what to do, reads the chosen data source, and
// ends a line of the grid or leaves room for the next.
func TestPanels(t *testing.T) {
	column := uint32(0)
	for _, p := range panels(t) {
		if len(*p.Description) < 80 || !strings.HasSuffix(*p.Description, ".") {
			t.Errorf("%s: the description is %q", *p.Title, *p.Description)
		}
		if *p.Datasource.Uid != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: %d queries to %s", *p.Title, len(p.Targets), *p.Datasource.Uid)
		}
		if p.GridPos.X != column || column+p.GridPos.W > 24 {
			t.Errorf("%s: %+v is not at column %d", *p.Title, *p.GridPos, column)
		}
		column = (column + p.GridPos.W) % 24
	}
	if column != 0 {
		t.Error("the last line is not full")
	}
}

var (
	selector  = regexp.MustCompile(`\b(pullprobe_\w+)(?:\{([^}]*)\})?`)
	labelName = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
)

// TestQueries checks that the queries use metrics and labels that docs/metrics.md has, and
// the chosen nodes.
func TestQueries(t *testing.T) {
	labels := documented(t)
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expr := target.(prometheus.Dataquery).Expr
			if !strings.Contains(expr, `node=~"$node"`) {
				t.Errorf("%s: no node is chosen: %s", *p.Title, expr)
			}
			for _, m := range selector.FindAllStringSubmatch(expr, -1) {
				has, ok := labels[strings.TrimSuffix(m[1], "_bucket")]
				if !ok {
					t.Errorf("%s: there is no metric %s", *p.Title, m[1])
				}
				for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
					if l[1] != "node" && !slices.Contains(has, l[1]) {
						t.Errorf("%s: %s has no label %s", *p.Title, m[1], l[1])
					}
				}
			}
		}
	}
}

// documented returns the labels of each metric in docs/metrics.md.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `pullprobe_") {
			out[strings.Trim(cells[0], "| `")] = strings.Fields(strings.ReplaceAll(cells[2], "`", ""))
		}
	}
	return out
}
