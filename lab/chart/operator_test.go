//go:build e2e

package chart

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

const operatorModule = "../tools/prometheus-operator"

// goTool runs go in the module of the Prometheus operator.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = operatorModule
	cmd.Stderr = os.Stderr
	return strings.TrimSpace(string(value(cmd.Output())(t)))
}

// operatorCRDs applies the CRDs of the Prometheus operator, from its Go module.
func (l onLab) operatorCRDs() {
	l.Helper()
	const name = "github.com/prometheus-operator/prometheus-operator"
	goTool(l.T, "mod", "download", name)
	dir := filepath.Join(goTool(l.T, "list", "-m", "-f", "{{.Dir}}", name), "example", "prometheus-operator-crd")
	l.kubectl("", "apply", "--server-side", "-f", dir)
	l.kubectl("", "wait", "--for=condition=Established", "--timeout=60s", "-f", dir)
}

// background runs a program in infra's network until the test ends.
func (l onLab) background(program string, args ...string) {
	l.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(l.Context(), program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.KubeconfigPath())
	cmd.Stdout, cmd.Stderr = &out, &out
	done := make(chan error, 1)
	go func() { done <- l.RunInfraNetwork(cmd) }()
	l.Cleanup(func() { // the context has ended, and with it the program
		if err := <-done; l.Failed() {
			l.Logf("%s: %v\n%s", program, err, out.String())
		}
	})
}

// prometheus is a Prometheus of the operator: all objects of all namespaces.
const prometheus = `
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: main, namespace: monitoring}
spec:
  version: v2.42.0 # what it configures, every later version takes
  replicas: 0
  evaluationInterval: 1s
  podMonitorSelector: {}
  podMonitorNamespaceSelector: {}
  scrapeConfigSelector: {}
  scrapeConfigNamespaceSelector: {}
  ruleSelector: {}
  ruleNamespaceSelector: {}
`

// TestPrometheusOperator checks that the operator makes of the chart's objects what
// Prometheus needs: it scrapes the agent of every node, and evaluates every rule.
func TestPrometheusOperator(t *testing.T) {
	l := openLab(t)
	program := filepath.Join(t.TempDir(), "operator")
	goTool(t, "build", "-o", program, "github.com/prometheus-operator/prometheus-operator/cmd/operator")
	l.operatorCRDs()
	l.loadAgent()
	l.background(lab.DefaultDir().Bin("kubectl"), "proxy", "--port=8099")
	l.eventually("kubectl proxy answers", func() bool {
		conn, err := l.Dial(t.Context(), lab.Infra, "tcp", "127.0.0.1:8099")
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	l.background(program, "--apiserver=http://127.0.0.1:8099", "--web.listen-address=127.0.0.1:8098", "--kubelet-endpoints=false")
	l.kubectl(prometheus, "apply", "-f", "-")
	for _, scraper := range []string{"podMonitor", "scrapeConfig"} {
		t.Run(scraper, func(t *testing.T) {
			l := onLab{l.Lab, t}
			l.mustHelm(append([]string{
				"upgrade", "--install", "pullprobe", chartDir, "--create-namespace",
				"--set=metrics.enabled=true,prometheusRule.enabled=true," + scraper + ".enabled=true," + scraper + ".interval=1s",
			}, imageFlags...)...)
			l.scrapedBy(scraper)
		})
	}
	l.mustHelm("uninstall", "pullprobe", "--namespace=pullprobe", "--wait", "--timeout=90s")
	l.kubectl("", "delete", "namespace", "pullprobe", "monitoring")
}

// scrapedBy runs Prometheus with the operator's configuration, and checks its targets
// and rules.
func (l onLab) scrapedBy(scraper string) {
	l.Helper()
	dir := l.TempDir()
	config := l.generated(scraper + "/pullprobe/pullprobe")
	rules := l.kubectl("", "-n", "monitoring", "get", "configmap", "prometheus-main-rulefiles-0", "-o", "jsonpath={.data}")
	var files map[string]string
	if err := json.Unmarshal([]byte(rules), &files); err != nil {
		l.Fatal(err, rules)
	}
	for name, text := range files {
		l.write(filepath.Join(dir, name), text)
	}
	// No reloader of the operator sets these two, and Debian's Prometheus is built without
	// the discovery of Kubernetes.
	config = strings.NewReplacer("$(SHARD)", "0", "$(POD_NAME)", "main").Replace(config)
	config = strings.ReplaceAll(config, discovery, l.discovered())
	config = strings.ReplaceAll(config, "/etc/prometheus/rules/prometheus-main-rulefiles-0/", dir+"/")
	l.write(filepath.Join(dir, "prometheus.yml"), config)
	l.background(lab.DefaultDir().Bin("prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:8097", "--log.level=warn")

	var targets struct {
		Data struct {
			ActiveTargets []struct {
				Labels            map[string]string
				Health, LastError string
			}
		}
	}
	l.eventually("both agents are scraped", func() bool {
		var up []string
		if !l.get("/api/v1/targets", &targets) {
			return false
		}
		for _, target := range targets.Data.ActiveTargets {
			if target.Health == "up" && target.Labels["job"] == "pullprobe" {
				up = append(up, target.Labels["node"])
			}
		}
		slices.Sort(up)
		return slices.Equal(up, l.NodeNames())
	})
	var groups struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	l.eventually("every rule is evaluated", func() bool {
		n := 0
		if !l.get("/api/v1/rules", &groups) {
			return false
		}
		for _, g := range groups.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					l.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					n++
				}
			}
		}
		return n == strings.Count(string(value(os.ReadFile("../../docs/alerts.yaml"))(l.T)), "- alert: ")
	})
	var count struct {
		Data struct{ Result []struct{ Value []any } }
	}
	l.eventually("the metrics of both", func() bool {
		return l.get("/api/v1/query?query="+url.QueryEscape("count(pullprobe_build_info)"), &count) &&
			len(count.Data.Result) == 1 && count.Data.Result[0].Value[1] == fmt.Sprint(len(l.NodeNames()))
	})
}

