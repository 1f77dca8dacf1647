//go:build e2e

package chart

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/lab"
)

const agentImage = "mirror.lab/pullprobe/pullprobe:v0.1.0"

var imageTar = flag.String("image", "../../bin/pullprobe-image.tar", "OCI archive of the agent")

// onLab is the running lab, with helm and kubectl.
type onLab struct {
	*lab.Lab
	*testing.T
}

func openLab(t *testing.T) onLab {
	t.Helper()
	return onLab{value(lab.Open(lab.DefaultDir()))(t), t}
}

// kubectl runs kubectl and returns what it prints.
func (l onLab) kubectl(input string, args ...string) string {
	l.Helper()
	out, err := l.Kubectl(l.Context(), strings.NewReader(input), args...)
	if err != nil {
		l.Fatal(err)
	}
	return string(out)
}

// helm runs Helm as the administrator of the lab.
func (l onLab) helm(args ...string) (string, error) {
	l.Helper()
	home := l.TempDir()
	cmd := exec.CommandContext(l.Context(), lab.DefaultDir().Bin("helm"), args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "KUBECONFIG="+l.KubeconfigPath())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.RunInfraNetwork(cmd); err != nil {
		return out.String(), fmt.Errorf("helm %q: %w\n%s", args, err, out.String())
	}
	return out.String(), nil
}

func (l onLab) mustHelm(args ...string) string {
	l.Helper()
	out, err := l.helm(args...)
	if err != nil {
		l.Fatal(err)
	}
	return out
}

// imageFlags have Helm install the agent's image from the lab, and wait for the agents.
var imageFlags = []string{"--namespace=pullprobe", "--set=image.repository=mirror.lab/pullprobe/pullprobe", "--wait", "--timeout=90s"}

// loadAgent loads the agent's image into the nodes, and removes an earlier installation.
func (l onLab) loadAgent() {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	if err := l.LoadImage(ctx, *imageTar, agentImage); err != nil {
		l.Fatalf("load %s: %v", *imageTar, err)
	}
	l.kubectl("", "delete", "namespace", "pullprobe", "--ignore-not-found")
}

// TestAccepted checks that the API server accepts, without a warning and with no unknown
// field, what the chart renders for each example and each component.
func TestAccepted(t *testing.T) {
	l := openLab(t)
	l.operatorCRDs()
	for _, name := range []string{"pullprobe", "shop"} {
		l.kubectl("", "create", "namespace", name)
	}
	defer l.kubectl("", "delete", "namespace", "pullprobe", "shop")
	l.kubectl("", "-n", "pullprobe", "create", "serviceaccount", "pullprobe") // the pod of helm test needs it
	files := append(examples(t), chartDir+"/values.yaml")
	for name, tt := range parity {
		file := filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "-")+".yaml")
		if err := os.WriteFile(file, []byte(tt.values), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, file := range files {
		text := must(t, "helm", "template", "pullprobe", chartDir, "--namespace=pullprobe", "--values="+file)
		cmd := l.KubectlCommand(t.Context(), "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		var out, warnings bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &warnings
		if err := l.RunInfraNetwork(cmd); err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v: %s", file, err, warnings.String())
			continue
		}
		t.Logf("%s: %d objects", filepath.Base(file), strings.Count(out.String(), "\n"))
	}
}

func writeYAML(t *testing.T, o map[string]any) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object.yaml")
	if err := os.WriteFile(file, value(yaml.Marshal(o))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// reports returns the UID of each node's report, by name.
func (l onLab) reports() map[string]string {
	l.Helper()
	out := map[string]string{}
	const form = `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}`
	text := l.kubectl("", "-n", "pullprobe", "get", "cm", "-l", "pullprobe.dev/report", "-o", form)
	for line := range strings.Lines(text) {
		name, uid, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[name] = uid
	}
	return out
}

// waitReports waits until every node has a report.
func (l onLab) waitReports() map[string]string {
	l.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if r := l.reports(); len(r) == len(l.NodeNames()) {
			return r
		} else if time.Now().After(deadline) {
			l.Fatalf("reports: %v", r)
		}
	}
}

