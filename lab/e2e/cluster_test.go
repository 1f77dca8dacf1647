//go:build e2e

// Package e2e runs pullprobe's DaemonSet on the lab, from the image of the Dockerfile,
// and checks what a user would see.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/pullprobe/pullprobe/lab"
)

const (
	agentNamespace = "pullprobe"
	agentImage     = "mirror.lab/pullprobe/pullprobe:v0.1.0"
	nodeA, nodeB   = "node-a", "node-b"
	components     = "../../manifests/components"
)

var (
	imageTar  = flag.String("image", "../../bin/pullprobe-image.tar", "OCI archive of the agent")
	secrets   = flag.Bool("secrets", true, "the manifests let the agents read pull secrets")
	providers = flag.Bool("providers", true, "the agents can run credential providers, if configured")
	manifests = flag.String("manifests", "../manifests/default", "kustomization to install")
)

// cluster is the running lab and a client for its API server.
type cluster struct {
	*lab.Lab
	api kubernetes.Interface
}

var suite *cluster

func TestMain(m *testing.M) {
	flag.Parse()
	c, err := install(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	suite = c
	os.Exit(m.Run())
}

// install loads the agent's image into the nodes and applies the manifests.
func install(ctx context.Context) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	l, err := lab.Open(lab.DefaultDir())
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", l.KubeconfigPath())
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 100, 200
	cfg.Dial = func(ctx context.Context, network, addr string) (conn netConn, err error) {
		return l.Dial(ctx, lab.Infra, network, addr)
	}
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	c := &cluster{Lab: l, api: api}
	if err := l.LoadImage(ctx, *imageTar, agentImage); err != nil {
		return nil, fmt.Errorf("load %s: %w", *imageTar, err)
	}
	if _, err := l.Kubectl(ctx, nil, "apply", "-k", *manifests); err != nil {
		return nil, err
	}
	// Replace running agents by the image just loaded.
	if _, err := l.Kubectl(ctx, nil, "-n", agentNamespace, "rollout", "restart", "daemonset/pullprobe"); err != nil {
		return nil, err
	}
	if _, err := l.Kubectl(ctx, nil, "-n", agentNamespace, "rollout", "status", "daemonset/pullprobe", "--timeout=120s"); err != nil {
		return nil, err
	}
	fleet, err := l.Kubectl(ctx, nil, "-n", agentNamespace, "get", "deployment", "-l", "app.kubernetes.io/name=pullprobe-fleet", "-o", "name")
	if err != nil || len(bytes.TrimSpace(fleet)) == 0 {
		return c, err // these manifests have none
	}
	for _, args := range [][]string{{"restart"}, {"status", "--timeout=120s"}} {
		if _, err := l.Kubectl(ctx, nil, append([]string{"-n", agentNamespace, "rollout", args[0], "deployment/pullprobe-fleet"}, args[1:]...)...); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// nodeLocks has a lock for each node. The test that works with the node holds it.
var nodeLocks = map[string]*sync.Mutex{nodeA: {}, nodeB: {}}

// useNode locks a node and lets the test run in parallel with those of the other node. A
// test that changes what all nodes share (the API server, the DaemonSet, names in DNS)
// does not call it, and so runs alone.
func (c *cluster) useNode(t *testing.T, node string) {
	t.Helper()
	t.Parallel()
	nodeLocks[node].Lock()
	t.Cleanup(nodeLocks[node].Unlock)
}

// nodeReport has the fields of report.json that the tests use, as a script would.
type nodeReport struct {
	Schema    string      `json:"schema"`
	Node      string      `json:"node"`
	Time      time.Time   `json:"time"`
	Runtime   check       `json:"runtime"`
	Disk      check       `json:"disk"`
	Stuck     int         `json:"stuck"`
	Checks    []check     `json:"checks"`
	Diagnoses []diagnosis `json:"diagnoses"`
	Incidents []incident  `json:"incidents"`
	Sweep     sweep       `json:"sweep"`
}

type incident struct {
	Image    string `json:"image"`
	From, To struct {
		Fault string `json:"fault"`
		Cause string `json:"cause"`
	}
	Pods int `json:"pods"`
}

type sweep struct {
	Time       time.Time `json:"time"`
	DurationMs int64     `json:"durationMs"`
	Control    struct {
		Outcome string `json:"outcome"`
		Cause   string `json:"cause"`
		Summary string `json:"summary"`
	} `json:"control"`
	Registries []struct {
		Host    string   `json:"host"`
		Roles   []string `json:"roles"`
		State   string   `json:"state"`
		Fault   string   `json:"fault"`
		Cause   string   `json:"cause"`
		Summary string   `json:"summary"`
	} `json:"registries"`
}

// stateOf returns the state of a host, and the cause if it is not reachable. It is empty
// if the sweep did not check the host.
func (s sweep) stateOf(host string) string {
	for _, r := range s.Registries {
		if r.Host == host {
			return strings.TrimSpace(r.State + " " + r.Cause)
		}
	}
	return ""
}

type diagnosis struct {
	Image   string    `json:"image"`
	Pod     string    `json:"pod"`
	Asked   string    `json:"asked"`
	Time    time.Time `json:"time"`
	Trimmed bool      `json:"trimmed"`
	Verdict struct {
		Fault       string   `json:"fault"`
		Cause       string   `json:"cause"`
		Confidence  string   `json:"confidence"`
		Summary     string   `json:"summary"`
		Fix         string   `json:"fix"`
		Because     []string `json:"because"`
		WouldDecide []string `json:"wouldDecide"`
		Also        []string `json:"also"`
	} `json:"verdict"`
	Pods struct {
		Count  int `json:"count"`
		Owners []struct {
			Name string `json:"name"`
			Pods int    `json:"pods"`
		} `json:"owners"`
		Others []struct {
			Pod   string `json:"pod"`
			Asked string `json:"asked"`
		} `json:"others"`
	} `json:"pods"`
	Checks []check `json:"checks"`
}

type check struct {
	ID       string            `json:"id"`
	Shared   bool              `json:"shared"`
	Outcome  string            `json:"outcome"`
	Cause    string            `json:"cause"`
	Summary  string            `json:"summary"`
	Evidence map[string]string `json:"evidence"`
}

func (d diagnosis) String() string {
	return d.Verdict.Fault + " " + d.Verdict.Cause + " " + d.Verdict.Confidence
}

func (d diagnosis) check(id string) (outcome, summary string, evidence map[string]string) {
	for _, c := range d.Checks {
		if c.ID == id {
			return c.Outcome, c.Summary, c.Evidence
		}
	}
	return "", "", nil
}

// explain returns the whole diagnosis, for the message of a failed test.
func (d diagnosis) explain() string {
	b, _ := json.MarshalIndent(d, "", "  ")
	return string(b)
}

// reportOf returns the report in a ConfigMap, with a diagnosis for each pod that it names
// and all checks in each.
func reportOf(cm *corev1.ConfigMap) (nodeReport, error) {
	var r nodeReport
	if err := json.Unmarshal([]byte(cm.Data["report.json"]), &r); err != nil {
		return r, err
	}
	var all []diagnosis
	for _, d := range r.Diagnoses {
		for i, c := range d.Checks {
			if c.Shared {
				d.Checks[i] = r.Checks[slices.IndexFunc(r.Checks, func(s check) bool { return s.ID == c.ID })]
			}
		}
		all = append(all, d)
		for _, other := range d.Pods.Others {
			d.Pod, d.Asked = other.Pod, other.Asked
			all = append(all, d)
		}
	}
	r.Diagnoses = all
	return r, nil
}

// waitReport watches a node's ConfigMap until done returns true, and returns the last one
// either way. Every report that it receives must match the schema.
func (c *cluster) waitReport(
	t testing.TB, node string, limit time.Duration, done func(*corev1.ConfigMap, nodeReport) bool,
) (*corev1.ConfigMap, nodeReport, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last *corev1.ConfigMap
	var report nodeReport
	valid := true
	lw := &listWatch{c.api, agentNamespace, fields.OneTermEqualSelector("metadata.name", "pullprobe-"+node).String()}
	for ctx.Err() == nil {
		_, err := watchtools.UntilWithSync(ctx, lw, &corev1.ConfigMap{}, nil, func(e watch.Event) (bool, error) {
			cm, ok := e.Object.(*corev1.ConfigMap)
			if !ok || e.Type == watch.Deleted {
				return false, nil
			}
			r, err := reportOf(cm)
			if err != nil {
				return false, fmt.Errorf("report.json of %s: %w", cm.Name, err)
			}
			valid = valid && validateReport(t, cm.Data["report.json"]) // one error is enough
			last, report = cm, r
			return done(cm, r), nil
		})
		if err == nil {
			return last, report, true
		}
		if !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			t.Logf("watching the report of %s: %v", node, err)
		}
	}
	return last, report, false
}

// waitVerdict waits until the pod's diagnosis is the wanted one, given as
// "fault cause confidence", where * matches anything.
func (c *cluster) waitVerdict(t testing.TB, node, pod, want string, limit time.Duration) diagnosis {
	t.Helper()
	var last diagnosis
	_, _, ok := c.waitReport(t, node, limit, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, d := range r.Diagnoses {
			if d.Pod == pod {
				last = d
				return matches(want, d)
			}
		}
		return false
	})
	if !ok {
		t.Errorf("verdict of %s on %s within %v: got %q, want %q\n%s", pod, node, limit, last, want, last.explain())
	}
	return last
}

