//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// faults are pods that get stuck on a healthy node, each for another reason, with the
// verdict that they must get.
var faults = []struct {
	name, image string
	user        string // "user:password" in a pull secret for the image's registry
	secret      string // name of a pull secret that does not exist
	want        string // fault cause confidence
}{
	{"tag-missing", "registry.lab/app:nope", "", "", "cluster-config TagNotFound confirmed"},
	{"repository-missing", "registry.lab/nosuch:1", "", "", "cluster-config RepositoryNotFound likely"},
	{"no-credentials", "auth.lab/app:1", "", "", "cluster-config CredentialsMissing confirmed"},
	{"wrong-password", "auth.lab/app:1", "puller:hunter2-canary-never-tried-before", "", "cluster-config CredentialsRejected confirmed"},
	{"secret-absent", "auth.lab/app:1", "", "regcred", "cluster-config PullSecretMissing confirmed"},
	{"unknown-ca", "badca.lab/app:1", "", "", "node-infrastructure CertificateUntrusted confirmed"},
	{"expired", "expired.lab/app:1", "", "", "registry CertificateExpired confirmed"},
	{"other-name", "wrongname.lab/app:1", "", "", "registry CertificateNameMismatch confirmed"},
	{"plain-http", "plain.lab/app:1", "", "", "node-infrastructure PlainHTTPRegistry confirmed"},
	{"refused", "refused.lab/app:1", "", "", "undetermined ConnectionRefused confirmed"},
	{"nxdomain", "nosuchhost.lab/app:1", "", "", "cluster-config HostNotFound likely"},
	{"rate-limit", "ratelimit.lab/app:1", "", "", "registry RateLimited confirmed"},
	{"unavailable", "unavailable.lab/app:1", "", "", "registry RegistryUnavailable confirmed"},
	{"platform", "registry.lab/idx-arm:1", "", "", "cluster-config PlatformMismatch confirmed"},
	{"black-hole", "blackhole.lab/app:1", "", "", "undetermined ConnectionTimeout likely"},
}

func TestVerdicts(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	healthy := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "healthy", Image: "registry.lab/app:1"})
	suite.createFaults(t, nodeA, ns)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			d := suite.waitVerdict(t, nodeA, ns+"/"+f.name, f.want, 3*time.Minute)
			if d.Verdict.Summary == "" || d.Verdict.Fix == "" || len(d.Verdict.Because) == 0 {
				t.Errorf("a verdict needs a summary, a fix and deciding checks:\n%s", d.explain())
			}
			e := suite.waitEvent(t, ns, f.name, diagnosedReason, 10*time.Second, func(e corev1.Event) bool {
				return strings.HasPrefix(e.Message, d.Verdict.Fault+" / "+d.Verdict.Cause+" ")
			})
			if len(e.Message) > 1024 || !strings.Contains(e.Message, retryCommand) || e.ReportingInstance != nodeA {
				t.Errorf("Event of %d bytes by %s: %s", len(e.Message), e.ReportingInstance, e.Message)
			}
		})
	}

	cm, r, ok := suite.waitReport(t, nodeA, 10*time.Second, func(cm *corev1.ConfigMap, r nodeReport) bool { return r.Stuck == len(faults) })
	if !ok {
		t.Errorf("stuck = %d, want %d", r.Stuck, len(faults))
	}
	for _, d := range r.Diagnoses {
		if d.Pod == ns+"/healthy" {
			t.Errorf("the healthy pod is diagnosed: %s", d)
		}
	}
	if got := cm.Labels["pullprobe.dev/fault"]; got != "node-infrastructure" {
		t.Errorf("the label is %q; the worst fault of the node is node-infrastructure", got)
	}
	if strings.Contains(cm.Data["summary"]+cm.Data["report.json"], "hunter2-canary") {
		t.Error("the report has a password")
	}
	if len(cm.OwnerReferences) != 1 || cm.OwnerReferences[0].Kind != "Node" || cm.OwnerReferences[0].Name != nodeA {
		t.Errorf("owner of the ConfigMap: %v", cm.OwnerReferences)
	}

	// A request for a healthy pod gets the verdict Healthy.
	value := "now"
	suite.annotate(t, healthy, &value)
	suite.waitVerdict(t, nodeA, ns+"/healthy", "none Healthy *", 20*time.Second)

	// When the stuck pods are deleted, their verdicts go too, and the node is healthy again.
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now}
	if err := suite.api.CoreV1().Pods(ns).DeleteCollection(t.Context(), options, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	suite.waitHealthy(t, nodeA)
}

