//go:build e2e

package chart

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

// grafana is a dashboard, as far as its queries go.
type grafana struct {
	Panels []struct {
		Type, Title string
		Targets     []target
	}
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
}

type target struct {
	Expr    string
	Instant bool
}

// answer is what Prometheus answers to a query.
type answer struct {
	Error string
	Data  struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any   // of an instant query
			Values [][2]any // of a query over a time
		}
	}
}

// TestDashboard checks, while pods are stuck for the reasons of the demo, that Prometheus
// answers every query of the dashboard, and what some of the answers are; and that these
// faults fire the alerts that they must, and no other.
func TestDashboard(t *testing.T) {
	l := openLab(t)
	l.loadAgent()
	l.mustHelm(append([]string{
		"upgrade", "--install", "pullprobe", chartDir, "--create-namespace", "--set=metrics.enabled=true,dashboard.enabled=true",
		"--set=configuration.enabled=true,configuration.settings.sweep-interval=30s",
	}, imageFlags...)...)
	l.scrapeAsDocumented()
	l.breakAsInDemo()
	l.pullInTest()
	// A wait that began after Prometheus had the registry's first series.
	l.kubectl(onNode("another", "registry.lab/app:2", "restartPolicy: Always"), "apply", "-f", "-")

	var d grafana
	text := l.kubectl("", "-n", "pullprobe", "get", "configmap", "-l", "grafana_dashboard=1", "-o", `jsonpath={.items[*].data.pullprobe\.json}`)
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	waiting := map[string]target{}
	for _, p := range d.Panels {
		for i, q := range p.Targets {
			waiting[fmt.Sprintf("%s, query %d", p.Title, i+1)] = q
		}
	}
	if len(waiting) < 18 {
		t.Fatalf("%d queries", len(waiting))
	}
	answers := l.answered(waiting)
	l.checkAnswers(answers)
	for name, q := range waiting {
		if a := l.query(q, "node-b", `registry\\.lab`); a.Error != "" {
			t.Errorf("%s, for one node and registry: %s", name, a.Error)
		}
	}
	l.checkVariables(d)
	l.checkAlerts()

	l.kubectl("", "delete", "namespace", "shop")
	l.kubectl("", "delete", "clusterrolebinding", "pullprobe-metrics-reader")
	l.mustHelm("uninstall", "pullprobe", "--namespace=pullprobe", "--wait", "--timeout=90s")
	l.kubectl("", "delete", "namespace", "pullprobe")
}

// scrapeAsDocumented runs a Prometheus that scrapes the agents as docs/metrics.md says.
// Debian's is built without the discovery of Kubernetes.
func (l onLab) scrapeAsDocumented() {
	l.Helper()
	l.kubectl("", "create", "namespace", "shop")
	l.kubectl("", "-n", "shop", "create", "serviceaccount", "prometheus")
	l.kubectl("", "create", "clusterrolebinding", "pullprobe-metrics-reader", "--clusterrole=pullprobe-metrics-reader",
		"--serviceaccount=shop:prometheus")
	dir := l.TempDir()
	l.write(filepath.Join(dir, "token"), l.kubectl("", "-n", "shop", "create", "token", "prometheus"))
	const pods = `go-template={{range .items}}  - {targets: ["{{.status.podIP}}:9781"], labels: {node: {{.spec.nodeName}}}}
{{end}}`
	// No fault of the test lasts as long as an alert waits.
	rules := string(value(os.ReadFile("../../docs/alerts.yaml"))(l.T))
	l.write(filepath.Join(dir, "alerts.yaml"), alertWaits.ReplaceAllString(rules, "for: 1s"))
	l.write(filepath.Join(dir, "prometheus.yml"), `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yaml]
scrape_configs:
- job_name: pullprobe
  scheme: https
  authorization: {credentials_file: token}
  tls_config: {insecure_skip_verify: true}
  static_configs:
`+l.kubectl("", "-n", "pullprobe", "get", "pods", "-l", "app.kubernetes.io/name=pullprobe", "-o", pods))
	l.background(lab.DefaultDir().Bin("prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:8097", "--log.level=warn")
}

// breakAsInDemo makes pods stuck as hack/demo.sh does, and one by a login with an expiry.
func (l onLab) breakAsInDemo() {
	l.Helper()
	manifest := func(file string) string { return string(value(os.ReadFile("../../hack/" + file))(l.T)) }
	l.kubectl(manifest("demo-healthy.yaml"), "apply", "-f", "-")
	l.kubectl("", "-n", "shop", "wait", "--for=condition=Ready", "pod", "-l", "demo=healthy", "--timeout=60s")
	if err := l.Inject(l.Context(), "node-b", "registry-dropped"); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := l.Lift(context.Background(), "node-b", "registry-dropped"); err != nil {
			l.Log(err)
		}
	})
	fresh := fmt.Sprintf("registry.lab/checkout:%d", time.Now().Unix())
	for _, ref := range []string{fresh, "registry.lab/web:1.4.2"} {
		value(l.PushImage(l.Context(), lab.Image{Refs: []string{ref}}))(l.T)
	}
	l.kubectl(strings.ReplaceAll(manifest("demo-stuck.yaml"), "registry.lab/checkout:FRESH", fresh), "apply", "-f", "-")

	claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix())
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".e30"
	l.kubectl("", "-n", "shop", "create", "secret", "docker-registry", "expires", "--docker-server=auth.lab", "--docker-username=job",
		"--docker-password="+token)
	l.kubectl(onNode("expires", "auth.lab/app:1", "imagePullSecrets: [{name: expires}]"), "apply", "-f", "-")
}