func matches(want string, d diagnosis) bool {
	if outcome, _, _ := d.check("credentials"); !*secrets && (outcome == "skipped" || d.Trimmed) && d.Verdict.Confidence != "confirmed" {
		return true // without secrets, verdicts that depend on credentials are not confirmed
	}
	w := strings.Fields(want)
	got := []string{d.Verdict.Fault, d.Verdict.Cause, d.Verdict.Confidence}
	return slices.EqualFunc(w, got, func(w, g string) bool { return w == "*" || w == g })
}

// skipWithoutSecrets skips a test of pull secrets if the agents may not read them.
func skipWithoutSecrets(t testing.TB) {
	t.Helper()
	if !*secrets {
		t.Skip("the agents may not read secrets: TestWithoutSecrets tests that")
	}
}

// needsKubernetes skips a test of what Kubernetes has since a minor version. The reason is
// in docs/compatibility.md.
func (c *cluster) needsKubernetes(t testing.TB, first, what string) {
	t.Helper()
	if !c.Dir().Versions().KubernetesSince(first) {
		t.Skipf("Kubernetes %s is the first with %s", first, what)
	}
}

// namespace creates a namespace for one test and deletes it, with all pods, when the test
// ends.
func (c *cluster) namespace(t testing.TB) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	ns, err := c.api.CoreV1().Namespaces().Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = c.api.CoreV1().Pods(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		_ = c.api.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	})
	// The API server rejects pods until the controller manager has made their
	// ServiceAccount.
	if !c.eventually(t, 3*time.Minute, func(ctx context.Context) bool {
		_, err := c.api.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	}) {
		t.Fatalf("namespace %s has no ServiceAccount", ns.Name)
	}
	return ns.Name
}

