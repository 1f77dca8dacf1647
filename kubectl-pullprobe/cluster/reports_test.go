package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/report"
)

// FuzzNewReport checks that any report is either read or has a problem that is named.
func FuzzNewReport(f *testing.F) {
	f.Add("pullprobe-node-a", `{"schema":"pullprobe.dev/v1","node":"node-a","checks":[{"id":"dns"}],"diagnoses":[{"image":"a","checks":[{"id":"dns","shared":true}]}]}`)
	f.Add("pullprobe-node-a", `{"schema":"pullprobe.dev/v1","node":"node-b"}`)
	f.Add("pullprobe-0b4ff1c4-0000-4000-8000-000000000000", `{"schema":"pullprobe.dev/v1","node":"a-long-name"}`)
	f.Add("x", `{"schema":1}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		r := newReport(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"report.json": body}})
		if (r.Content == nil) != (r.Problem != "") {
			t.Errorf("content %v, problem %q", r.Content, r.Problem)
		}
		if r.Content != nil && name != report.ConfigMapName(r.Node, "") && !isUID.MatchString(nodeOf(name)) {
			t.Errorf("%s is taken for the report of %q", name, r.Node)
		}
	})
}