// onNode returns a pod of node-a.
func onNode(name, image, more string) string {
	return `
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, namespace: shop}
spec:
  nodeName: node-a
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  ` + more + `
  containers:
  - {name: app, image: "` + image + `"}
`
}

// pullInTest has an agent pull an image that the kubelet did not get: it is pushed after the
// kubelet has failed three times, and so will not try for a while. One megabyte a second
// is what slow.lab serves.
func (l onLab) pullInTest() {
	l.Helper()
	late := fmt.Sprintf("slow.lab/dashboard:%d", time.Now().Unix())
	l.kubectl(onNode("late", late, "restartPolicy: Always"), "apply", "-f", "-")
	failed := target{Expr: `pullprobe_pod_images_total{registry="slow.lab",result="failed"} >= 3`, Instant: true}
	l.within(3*time.Minute, "three failures of the pod late", func() bool {
		return known(l.query(failed, ".*", ".*"))
	})
	value(l.PushImage(l.Context(), lab.Image{Refs: []string{late}, Size: 6 << 20, Runs: true}))(l.T)
	l.kubectl("", "-n", "shop", "annotate", "pod", "late", "probe=now")
}

// within waits until done returns true.
func (l onLab) within(limit time.Duration, what string, done func() bool) {
	l.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			l.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// query has Prometheus answer a query of the dashboard, for these nodes and registries.
func (l onLab) query(q target, node, registry string) (a answer) {
	l.Helper()
	expr := strings.NewReplacer("$node", node, "$registry", registry, "$__rate_interval", "1m").Replace(q.Expr)
	path := "/api/v1/query?query=" + url.QueryEscape(expr)
	if !q.Instant {
		now := time.Now()
		path = fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=5", url.QueryEscape(expr), now.Add(-3*time.Minute).Unix(), now.Unix())
	}
	l.get(path, &a)
	return a
}

// known reports whether an answer has a number.
func known(a answer) bool {
	for _, r := range a.Data.Result {
		for _, v := range append(r.Values, r.Value) {
			if n, err := number(v); err == nil && !math.IsNaN(n) {
				return true
			}
		}
	}
	return false
}

func number(v [2]any) (float64, error) {
	text, _ := v[1].(string)
	return strconv.ParseFloat(text, 64)
}

// answered returns the answers, once all have a number. A query that is wrong fails at once.
func (l onLab) answered(queries map[string]target) map[string]answer {
	l.Helper()
	answers := map[string]answer{}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Second) {
		var empty []string
		for name, q := range queries {
			if known(answers[name]) {
				continue
			}
			answers[name] = l.query(q, ".*", ".*")
			if answers[name].Error != "" {
				l.Fatalf("%s: %s\n%s", name, answers[name].Error, q.Expr)
			}
			if !known(answers[name]) {
				empty = append(empty, name)
			}
		}
		if len(empty) == 0 {
			return answers
		}
		if time.Now().After(deadline) {
			slices.Sort(empty)
			l.Fatalf("no answer to:\n%s", strings.Join(empty, "\n"))
		}
	}
}

