package command

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// change changes the ConfigMap of a node's report, as an agent of another version writes it.
func (w *world) change(t *testing.T, node string, f func(*corev1.ConfigMap)) {
	t.Helper()
	maps := w.api.CoreV1().ConfigMaps("pullprobe")
	cm := made[*corev1.ConfigMap](t)(maps.Get(t.Context(), report.ConfigMapName(node, ""), metav1.GetOptions{}))
	f(cm)
	made[*corev1.ConfigMap](t)(maps.Update(t.Context(), cm, metav1.UpdateOptions{FieldManager: report.FieldManager}))
}

// TestOtherVersions checks reports of agents that are older and newer than the plugin, and one
// that is about another node.
func TestOtherVersions(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "versions")
	p := w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound))
	w.write(t, "node-a", map[string]report.HostState{"registry.example": report.Unreachable}, missingTag(p, report.Confirmed))
	w.change(t, "node-a", func(cm *corev1.ConfigMap) {
		delete(cm.Annotations, nodefacts.Annotation)
		cm.Data["report.json"] = strings.Replace(cm.Data["report.json"], `"agent":"v0.1.0"`, `"agent":"v0.0.9"`, 1)
	})
	w.run(t, "web-0", "-n", ns).check(t, int(ExitFault), "TagNotFound (confirmed)", "✗ manifest")
	w.run(t, "registries").check(t, int(ExitFault), "registry.example 0 1 0") // from the report itself
	w.run(t, "doctor", "-n", ns, "-o", "json").check(t, int(ExitFault), `"summary": "the agents have version v0.0.9; this plugin has v0.1.0"`)

	w.change(t, "node-a", func(cm *corev1.ConfigMap) {
		cm.Data["report.json"] = strings.Replace(cm.Data["report.json"], report.Schema, "pullprobe.dev/v9", 1)
	})
	w.run(t, "web-0", "-n", ns).check(t, int(ExitFault), "TagNotFound (likely)",
		`the report of node node-a cannot be read: its schema is "pullprobe.dev/v9", and this plugin reads pullprobe.dev/v1: use a plugin of the agent's version`)
	w.run(t, "node", "node-a").check(t, int(ExitUnknown), "its schema is")

	w.change(t, "node-a", func(cm *corev1.ConfigMap) {
		cm.Data["report.json"] = strings.Replace(strings.Replace(cm.Data["report.json"], "pullprobe.dev/v9", report.Schema, 1), `"node":"node-a"`, `"node":"node-b"`, 1)
	})
	w.run(t, "-n", ns).check(t, int(ExitFault), "TagNotFound (likely)", "it is about another node")
	w.change(t, "node-a", func(cm *corev1.ConfigMap) { cm.Data["report.json"] = "{" })
	w.run(t, "-n", ns).check(t, int(ExitFault), "its report.json is no JSON")
}

// screenBuffer is an output that can be read while it is written.
type screenBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screenBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screenBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestWatch checks that -w shows a change, once, and ends with its context.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "watch")
	var out, errs screenBuffer
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ended := make(chan int)
	go func() {
		app := NewApp(testVersion, func(string) string { return "" }, nil, &out, &errs)
		ended <- Run(ctx, app, []string{"-w", "-n", ns, "--kubeconfig", w.kubeconfig("admin")})
	}()
	until := func(text string) {
		t.Helper()
		for !strings.Contains(out.String(), text) {
			if ctx.Err() != nil {
				t.Fatalf("no %q in\n%s%s", text, out.String(), errs.String())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	until("No pod in namespace watch waits for an image.")
	p := w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound))
	until("TagNotFound (likely)")
	w.write(t, "node-a", nil, missingTag(p, report.Confirmed))
	until("TagNotFound (confirmed)")
	w.write(t, "node-a", nil, missingTag(p, report.Confirmed)) // nothing new
	w.setState(t, p, running)
	for strings.Count(out.String(), "No pod in namespace watch") < 2 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	if n := strings.Count(out.String(), "(confirmed)"); n != 1 {
		t.Errorf("the same is shown %d times:\n%s", n, out.String())
	}
	stop()
	if code := <-ended; code != int(ExitOK) {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}