// podOptions are the fields of a pod that tests vary.
type podOptions struct {
	Node, Namespace, Name, Image string
	Secret                       string // imagePullSecret
	Policy                       corev1.PullPolicy
	Edit                         func(*corev1.Pod)
}

// pod creates a pod bound to a node.
func (c *cluster) pod(t testing.TB, o podOptions) *corev1.Pod {
	t.Helper()
	p, err := c.api.CoreV1().Pods(o.Namespace).Create(t.Context(), c.newPod(o), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (c *cluster) newPod(o podOptions) *corev1.Pod {
	no, now := false, int64(0)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name},
		Spec: corev1.PodSpec{
			NodeName: o.Node, HostNetwork: true, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &now,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:  []corev1.Container{{Name: "app", Image: o.Image, ImagePullPolicy: o.Policy}},
		},
	}
	if o.Secret != "" {
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: o.Secret}}
	}
	if o.Edit != nil {
		o.Edit(p)
	}
	return p
}

// loginSecret creates a dockerconfigjson secret for one server.
func (c *cluster) loginSecret(t testing.TB, namespace, name, server, user, password string) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"auths": map[string]any{server: map[string]string{"username": user, "password": password}}})
	if err != nil {
		t.Fatal(err)
	}
	c.secret(t, namespace, name, corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, data)
}

