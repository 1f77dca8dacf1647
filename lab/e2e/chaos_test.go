//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/lab"
)

var (
	kills     = flag.Int("kills", 10, "number of disruptions in TestChaos")
	chaosSeed = flag.Uint64("seed", 0, "random seed of TestChaos; 0: the time")
)

// chaosKind is a kind of pod, with the verdict that it must have when everything else
// works.
type chaosKind struct {
	kind  string
	image func(n int) string
	want  string // fault cause; empty: it runs
}

var chaosKinds = []chaosKind{
	{"tag", func(n int) string { return fmt.Sprintf("registry.lab/app:chaos-%d", n) }, "cluster-config TagNotFound"},
	{"repository", func(n int) string { return fmt.Sprintf("registry.lab/chaos-%d:1", n) }, "cluster-config RepositoryNotFound"},
	{"login", func(n int) string { return fmt.Sprintf("auth.lab/chaos-%d:1", n) }, "cluster-config CredentialsMissing"},
	{"authority", func(n int) string { return fmt.Sprintf("badca.lab/chaos-%d:1", n) }, "node-infrastructure CertificateUntrusted"},
	{"expired", func(n int) string { return fmt.Sprintf("expired.lab/chaos-%d:1", n) }, "registry CertificateExpired"},
	{"name", func(n int) string { return fmt.Sprintf("chaos-%d.nosuch.lab/app:1", n) }, "cluster-config HostNotFound"},
	{"good", func(int) string { return "registry.lab/app:1" }, ""},
}

// chaos is one run of the test.
type chaos struct {
	*cluster
	t        *testing.T
	random   *rand.Rand
	ns       string
	podsMade int
	pods     map[string]chaosPod
}

type chaosPod struct {
	chaosKind
	node string
}

