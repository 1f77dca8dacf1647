//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// TestPodCauses has the causes that need a pod and its kubelet.
func TestPodCauses(t *testing.T) {
	suite.useNode(t, nodeA)
	ns := suite.namespace(t)
	suite.loginSecret(t, ns, "elsewhere", "other.lab", "puller", "hunter2-canary")
	suite.loginSecret(t, ns, "good", "auth.lab", "puller", "s3cret")
	pods := []struct {
		name string
		o    podOptions
		want string
	}{
		{"never", podOptions{Image: "registry.lab/never:1", Policy: corev1.PullNever}, "cluster-config NeverPullNotPresent confirmed"},
		{"other-registry", podOptions{Image: "auth.lab/app:1", Secret: "elsewhere"}, "cluster-config PullSecretOtherRegistry confirmed"},
		{"init", podOptions{Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "registry.lab/app:no-such-init"}}
		}}, "cluster-config TagNotFound confirmed"},
		{"volume", podOptions{Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			image := &corev1.ImageVolumeSource{Reference: "registry.lab/app:no-such-volume"}
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: image}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}}, "cluster-config TagNotFound confirmed"},
		{"no-token", podOptions{Image: "token401.lab/app:1"}, "cluster-config CredentialsMissing confirmed"},
		{"denied", podOptions{Image: "token403.lab/app:1"}, "cluster-config AccessDeniedOrMissing confirmed"},
		{"scope", podOptions{Image: "tokendenied.lab/app:1"}, "cluster-config * *"},
		{"forbidden", podOptions{Image: "forbidden.lab/app:1"}, "undetermined AccessDeniedOrMissing likely"}, // 403 for /v2/ too
		{"hang", podOptions{Image: "hang.lab/app:1"}, "registry RegistryUnavailable likely"},
		{"hung-handshake", podOptions{Image: "rawhang.lab/app:1"}, "* TLSHandshakeFailed likely"},
		{"closed", podOptions{Image: "rawclose.lab/app:1"}, "node-infrastructure * likely"},
		{"bad-blob", podOptions{Image: "badblob.lab/bad:1"}, "registry LayerCorrupt *"},
		{"no-blob", podOptions{Image: "noblob.lab/no:1"}, "registry LayerCorrupt *"},
	}
	for _, p := range pods {
		p.o.Node, p.o.Namespace, p.o.Name = nodeA, ns, p.name
		suite.pod(t, p.o)
	}
	for _, p := range pods {
		t.Run(p.name, func(t *testing.T) {
			if p.name == "volume" {
				suite.needsKubernetes(t, "1.35", "image volumes without a feature gate")
			}
			suite.waitVerdict(t, nodeA, ns+"/"+p.name, p.want, 3*time.Minute)
		})
	}

	t.Run("not a pull problem", func(t *testing.T) {
		p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "no-config", Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			missing := &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nowhere"}}
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: missing}}
		}})
		value := "now"
		suite.annotate(t, p, &value)
		suite.waitVerdict(t, nodeA, ns+"/no-config", "none NotAPullProblem *", time.Minute)
	})

	t.Run("present, and not for this pod", func(t *testing.T) {
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "owner", Image: "auth.lab/app:2", Secret: "good"})
		suite.waitRunning(t, ns, "owner")
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "guest-never", Image: "auth.lab/app:2", Policy: corev1.PullNever})
		suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "guest", Image: "auth.lab/app:2", Policy: corev1.PullIfNotPresent})
		if !suite.Dir().Versions().KubernetesSince("1.35") { // such a kubelet refuses an image that is present to no pod
			suite.waitRunning(t, ns, "guest-never")
			suite.waitRunning(t, ns, "guest")
			return
		}
		suite.waitVerdict(t, nodeA, ns+"/guest-never", "cluster-config PresentNotAuthorized likely", time.Minute)
		suite.waitVerdict(t, nodeA, ns+"/guest", "cluster-config PresentNotAuthorized likely", time.Minute)
	})

	t.Run("recovered", func(t *testing.T) {
		p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "recovers", Image: "registry.lab/late:1", Policy: corev1.PullAlways})
		suite.waitVerdict(t, nodeA, ns+"/recovers", "cluster-config RepositoryNotFound likely", time.Minute)
		if _, err := suite.PushImage(t.Context(), lab.Image{Refs: []string{"late:1"}, Size: 1 << 10}); err != nil {
			t.Fatal(err)
		}
		value := "now"
		suite.annotate(t, p, &value)
		suite.waitVerdict(t, nodeA, ns+"/recovers", "none Recovered confirmed", 20*time.Second)
	})
}

// A pull that hangs delays a good one: by default the kubelet pulls one image at a time.
func TestBehindAnotherPull(t *testing.T) {
	suite.useNode(t, nodeB)
	ns := suite.namespace(t)
	suite.serializePulls(t, nodeB)
	if err := suite.RemoveImage(t.Context(), nodeB, "registry.lab/tiny:1"); err != nil {
		t.Logf("remove tiny: %v", err)
	}
	suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "ahead", Image: "blackhole.lab/ahead:1"})
	suite.waitEvent(t, ns, "ahead", "Pulling", time.Minute, func(corev1.Event) bool { return true })
	suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "behind", Image: "registry.lab/tiny:1"})
	d := suite.waitVerdict(t, nodeB, ns+"/behind", "node-infrastructure PullQueueLimited likely", time.Minute)
	if _, _, evidence := d.check("queue"); evidence["ahead"] != ns+"/ahead" || !strings.Contains(d.Verdict.Summary, ns+"/ahead") {
		t.Errorf("the pull ahead is not named: queue has %q, the summary is %q", evidence["ahead"], d.Verdict.Summary)
	}
}

// Without the runtime's sandbox image no pod can start, whatever the pod's images.
func TestSandboxImageUnavailable(t *testing.T) {
	suite.useNode(t, nodeB)
	const pause = "registry.lab/pause:1"
	ns := suite.namespace(t)
	if err := suite.RemoveImage(t.Context(), nodeB, pause); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.Lift(context.Background(), nodeB, "registry-dropped"); err != nil {
			t.Error(err)
		}
		if p := suite.Pull(context.Background(), nodeB, pause, nil); p.Code != codes.OK {
			t.Errorf("the sandbox image cannot be pulled again: %s", p.Message)
		}
	})
	suite.inject(t, nodeB, "registry-dropped")
	suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "no-sandbox", Image: "mirror.lab/app:1"})
	suite.waitVerdict(t, nodeB, ns+"/no-sandbox", "node-infrastructure SandboxImageUnavailable likely", time.Minute)
}

// serializePulls makes a node's kubelet pull one image at a time, until the test ends.
// That is the kubelet's default, which the lab's kubelets do not use.
func (c *cluster) serializePulls(t testing.TB, node string) {
	t.Helper()
	const config = "/var/lib/kubelet/config.yaml"
	before, err := c.ReadFile(node, config)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, text []byte) {
		if err := c.WriteFile(node, config, text); err != nil {
			t.Fatal(err)
		}
		if err := c.RestartService(ctx, node, "kubelet"); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitNode(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	set(t.Context(), bytes.Replace(before, []byte("serializeImagePulls: false"), []byte("serializeImagePulls: true"), 1))
	t.Cleanup(func() { set(context.Background(), before) })
}
