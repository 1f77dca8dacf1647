//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkReport measures the report of a node, and the memory of its agent, with many
// pods of one Deployment that wait for the same missing tag, and with as many images.
func BenchmarkReport(b *testing.B) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stuck pods\tof images\tdiagnoses\tsummary B\treport.json B\tsummary lines\tagent RSS MiB\tanonymous MiB")
	row := func(pods, images int) {
		ns := suite.namespace(b)
		for i := range images {
			suite.deployment(b, ns, fmt.Sprintf("app-%d", i), fmt.Sprintf("registry.lab/app:absent-%d", i), pods/max(images, 1))
		}
		var cm *corev1.ConfigMap
		var r nodeReport
		_, _, ok := suite.waitReport(b, nodeA, 3*time.Minute, func(c *corev1.ConfigMap, n nodeReport) bool {
			cm, r = c, n
			final := n.Stuck == pods
			for _, d := range n.Diagnoses {
				final = final && d.Verdict.Confidence == "confirmed"
			}
			return final
		})
		if !ok {
			b.Errorf("%d pods of %d images: %d stuck", pods, images, r.Stuck)
			return
		}
		rss, anonymous := suite.agentMemory(b, nodeA)
		reasons := map[string]bool{}
		for _, d := range r.Diagnoses {
			reasons[d.Image] = true
		}
		summary := cm.Data["summary"]
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\n", pods, images, len(reasons), len(summary),
			len(cm.Data["report.json"]), strings.Count(summary, "\n"), rss, anonymous)
		suite.kubectl(b, "delete", "deployment", "-n", ns, "--all", "--now")
		suite.waitHealthy(b, nodeA)
	}
	for b.Loop() {
		row(0, 0)
		row(1, 1)
		row(40, 1)
		row(40, 10)
		row(90, 1)
	}
	_ = w.Flush()
	fmt.Println(table.String())
}

// deployment creates a Deployment whose pods are bound to node-a.
func (c *cluster) deployment(t testing.TB, namespace, name, image string, replicas int) {
	t.Helper()
	n, labels := int32(replicas), map[string]string{"app": name}
	p := c.newPod(podOptions{Node: nodeA, Image: image})
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec},
		},
	}
	if _, err := c.api.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// agentMemory returns the memory of a node's agent, in MiB.
func (c *cluster) agentMemory(t testing.TB, node string) (rss, anonymous float64) {
	t.Helper()
	pids, err := c.PIDs(node, "pullprobe")
	if err != nil || len(pids) != 1 {
		t.Fatalf("the agent of %s: %d processes, %v", node, len(pids), err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	if err != nil {
		t.Fatal(err)
	}
	of := func(key string) float64 {
		_, rest, _ := strings.Cut(string(status), "\n"+key+":")
		var kb float64
		_, _ = fmt.Sscan(rest, &kb)
		return kb / 1024
	}
	return of("VmRSS"), of("RssAnon")
}