func (c *cluster) secret(t testing.TB, namespace, name string, typ corev1.SecretType, key string, data []byte) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: typ, Data: map[string][]byte{key: data}}
	if _, err := c.api.CoreV1().Secrets(namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// diagnosedReason is the reason of pullprobe's Events on pods.
const diagnosedReason = "ImagePullDiagnosed"

// waitEvent waits for an Event on a pod.
func (c *cluster) waitEvent(t testing.TB, namespace, pod, reason string, limit time.Duration, want func(corev1.Event) bool) corev1.Event {
	t.Helper()
	var last corev1.Event
	ok := c.eventually(t, limit, func(ctx context.Context) bool {
		list, err := c.api.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
			FieldSelector: fields.Set{"involvedObject.name": pod, "reason": reason}.String(),
		})
		if err != nil {
			return false
		}
		for _, e := range list.Items {
			last = e
			if want(e) {
				return true
			}
		}
		return false
	})
	if !ok {
		t.Errorf("no such Event %s on %s/%s within %v; last: %q", reason, namespace, pod, limit, last.Message)
	}
	return last
}

// eventually calls f until it returns true or the time limit has passed.
func (c *cluster) eventually(t testing.TB, limit time.Duration, f func(context.Context) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if f(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// inject injects a fault into a node and lifts it when the test ends.
func (c *cluster) inject(t testing.TB, node, fault string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Lift(ctx, node, fault); err != nil {
			t.Errorf("lift %s from %s: %v", fault, node, err)
		}
		if strings.HasPrefix(fault, "resolver-") {
			if err := c.WaitResolverSeen(ctx, node); err != nil {
				t.Error(err)
			}
		}
	})
	if err := c.Inject(t.Context(), node, fault); err != nil {
		t.Fatalf("inject %s into %s: %v", fault, node, err)
	}
	if strings.HasPrefix(fault, "resolver-") {
		// The runtime reads resolv.conf only every five seconds.
		if err := c.WaitResolverSeen(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
}

// hasImage reports whether the node has the image under this name.
func (c *cluster) hasImage(t testing.TB, node, image string) bool {
	t.Helper()
	images, err := c.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		if slices.Contains(i.RepoTags, image) || slices.Contains(i.RepoDigests, image) {
			return true
		}
	}
	return false
}

// agentPod returns the agent's pod on a node.
func (c *cluster) agentPod(t testing.TB, node string) corev1.Pod {
	t.Helper()
	list, err := c.api.CoreV1().Pods(agentNamespace).List(t.Context(), metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=pullprobe", FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			return p
		}
	}
	t.Fatalf("no agent on %s", node)
	return corev1.Pod{}
}

func (c *cluster) annotate(t testing.TB, p *corev1.Pod, value *string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{"probe": value}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.api.CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, mergePatch, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

// agentLog returns the log of an agent. It retries, because a test may have just restarted
// the kubelet, which serves the log.
func (c *cluster) agentLog(t testing.TB, pod string, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	if !c.eventually(t, time.Minute, func(ctx context.Context) bool {
		out, err = c.Kubectl(ctx, nil, append([]string{"-n", agentNamespace, "logs", pod}, args...)...)
		return err == nil
	}) {
		t.Fatal(err)
	}
	return string(out)
}

// kubectl runs kubectl and returns its output.
func (c *cluster) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), nil, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return string(bytes.TrimSpace(out))
}
