package agent

import (
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/report"
)

// The newest pod of the same owner shows what its template has now.
func TestAddNewerImage(t *testing.T) {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	pod := func(namespace, owner, template, image string, minute int) pods.Pod {
		return pods.Pod{
			Namespace: namespace, Owner: pods.Owner{Name: owner}, Template: template, Created: at.Add(time.Duration(minute) * time.Minute),
			Containers: []pods.Container{{Name: "app", Image: image}},
		}
	}
	stuck := pod("shop", "deployment/web", "aa", "app:v9", 5)
	for name, tt := range map[string]struct {
		all  []pods.Pod
		want string
	}{
		"newer":             {[]pods.Pod{pod("shop", "deployment/web", "bb", "app:v10", 6)}, "app:v10"},
		"the newest":        {[]pods.Pod{pod("shop", "deployment/web", "cc", "app:v11", 7), pod("shop", "deployment/web", "bb", "app:v10", 6)}, "app:v11"},
		"older":             {[]pods.Pod{pod("shop", "deployment/web", "bb", "app:v8", 4)}, ""},
		"same template":     {[]pods.Pod{pod("shop", "deployment/web", "aa", "app:v10", 6)}, ""}, // only the pod was changed
		"same image":        {[]pods.Pod{pod("shop", "deployment/web", "bb", "app:v9", 6)}, ""},
		"rolled back":       {[]pods.Pod{pod("shop", "deployment/web", "bb", "app:v10", 6), pod("shop", "deployment/web", "aa", "app:v9", 7)}, ""},
		"another owner":     {[]pods.Pod{pod("shop", "deployment/api", "bb", "app:v10", 6)}, ""},
		"another namespace": {[]pods.Pod{pod("pay", "deployment/web", "bb", "app:v10", 6)}, ""},
	} {
		c := report.Check{Evidence: map[string]string{}}
		addNewerImage(&c, stuck, "app", append(tt.all, stuck))
		if got := c.Evidence[report.KeyNewerImage]; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
