package agent

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	corev1 "github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

func TestSecretOfOthers(t *testing.T) {
	runs := func(namespace, uid, image string, secrets ...string) pods.Pod {
		return pods.Pod{
			Namespace: namespace, UID: types.UID(uid), Phase: corev1.PodRunning, PullSecrets: secrets,
			Containers: []pods.Container{{Image: image, Started: true}},
		}
	}
	others := []pods.Pod{
		runs("pay", "1", "auth.example/app:1", "images-pull"), runs("pay", "2", "other.example/app:1", "regcred"),
		runs("shop", "3", "auth.example/app:1", "of-a-tenant"),
	}
	for _, tt := range []struct {
		secrets        []string
		image          string
		want, registry string
	}{
		{nil, "auth.example/db:1", "images-pull", "auth.example"},
		{nil, "new.example/db:1", "", ""},
		{[]string{"ledger-pull"}, "auth.example/db:1", "images-pull", "auth.example"},
		{[]string{"regcreds"}, "auth.example/db:1", "regcred", ""}, // nearly the same name
		{[]string{"images-pull"}, "auth.example/db:1", "", ""},
		{[]string{"ledger-pull"}, "new.example/db:1", "", ""},
	} {
		c := report.Check{Evidence: map[string]string{}}
		addSecretOfOthers(&c, pods.Pod{Namespace: "pay", UID: "self", PullSecrets: tt.secrets}, tt.image, others)
		if c.Evidence[report.KeySimilarSecret] != tt.want || c.Evidence[report.KeySimilarFor] != tt.registry {
			t.Errorf("%q for %s: %v", tt.secrets, tt.image, c.Evidence)
		}
	}
}
