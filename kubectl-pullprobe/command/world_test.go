package command

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// The test binary is also the plugin, if it is called by its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "kubectl-pullprobe" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(Run(ctx, NewApp(testVersion, os.Getenv, os.Stdin, os.Stdout, os.Stderr), os.Args[1:]))
	}
	code := m.Run()
	if shared.w != nil {
		shared.w.stop()
	}
	os.Exit(code)
}

const testVersion = "v0.1.0"

// world is a real kube-apiserver with the manifests. It has no controllers and no agents: a
// test plays both.
type world struct {
	bin, dir, url string
	api           kubernetes.Interface
	ends          []func()
}

var shared struct {
	sync.Once
	w    *world
	skip string
	err  error
}

// newWorld returns the API server that all tests of the package share; a test has a namespace of
// its own. The server is beside the program that PULLPROBE_KUBE_APISERVER names, or on PATH.
func newWorld(t *testing.T) *world {
	t.Helper()
	shared.Do(func() {
		program := os.Getenv("PULLPROBE_KUBE_APISERVER")
		if program == "" {
			program, _ = exec.LookPath("kube-apiserver")
		}
		w := &world{bin: filepath.Dir(program)}
		for _, name := range []string{"etcd", "kubectl", "kube-apiserver"} {
			if _, err := os.Stat(filepath.Join(w.bin, name)); err != nil || testing.Short() {
				shared.skip = "no " + name + ": name kube-apiserver with PULLPROBE_KUBE_APISERVER, or put all on PATH"
				return
			}
		}
		shared.w, shared.err = w, w.startAll()
	})
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.w
}

func (w *world) stop() {
	for _, end := range w.ends {
		end()
	}
}

// startAll starts etcd and the API server, and applies the manifests.
func (w *world) startAll() error {
	var err error
	if w.dir, err = os.MkdirTemp("", "plugin-world-"); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	keyFile, tokens := filepath.Join(w.dir, "sa.key"), filepath.Join(w.dir, "tokens.csv")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	users := "admin-token,admin,admin,system:masters\ntenant-token,tenant,tenant\nreader-token,reader,reader\nno-token,no,no\n"
	if err := os.WriteFile(tokens, []byte(users), 0o600); err != nil {
		return err
	}
	client, peer, secure := freePort(), freePort(), freePort()
	if err := w.start("etcd", "--data-dir="+w.dir+"/etcd", "--unsafe-no-fsync", "--log-level=warn", "--listen-client-urls=http://"+client,
		"--advertise-client-urls=http://"+client, "--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer,
		"--initial-cluster=default=http://"+peer); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(secure)
	w.url = "https://" + secure
	if err := w.start("kube-apiserver", "--etcd-servers=http://"+client, "--bind-address="+host, "--secure-port="+port, "--cert-dir="+w.dir,
		"--service-account-issuer=https://test", "--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile,
		"--token-auth-file="+tokens, "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.96.0.0/24", "--advertise-address=127.0.0.1", "--profiling=false", "--allow-privileged=true"); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig("admin"))
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 1000, 1000
	if w.api, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	ready := func() bool {
		_, err := w.api.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
		return err == nil
	}
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server is not ready within a minute; its log is in %s", w.dir)
		}
	}
	kubectl := exec.Command(filepath.Join(w.bin, "kubectl"), "--kubeconfig="+w.kubeconfig("admin"), "--cache-dir="+w.dir, "apply", "-k", "../../manifests")
	if out, err := kubectl.CombinedOutput(); err != nil {
		return fmt.Errorf("apply the manifests: %w\n%s", err, out)
	}
	w.ends = append(w.ends, func() { os.RemoveAll(w.dir) })
	return nil
}

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the tests end.
func (w *world) start(name string, args ...string) error {
	log, err := os.Create(filepath.Join(w.dir, name+".log"))
	if err != nil {
		return err
	}
	c := exec.Command(filepath.Join(w.bin, name), args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = c.Process.Kill(); _ = c.Wait(); log.Close() })
	return nil
}