// checkAnswers checks that the panels that an on-call reads first show the faults.
func (l onLab) checkAnswers(answers map[string]answer) {
	l.Helper()
	for panel, want := range map[string]map[string]string{
		"Waiting pods: who must act":         {"fault": "cluster-config", "cause": "TagNotFound"},
		"Registries and nodes: who must act": {"cause": "CertificateUntrusted", "subject": "badca.lab"},
		"Nodes and registries":               {"node": "node-a", "registry": "registry.lab"},
		"Not reached now":                    {"node": "node-b", "registry": "registry.lab", "cause": "ConnectionTimeout"},
		"Quota left":                         {"registry": "ratelimit.lab"},
		"Pull credentials: time left":        {"registry": "auth.lab"},
		"Rate of test pulls":                 {"registry": "slow.lab"},
	} {
		var rows []string
		found := false
		for _, r := range answers[panel+", query 1"].Data.Result {
			matches := true
			for k, v := range want {
				matches = matches && r.Metric[k] == v
			}
			found = found || matches
			rows = append(rows, fmt.Sprint(r.Metric))
		}
		if !found {
			l.Errorf("%s has no %v:\n%s", panel, want, strings.Join(rows, "\n"))
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// checkVariables checks that the choices of the dashboard have values.
func (l onLab) checkVariables(d grafana) {
	l.Helper()
	for _, v := range d.Templating.List {
		m := labelValues.FindStringSubmatch(v.Query)
		if v.Type != "query" {
			continue
		}
		if m == nil {
			l.Errorf("the variable %s is %s", v.Name, v.Query)
			continue
		}
		var values struct{ Data []string }
		series := strings.ReplaceAll(m[1], "$node", ".*")
		l.get("/api/v1/label/"+m[2]+"/values?match[]="+url.QueryEscape(series), &values)
		want := map[string]string{"node": "node-b", "registry": "ratelimit.lab"}[v.Name]
		if !slices.Contains(values.Data, want) {
			l.Errorf("the variable %s has no %q: %q", v.Name, want, values.Data)
		}
	}
}

var alertWaits = regexp.MustCompile(`for: \d+m`)

// checkAlerts checks which alerts fire for the faults of the demo.
func (l onLab) checkAlerts() {
	l.Helper()
	want := []string{
		"PullprobeAuthenticationFails undetermined auth.lab",
		"PullprobePullsFail undetermined auth.lab",
		"PullprobePullsFail undetermined badca.lab",
		"PullprobePullsFail undetermined ratelimit.lab",
		"PullprobePullsFail undetermined registry.lab",
		"PullprobePullsFail undetermined registy.lab",
		"PullprobePullsFail undetermined slow.lab",
		"PullprobeQuotaLow registry ratelimit.lab",
		"PullprobeRegistryUnreachable cluster-config registy.lab",
		"PullprobeRegistryUnreachable node-infrastructure badca.lab",
		"PullprobeRegistryUnreachable node-infrastructure registry.lab",
	}
	var got []string
	defer func() { l.Logf("alerts:\n%s", strings.Join(got, "\n")) }()
	l.within(2*time.Minute, "the alerts "+strings.Join(want, ", "), func() bool {
		var alerts struct {
			Data struct {
				Alerts []struct {
					State  string
					Labels map[string]string
				}
			}
		}
		if !l.get("/api/v1/alerts", &alerts) {
			return false
		}
		got = nil
		for _, a := range alerts.Data.Alerts {
			if a.State == "firing" {
				names := []string{a.Labels["alertname"], a.Labels["fault"], a.Labels["registry"], a.Labels["node"]}
				got = append(got, strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "" }), " "))
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}