// createFaults creates a pod for each of faults.
func (c *cluster) createFaults(t testing.TB, node, ns string) {
	t.Helper()
	for _, f := range faults {
		secret := f.secret
		if user, password, ok := strings.Cut(f.user, ":"); ok {
			secret = "login-" + f.name
			server, _, _ := strings.Cut(f.image, "/")
			c.loginSecret(t, ns, secret, server, user, password)
		}
		c.pod(t, podOptions{Node: node, Namespace: ns, Name: f.name, Image: f.image, Secret: secret})
	}
}

func (c *cluster) waitHealthy(t testing.TB, node string) {
	t.Helper()
	_, r, ok := c.waitReport(t, node, time.Minute, func(cm *corev1.ConfigMap, r nodeReport) bool {
		return cm.Labels["pullprobe.dev/fault"] == "none" && cm.Labels["pullprobe.dev/stuck"] == "0"
	})
	if !ok {
		t.Errorf("%s does not become healthy again: %d stuck, %v", node, r.Stuck, r.Diagnoses)
	}
}

// A fault of one node is reported on that node only.
func TestOneNodeBroken(t *testing.T) {
	for _, tt := range []struct{ fault, image, want string }{
		{"resolver-dead", "registry.lab/app:2", "node-infrastructure ResolverUnreachable likely"},
		{"resolver-servfail", "registry.lab/app:2", "node-infrastructure ResolverFailed confirmed"},
		{"registry-dropped", "registry.lab/app:2", "node-infrastructure ConnectionTimeout likely"},
		{"ca-missing", "registry.lab/app:2", "node-infrastructure CertificateUntrusted confirmed"},
		{"disk-full", "registry.lab/big:1", "node-infrastructure DiskFull confirmed"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			ns := suite.namespace(t)
			// The node has pulled from this registry before.
			for _, n := range []string{nodeA, nodeB} {
				suite.pod(t, podOptions{Node: n, Namespace: ns, Name: "before-" + n, Image: "registry.lab/app:1"})
				suite.waitRunning(t, ns, "before-"+n)
			}
			suite.inject(t, nodeA, tt.fault)
			for _, n := range []string{nodeA, nodeB} {
				if err := suite.RemoveImage(t.Context(), n, tt.image); err != nil {
					t.Logf("remove %s from %s: %v", tt.image, n, err)
				}
				suite.pod(t, podOptions{Node: n, Namespace: ns, Name: "pod-" + n, Image: tt.image, Policy: corev1.PullAlways})
			}
			suite.waitVerdict(t, nodeA, ns+"/pod-"+nodeA, tt.want, 2*time.Minute)
			cm, _, _ := suite.waitReport(t, nodeA, 10*time.Second, func(cm *corev1.ConfigMap, _ nodeReport) bool {
				return cm.Labels["pullprobe.dev/fault"] == "node-infrastructure"
			})
			if cm == nil || cm.Labels["pullprobe.dev/fault"] != "node-infrastructure" {
				t.Errorf("label of %s: %v", nodeA, cm.Labels)
			}
			other, _, _ := suite.waitReport(t, nodeB, time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
			if other == nil || other.Labels["pullprobe.dev/fault"] != "none" {
				t.Errorf("the healthy node has a fault: %v", other.Labels)
			}
		})
	}
}

func (c *cluster) waitRunning(t testing.TB, namespace, pod string) {
	t.Helper()
	if out, err := c.Kubectl(t.Context(), nil, "-n", namespace, "wait", "--for=condition=Ready", "pod/"+pod, "--timeout=60s"); err != nil {
		t.Fatalf("pod %s/%s does not run: %v %s", namespace, pod, err, out)
	}
}