// kubeconfig returns the file of a user: admin, tenant, reader or no.
func (w *world) kubeconfig(user string) string {
	name := filepath.Join(w.dir, user+".kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}],
contexts: [{name: c, context: {cluster: c, user: u}}, {name: other, context: {cluster: c, user: u, namespace: other}}], users: [{name: u, user: {token: %q}}]}`,
		w.url, user+"-token")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return err.Error()
	}
	return name
}

// result is what a run of the plugin came to.
type result struct {
	code     int
	out, err string
}

// as runs the plugin as a user.
func (w *world) as(t *testing.T, user string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	app := NewApp(testVersion, func(string) string { return "" }, strings.NewReader(""), &out, &errs)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	code := Run(ctx, app, append(args, "--kubeconfig="+w.kubeconfig(user), "--cache-dir="+w.dir))
	return result{code, out.String(), errs.String()}
}

// run runs the plugin as administrator.
func (w *world) run(t *testing.T, args ...string) result {
	t.Helper()
	return w.as(t, "admin", args...)
}

// check fails a test unless a run has an exit code and texts in what it printed.
func (r result) check(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(join(r.out+r.err), text) {
			t.Errorf("no %q in:\n%s%s", text, r.out, r.err)
		}
	}
}

// join undoes the wrapping of lines.
func join(text string) string { return strings.Join(strings.Fields(text), " ") }

func made[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// namespace makes a namespace that ends with the test.
func (w *world) namespace(t *testing.T, name string) string {
	t.Helper()
	_, err := w.api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	return name
}

// waitingFor returns the state of a container that waits.
func waitingFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// pod makes a pod of one container, app, on a node, in a state.
func (w *world) pod(t *testing.T, namespace, name, node, image string, state corev1.ContainerState, change ...func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	no := false
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeName: node, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "app", Image: image}},
		},
	}
	for _, f := range change {
		f(p)
	}
	p = made[*corev1.Pod](t)(w.api.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{}))
	t.Cleanup(func() {
		zero := int64(0)
		_ = w.api.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	})
	return w.setState(t, p, state)
}

// setState sets the state of a pod's container, as its kubelet does.
func (w *world) setState(t *testing.T, p *corev1.Pod, state corev1.ContainerState) *corev1.Pod {
	t.Helper()
	p = made[*corev1.Pod](t)(w.api.CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{}))
	running := state.Running != nil
	p.Status.Phase = corev1.PodPending
	ready := corev1.ConditionFalse
	if running {
		p.Status.Phase, ready = corev1.PodRunning, corev1.ConditionTrue
	}
	at := metav1.NewTime(time.Now().Add(-time.Minute))
	p.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at}, {Type: corev1.PodReady, Status: ready, LastTransitionTime: at},
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", Image: p.Spec.Containers[0].Image, State: state, Ready: running}}
	return made[*corev1.Pod](t)(w.api.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), p, metav1.UpdateOptions{}))
}

// deployment makes a Deployment, with its ReplicaSet, of which a pod is (see ownedBy).
func (w *world) deployment(t *testing.T, namespace, name string) *appsv1.ReplicaSet {
	t.Helper()
	selector := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: selector}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/web:v9"}}},
	}
	d := made[*appsv1.Deployment](t)(w.api.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: selector}, Template: template},
	}, metav1.CreateOptions{}))
	t.Cleanup(func() {
		_ = w.api.AppsV1().Deployments(namespace).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	w.setRollout(t, namespace, name, 0)
	withHash := labels.Merge(selector, map[string]string{"pod-template-hash": "abc"})
	template.Labels = withHash
	rs := made[*appsv1.ReplicaSet](t)(w.api.AppsV1().ReplicaSets(namespace).Create(t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-abc", Labels: withHash, Annotations: map[string]string{"deployment.kubernetes.io/revision": "1"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: withHash}, Template: template},
	}, metav1.CreateOptions{}))
	t.Cleanup(func() {
		_ = w.api.AppsV1().ReplicaSets(namespace).Delete(context.Background(), rs.Name, metav1.DeleteOptions{})
	})
	return rs
}

// setRollout sets how many pods of a Deployment are ready, as its controller does.
func (w *world) setRollout(t *testing.T, namespace, name string, ready int32) {
	t.Helper()
	d := made[*appsv1.Deployment](t)(w.api.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{}))
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: ready, AvailableReplicas: ready, UnavailableReplicas: 1 - ready,
	}
	made[*appsv1.Deployment](t)(w.api.AppsV1().Deployments(namespace).UpdateStatus(t.Context(), d, metav1.UpdateOptions{}))
}

func ownedBy(rs *appsv1.ReplicaSet) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Labels = rs.Labels
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	}
}

// node makes a Node.
func (w *world) node(t *testing.T, name string) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"topology.kubernetes.io/zone": "zone-1"}}}
	made[*corev1.Node](t)(w.api.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}))
	t.Cleanup(func() { _ = w.api.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

// missingTag returns the diagnosis of a pod whose tag is missing.
func missingTag(p *corev1.Pod, confidence report.Confidence) report.Diagnosis {
	now := time.Now().UTC().Truncate(time.Second)
	image := p.Spec.Containers[0].Image
	return report.Diagnosis{
		Image: image, Pod: p.Namespace + "/" + p.Name, UID: string(p.UID), Container: "app", Time: now,
		Pods: &report.Pods{Count: 1, Since: now.Add(-time.Minute), NextTry: now.Add(2 * time.Minute), Owners: []report.Owner{{Name: report.NoOwner, Pods: 1}}},
		Verdict: report.Verdict{
			Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: confidence, Summary: "tag \"v9\" does not exist in registry.example/web",
			Fix:     "use an existing tag:\nkubectl -n " + p.Namespace + " set image pod/" + p.Name + " app=registry.example/web:v1",
			Because: []string{"manifest/registry.example"},
		},
		Checks: []report.Check{
			{ID: "dial/registry.example/192.0.2.7:443", Kind: report.KindDial, Host: "registry.example", Outcome: report.Pass, Summary: "connected to 192.0.2.7:443",
				Duration: report.Millis(3 * time.Millisecond)},
			{ID: "manifest/registry.example", Kind: report.KindManifest, Host: "registry.example", Outcome: report.Fail, Cause: report.TagNotFound,
				Summary: "registry.example has no tag v9 of web", Duration: report.Millis(8 * time.Millisecond)},
			{ID: "image/registry.example", Kind: report.KindImage, Host: "registry.example", Outcome: report.Skipped, BlockedBy: "manifest/registry.example"},
		},
	}
}

// write writes the report of a node, as its agent does.
func (w *world) write(t *testing.T, node string, states map[string]report.HostState, diagnoses ...report.Diagnosis) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	n := report.NodeReport{
		Schema: report.Schema, Node: node, Agent: testVersion, Time: now, Diagnoses: diagnoses, Stuck: len(diagnoses),
		Runtime: report.Check{ID: "runtime", Kind: report.KindRuntime, Outcome: report.Pass, Summary: "containerd v2.4.2 is ready"},
		Sweep:   &report.Sweep{Time: now, Control: report.Check{ID: "control", Kind: report.KindControl, Outcome: report.Pass}},
	}
	if len(diagnoses) > 0 {
		n.Fault, n.Cause = diagnoses[0].Verdict.Fault, diagnoses[0].Verdict.Cause
	}
	for host, state := range states {
		r := report.Registry{Host: host, State: state, Since: now.Add(-time.Hour), Checked: now, Used: "192.0.2.7"}
		if state.Bad() {
			r.Fault, r.Cause, r.Summary = report.FaultNode, report.ConnectionTimeout, "cannot connect to 192.0.2.7:443"
		}
		n.Sweep.Registries = append(n.Sweep.Registries, r)
	}
	facts := made[string](t)(nodefacts.Of(n).Encode())
	summary, body, err := n.Bounded(report.MaxReport)
	if err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: report.ConfigMapName(node, ""), Annotations: map[string]string{nodefacts.Annotation: facts},
			Labels: map[string]string{
				report.LabelReport: "", report.LabelFault: string(n.Fault), report.LabelCause: string(n.Cause), report.LabelStuck: fmt.Sprint(n.Stuck),
			},
		},
		Data: map[string]string{report.SummaryKey: summary, "report.json": string(body)},
	}
	maps, o := w.api.CoreV1().ConfigMaps("pullprobe"), metav1.UpdateOptions{FieldManager: report.FieldManager}
	_, err = maps.Update(context.Background(), cm, o)
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(context.Background(), cm, metav1.CreateOptions{FieldManager: report.FieldManager})
	}
	if err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { _ = maps.Delete(context.Background(), cm.Name, metav1.DeleteOptions{}) })
}

// testContext returns the context of what is done after a test.
func testContext() context.Context { return context.Background() }