// discovery is how the operator has the pods of the namespace found.
const discovery = "  kubernetes_sd_configs:\n  - role: pod\n    namespaces:\n      names:\n      - pullprobe\n"

// discovered returns the agents' pods with the labels that the discovery gives them.
func (l onLab) discovered() string {
	l.Helper()
	const pods = `go-template={{range .items}}  - targets: ["{{.status.podIP}}:9781"]
    labels:
      __meta_kubernetes_namespace: {{.metadata.namespace}}
      __meta_kubernetes_pod_name: {{.metadata.name}}
      __meta_kubernetes_pod_phase: {{.status.phase}}
      __meta_kubernetes_pod_node_name: {{.spec.nodeName}}
      __meta_kubernetes_pod_label_app_kubernetes_io_name: {{index .metadata.labels "app.kubernetes.io/name"}}
      __meta_kubernetes_pod_labelpresent_app_kubernetes_io_name: "true"
      __meta_kubernetes_pod_container_name: {{(index .spec.containers 0).name}}
      __meta_kubernetes_pod_container_port_name: {{(index (index .spec.containers 0).ports 0).name}}
{{end}}`
	return "  static_configs:\n" + l.kubectl("", "-n", "pullprobe", "get", "pods", "-l", "app.kubernetes.io/name=pullprobe", "-o", pods)
}

// generated returns the configuration that the operator has written, once it has this job
// and no other.
func (l onLab) generated(job string) (config string) {
	l.Helper()
	l.eventually("the operator configures "+job, func() bool {
		const key = `jsonpath={.data.prometheus\.yaml\.gz}`
		out, err := l.Kubectl(l.Context(), nil, "-n", "monitoring", "get", "secret", "prometheus-main", "-o", key)
		if err != nil {
			return false
		}
		zipped := base64.NewDecoder(base64.StdEncoding, bytes.NewReader(out))
		r, err := gzip.NewReader(zipped)
		if err != nil {
			return false
		}
		config = string(value(io.ReadAll(r))(l.T))
		return strings.Contains(config, "job_name: "+job) && strings.Count(config, "job_name: ") == 1
	})
	return config
}

func (l onLab) write(file, text string) {
	l.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
}

// get gets JSON from the API of Prometheus.
func (l onLab) get(path string, into any) bool {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return l.Dial(ctx, lab.Infra, network, addr)
	}, DisableKeepAlives: true}}
	req := value(http.NewRequestWithContext(l.Context(), http.MethodGet, "http://127.0.0.1:8097"+path, nil))(l.T)
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into) == nil
}

// eventually waits until done returns true.
func (l onLab) eventually(what string, done func() bool) {
	l.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("not within a minute: %s", what)
		}
	}
}