// TestLifecycle installs, tests, upgrades, rolls back and uninstalls the chart.
func TestLifecycle(t *testing.T) {
	l := openLab(t)
	l.operatorCRDs()
	l.loadAgent()

	// The previous release: the same chart with a lower version.
	dir := t.TempDir()
	must(t, "helm", "package", chartDir, "--version=0.0.9", "--destination="+dir)
	start := time.Now()
	previous := []string{"install", "pullprobe", filepath.Join(dir, "pullprobe-0.0.9.tgz"), "--create-namespace"}
	notes := l.mustHelm(append(previous, imageFlags...)...)
	before := l.waitReports()
	t.Logf("installed, with a report of every node, after %.1f s", time.Since(start).Seconds())
	for _, want := range []string{
		"OFF, and what that costs:", "* credentialProviders:", "* metrics: no Prometheus metrics",
		"kubectl label namespace pullprobe pod-security.kubernetes.io/enforce=privileged",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("NOTES have no %q:\n%s", want, notes)
		}
	}
	for _, unwanted := range []string{"* secrets:", "* admissionPolicy:", "* podMonitor:"} {
		if strings.Contains(notes, unwanted) {
			t.Errorf("NOTES have %q:\n%s", unwanted, notes)
		}
	}
	l.kubectl("", "label", "namespace", "pullprobe", "pod-security.kubernetes.io/enforce=privileged")

	if out, err := l.helm("test", "pullprobe", "--namespace=pullprobe", "--logs"); err == nil {
		t.Errorf("helm test passes for an image that no registry has:\n%s", out)
	}

	l.kubectl(stuckPod, "apply", "-f", "-")
	defer l.kubectl("", "delete", "namespace", "shop")
	diagnosed := func() bool {
		summaries := l.kubectl("", "-n", "pullprobe", "get", "cm", "-o", "jsonpath={.items[*].data.summary}")
		return strings.Contains(summaries, "registry.lab/app:missing")
	}
	l.eventually("a diagnosis of the stuck pod", diagnosed)

	all := append([]string{"upgrade", "pullprobe", chartDir, "--set=test.image=mirror.lab/app:1", "--values=" + writeYAML(t, map[string]any{
		"readAsNode": enabled, "hardened": enabled, "metrics": enabled, "podMonitor": enabled, "prometheusRule": enabled,
		"secretsPerNamespace": []string{"default"},
		"configuration": map[string]any{"enabled": true, "settings": map[string]any{
			"sweep-interval": "1m", "test-pull-max-bytes": 1 << 31, "deny": []string{"*.corp.example"},
		}},
		"options": map[string]any{"log-level": "debug"},
	})}, imageFlags...)
	notes = l.mustHelm(all...)
	if strings.Contains(notes, "label namespace") || strings.Contains(notes, "* metrics") {
		t.Errorf("NOTES after the upgrade:\n%s", notes)
	}
	if after := l.waitReports(); fmt.Sprint(after) != fmt.Sprint(before) || !diagnosed() {
		t.Errorf("reports before the upgrade: %v, after: %v; the diagnosis is there: %v", before, after, diagnosed())
	}
	t.Log(l.mustHelm("test", "pullprobe", "--namespace=pullprobe", "--logs"))
	l.scrape()

	l.mustHelm("rollback", "pullprobe", "1", "--namespace=pullprobe", "--wait", "--timeout=90s")
	of := func(kinds string) string {
		return l.kubectl("", "get", kinds, "-A", "-l", "app.kubernetes.io/name=pullprobe", "-o", "name")
	}
	if text := of("podmonitor,prometheusrule,secret,configmap"); strings.Contains(text, "monitoring") || strings.Contains(text, "-config") {
		t.Errorf("after the rollback there are\n%s", text)
	}
	if after := l.waitReports(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("reports before the upgrade: %v, after the rollback: %v", before, after)
	}

	l.mustHelm("uninstall", "pullprobe", "--namespace=pullprobe", "--wait", "--timeout=90s")
	if text := of("clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,daemonset," +
		"serviceaccount,role,rolebinding,resourcequota,secret"); text != "" {
		t.Errorf("after the uninstallation there are\n%s", text)
	}
	if left := l.reports(); fmt.Sprint(left) != fmt.Sprint(before) {
		t.Errorf("reports after the uninstallation: %v", left)
	}
	l.kubectl("", "delete", "namespace", "pullprobe")
}

var enabled = map[string]any{"enabled": true}

// scrape gets the metrics of an agent as Prometheus would, with the token of the
// PodMonitor's Secret and with no other.
func (l onLab) scrape() {
	l.Helper()
	token := l.kubectl("", "-n", "pullprobe", "get", "secret", "pullprobe-scraper", "-o", "go-template={{.data.token | base64decode}}")
	ip := l.kubectl("", "get", "node", l.NodeNames()[0], "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
	get := func(token string) (string, error) {
		cmd := exec.CommandContext(l.Context(), "curl", "-sSk", "--max-time", "10", "-w", "%{http_code}",
			"-H", "Authorization: Bearer "+token, "https://"+ip+":9781/metrics")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := l.RunInfraNetwork(cmd)
		return out.String(), err
	}
	if out, err := get(token); err != nil || !strings.Contains(out, "pullprobe_build_info{") {
		l.Errorf("scrape: %v: %.300s", err, out)
	}
	if out, err := get("other"); err != nil || !strings.HasSuffix(out, "401") {
		l.Errorf("scrape with another token: %v: %.300s", err, out)
	}
}
