//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// What only a pod and its kubelet can bring about.
func TestPodCauses(t *testing.T) {
	ns := it.namespace(t)
	it.loginSecret(t, ns, "elsewhere", "other.lab", "puller", "hunter2-canary")
	it.loginSecret(t, ns, "good", "auth.lab", "puller", "s3cret")
	for _, p := range []struct {
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
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "registry.lab/app:no-such-volume"}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}}, "cluster-config TagNotFound confirmed"},
		{"no-token", podOptions{Image: "token401.lab/app:1"}, "cluster-config CredentialsMissing confirmed"},
		{"denied", podOptions{Image: "token403.lab/app:1"}, "cluster-config AccessDeniedOrMissing confirmed"},
		{"scope", podOptions{Image: "tokendenied.lab/app:1"}, "cluster-config * *"},
		{"forbidden", podOptions{Image: "forbidden.lab/app:1"}, "cluster-config * *"},
		{"hang", podOptions{Image: "hang.lab/app:1"}, "registry RegistryUnavailable likely"},
		{"hung-handshake", podOptions{Image: "rawhang.lab/app:1"}, "* TLSHandshakeFailed likely"},
		{"closed", podOptions{Image: "rawclose.lab/app:1"}, "node-infrastructure * likely"},
		{"bad-blob", podOptions{Image: "badblob.lab/bad:1"}, "registry LayerCorrupt likely"},
		{"no-blob", podOptions{Image: "noblob.lab/no:1"}, "registry LayerCorrupt *"},
	} {
		p.o.Node, p.o.Namespace, p.o.Name = nodeA, ns, p.name
		it.pod(t, p.o)
		t.Run(p.name, func(t *testing.T) {
			it.waitVerdict(t, nodeA, ns+"/"+p.name, p.want, 3*time.Minute)
		})
	}

	t.Run("not a pull problem", func(t *testing.T) {
		p := it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "no-config", Image: "registry.lab/app:1", Edit: func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nowhere"}}}}
		}})
		value := "now"
		it.annotate(t, p, &value)
		it.waitVerdict(t, nodeA, ns+"/no-config", "none NotAPullProblem *", time.Minute)
	})

	t.Run("present, and not for this pod", func(t *testing.T) {
		it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "owner", Image: "auth.lab/app:2", Secret: "good"})
		it.waitRunning(t, ns, "owner")
		it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "guest-never", Image: "auth.lab/app:2", Policy: corev1.PullNever})
		it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "guest", Image: "auth.lab/app:2", Policy: corev1.PullIfNotPresent})
		it.waitVerdict(t, nodeA, ns+"/guest-never", "cluster-config PresentNotAuthorized likely", time.Minute)
		it.waitVerdict(t, nodeA, ns+"/guest", "cluster-config PresentNotAuthorized likely", time.Minute)
	})

	t.Run("recovered", func(t *testing.T) {
		p := it.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "recovers", Image: "registry.lab/late:1", Policy: corev1.PullAlways})
		it.waitVerdict(t, nodeA, ns+"/recovers", "cluster-config RepositoryNotFound confirmed", time.Minute)
		if _, err := it.PushImage(t.Context(), lab.Image{Refs: []string{"late:1"}, Size: 1 << 10}); err != nil {
			t.Fatal(err)
		}
		value := "now"
		it.annotate(t, p, &value)
		it.waitVerdict(t, nodeA, ns+"/recovers", "none Recovered confirmed", 20*time.Second)
	})
}
