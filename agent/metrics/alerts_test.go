package metrics

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the copies of docs/alerts.yaml")

const runbooks = "https://github.com/pullprobe/pullprobe/blob/main/docs/runbooks.md#"

var (
	selector  = regexp.MustCompile(`\b(pullprobe_\w+)(?:\{([^}]*)\})?`)
	labelName = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
)

// TestAlerts checks that rules and their tests use existing metrics and labels (the
// scrape adds the label node), and that every alert has a row in docs/metrics.md, a
// case in which it fires and one in which it must not. `make alerts` runs promtool.
func TestAlerts(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	var cases struct {
		Tests []struct {
			InputSeries []struct{ Series string } `json:"input_series"`
			Cases       []struct {
				Alert    string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	read := func(path string, into any) {
		b, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(path, err)
		}
	}
	read("../../docs/alerts.yaml", &rules)
	read("../../docs/alerts_test.yaml", &cases)
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	sections, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}

	is := described(t)
	labels := func(where, expr string, all bool) {
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			kind, list, ok := strings.Cut(is[m[1]], " ")
			if !ok {
				t.Errorf("%s: there is no metric %s", where, m[1])
				continue
			}
			has := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
			var used []string
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				if l[1] != "node" && !slices.Contains(has, l[1]) {
					t.Errorf("%s: the %s %s has no label %s", where, kind, m[1], l[1])
				}
				used = append(used, l[1])
			}
			for _, l := range append(has, "node") {
				if all && !slices.Contains(used, l) {
					t.Errorf("%s: a series of %s without its label %s", where, m[1], l)
				}
			}
		}
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range cases.Tests {
		for _, s := range test.InputSeries {
			labels("alerts_test.yaml", s.Series, true)
		}
		for _, c := range test.Cases {
			fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
			silent[c.Alert] = silent[c.Alert] || len(c.Expected) == 0
		}
	}
	rows := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			rows++
			labels(r.Alert, r.Expr, false)
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: docs/alerts_test.yaml has no case in which it fires, or none in which it must not", r.Alert)
			}
			if r.Annotations["runbook_url"] != runbooks+strings.ToLower(r.Alert) || !strings.Contains(string(sections), "\n## "+r.Alert+"\n") {
				t.Errorf("%s: runbook_url %s is not its section in docs/runbooks.md", r.Alert, r.Annotations["runbook_url"])
			}
			if !strings.Contains(string(text), "\n| `"+r.Alert+"` | ") {
				t.Errorf("%s is not in docs/metrics.md", r.Alert)
			}
		}
	}
	if n := strings.Count(string(text), "\n| `Pullprobe"); n != rows || rows == 0 {
		t.Errorf("docs/metrics.md has %d alerts, docs/alerts.yaml %d", n, rows)
	}
	if n := strings.Count(string(sections), "\n## "); n != rows {
		t.Errorf("docs/runbooks.md has %d sections, docs/alerts.yaml %d alerts", n, rows)
	}
}

// TestRunbooks checks that every section says what the alert means, what to look at and
// what fixes it.
func TestRunbooks(t *testing.T) {
	text, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		for _, part := range []string{"**Meaning.** ", "**Look at** ", "**Fix.**"} {
			if strings.Count(section, "\n"+part) != 1 {
				t.Errorf("%s has no part %q, or several", name, part)
			}
		}
	}
}

// TestAlertsCopies checks the copies of docs/alerts.yaml for the Prometheus operator: in
// the component prometheus-rule, and in the chart, whose template reads a file of its own.
func TestAlertsCopies(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rule := `# Made from docs/alerts.yaml: go test ./agent/metrics -run TestAlertsCopies -update
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: pullprobe
  namespace: pullprobe
  labels:
    app.kubernetes.io/name: pullprobe
spec:
`
	_, groups, _ := strings.Cut(string(text), "\ngroups:\n")
	for line := range strings.Lines("groups:\n" + groups) {
		if strings.TrimSpace(line) != "" {
			rule += "  "
		}
		rule += line
	}
	for path, want := range map[string][]byte{
		"../../manifests/components/prometheus-rule/prometheusrule.yaml": []byte(rule),
		"../../charts/pullprobe/alerts.yaml":                             text,
	} {
		got, err := os.ReadFile(path)
		if err == nil && bytes.Equal(got, want) {
			continue
		}
		if !*update {
			t.Errorf("%s is not docs/alerts.yaml: go test ./agent/metrics -run TestAlertsCopies -update", path)
		} else if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