// Whatever is killed at any time: afterwards every stuck pod has its verdict, no confirmed
// verdict is wrong, no test-pulled image is left, and the agents use no more resources
// than before.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d kills, -seed=%d", *kills, seed)
	c := &chaos{cluster: suite, t: t, random: rand.New(rand.NewPCG(seed, 0)), ns: suite.namespace(t), pods: map[string]chaosPod{}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		c.restoreCluster(ctx)
	})
	before := map[string]footprint{nodeA: c.measureFootprint(nodeA), nodeB: c.measureFootprint(nodeB)}
	counts := map[string]int{}
	for range *kills {
		for range 1 + c.random.IntN(3) {
			c.changePods()
		}
		counts[c.disrupt()]++
	}
	t.Logf("disrupted: %v; %d pods were created", counts, c.podsMade)
	c.restoreCluster(t.Context())

	for name, p := range c.pods {
		if p.want == "" {
			c.waitRunning(t, c.ns, name)
			continue
		}
		c.waitVerdict(t, p.node, c.ns+"/"+name, p.want+" *", 3*time.Minute)
	}
	for _, node := range []string{nodeA, nodeB} {
		_, r, _ := c.waitReport(t, node, time.Minute, func(*corev1.ConfigMap, nodeReport) bool { return true })
		for _, d := range r.Diagnoses {
			p, ours := c.pods[strings.TrimPrefix(d.Pod, c.ns+"/")]
			if ours && d.Verdict.Confidence == "confirmed" && d.Verdict.Fault+" "+d.Verdict.Cause != p.want {
				t.Errorf("%s: confirmed and wrong: %s, want %s", d.Pod, d, p.want)
			}
		}
		// The journal keeps an interrupted pull as long as containerd might still finish
		// it, which is minutes. A short run does not wait for that.
		if *kills >= 100 && !c.eventually(t, 5*time.Minute, func(context.Context) bool { return c.countJournal(t, node) == 0 }) {
			t.Errorf("%d test pulls are still in the journal of %s", c.countJournal(t, node), node)
		}
		images, err := c.Images(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range images {
			for _, tag := range i.RepoTags {
				if strings.Contains(tag, "chaos-") {
					t.Errorf("%s is left on %s", tag, node)
				}
			}
		}
	}

	// When the pods are deleted, the agents are as large as before.
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := c.api.CoreV1().Pods(c.ns).DeleteCollection(t.Context(), now, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	for node, was := range before {
		var now footprint
		if !c.eventually(t, time.Minute, func(context.Context) bool {
			now = c.measureFootprint(node)
			return now.files <= was.files+10 && now.goroutines <= was.goroutines+20 && now.anon <= was.anon+12<<10
		}) {
			t.Errorf("the agent of %s: %+v before, %+v after", node, was, now)
		}
		t.Logf("%s: %+v before, %+v after", node, was, now)
	}
}

// changePods creates a pod, gives one a good image, or deletes one.
func (c *chaos) changePods() {
	c.t.Helper()
	const most = 12
	switch choice := c.random.IntN(10); {
	case choice < 6 && len(c.pods) < most || len(c.pods) == 0:
		c.podsMade++
		f := chaosKinds[c.random.IntN(len(chaosKinds))]
		node := []string{nodeA, nodeB}[c.random.IntN(2)]
		name := fmt.Sprintf("%s-%d", f.kind, c.podsMade)
		c.retryAPI(func(ctx context.Context) error {
			pod := c.newPod(podOptions{Node: node, Namespace: c.ns, Name: name, Image: f.image(c.podsMade)})
			_, err := c.api.CoreV1().Pods(c.ns).Create(ctx, pod, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil // an earlier attempt succeeded
			}
			return err
		})
		c.pods[name] = chaosPod{f, node}
	case choice < 8:
		name := c.randomPod()
		p := c.pods[name]
		patch := []byte(`{"spec":{"containers":[{"name":"app","image":"registry.lab/app:1"}]}}`)
		c.retryAPI(func(ctx context.Context) error {
			_, err := c.api.CoreV1().Pods(c.ns).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		})
		p.want = ""
		c.pods[name] = p
	default:
		name := c.randomPod()
		c.retryAPI(func(ctx context.Context) error {
			err := c.api.CoreV1().Pods(c.ns).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
		delete(c.pods, name)
	}
}

// randomPod returns one of the pods. The same seed returns the same pods.
func (c *chaos) randomPod() string {
	names := make([]string, 0, len(c.pods))
	for n := 1; n <= c.podsMade; n++ {
		for _, f := range chaosKinds {
			if name := fmt.Sprintf("%s-%d", f.kind, n); c.pods[name].kind != "" {
				names = append(names, name)
			}
		}
	}
	return names[c.random.IntN(len(names))]
}

// retryAPI calls do until it succeeds: the API server may be down.
func (c *chaos) retryAPI(do func(context.Context) error) {
	c.t.Helper()
	var err error
	if !c.eventually(c.t, 2*time.Minute, func(ctx context.Context) bool {
		err = do(ctx)
		return err == nil
	}) {
		c.t.Fatal(err)
	}
}

// disrupt kills one component or breaks a name in DNS, and returns what it did.
func (c *chaos) disrupt() string {
	c.t.Helper()
	ctx := c.t.Context()
	node := []string{nodeA, nodeB}[c.random.IntN(2)]
	kill := func(space, service string) {
		if err := c.KillService(ctx, space, service); err != nil && !strings.Contains(err.Error(), "not running") {
			c.t.Errorf("kill %s of %s: %v", service, space, err)
		}
	}
	switch what := c.random.IntN(8); what {
	case 0, 1:
		pids, err := c.PIDs(node, "pullprobe")
		if err != nil {
			c.t.Fatal(err)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have just ended
		}
		return "agent"
	case 2, 3:
		kill(node, "containerd")
		return "containerd"
	case 4:
		kill(node, "kubelet")
		return "kubelet"
	case 5:
		kill(lab.Infra, "kube-apiserver")
		return "kube-apiserver"
	case 6:
		kill(lab.Infra, []string{"registry-open", "registry-auth"}[c.random.IntN(2)])
		return "registry"
	default:
		answer := []lab.Answer{{Rcode: "SERVFAIL"}, {Rcode: "NXDOMAIN"}, {Drop: true}}[c.random.IntN(3)]
		if err := c.SetDNS(ctx, lab.ResolverGood, "registry.lab", answer); err != nil {
			c.t.Fatal(err)
		}
		c.changePods() // while the name does not resolve
		if err := c.UnsetDNS(ctx, lab.ResolverGood, "registry.lab"); err != nil {
			c.t.Fatal(err)
		}
		return "DNS"
	}
}

// restoreCluster lifts all faults and waits until everything is up again.
func (c *chaos) restoreCluster(ctx context.Context) {
	c.t.Helper()
	if err := c.Heal(ctx); err != nil {
		c.t.Error(err)
	}
	// After an outage of the API server, kubelets and controllers take up to a minute
	// to watch again.
	if err := c.RestartService(ctx, lab.Infra, "kube-controller-manager"); err != nil {
		c.t.Error(err)
	}
	for _, node := range []string{nodeA, nodeB} {
		if err := c.WaitContainerd(ctx, node); err != nil {
			c.t.Error(err)
		}
		if err := c.RestartService(ctx, node, "kubelet"); err != nil {
			c.t.Error(err)
		}
		if err := c.WaitNode(ctx, node); err != nil {
			c.t.Error(err)
		}
	}
	if out, err := c.Kubectl(ctx, nil, "-n", agentNamespace, "rollout", "status", "daemonset/pullprobe", "--timeout=120s"); err != nil {
		c.t.Errorf("%v: %s", err, out)
	}
}

// footprint is the resource usage of an agent.
type footprint struct {
	files, goroutines int
	anon              int64 // KiB of anonymous memory
}

func (c *chaos) measureFootprint(node string) (f footprint) {
	c.t.Helper()
	pids, err := c.PIDs(node, "pullprobe")
	if err != nil || len(pids) != 1 {
		return footprint{files: 1 << 20} // it is being started
	}
	proc := filepath.Join("/proc", strconv.Itoa(pids[0]))
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return footprint{files: 1 << 20}
	}
	f.files = len(files)
	status, _ := os.ReadFile(filepath.Join(proc, "status"))
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			f.anon, _ = strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
		}
	}
	for line := range strings.Lines(c.metrics(c.t, node)) {
		if n, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			f.goroutines, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return f
}
