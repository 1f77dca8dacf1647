package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const all = `# a comment is no document
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/arch: arm64}
      initContainers:
      - {name: migrate, image: "r.example/migrate:1", imagePullPolicy: IfNotPresent}
      containers:
      - name: app
        image: r.example/app:1
        imagePullPolicy: Never
        resources: {limits: {cpu: 1}}
        volumeMounts: [{name: model, mountPath: /model}, {name: tmp, mountPath: /tmp}]
      volumes:
      - {name: model, image: {reference: "r.example/model:2", pullPolicy: Always}}
      - {name: tmp, emptyDir: {}}
---
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
   "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "job", "image": "r.example/job:1"}]}}}}}},
  {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "one-"},
   "spec": {"containers": [{"name": "c", "image": "r.example/one:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "r.example/debug:1", "targetContainerName": "c"}]}}]}
---
apiVersion: v1
kind: PodList
items:
- metadata: {name: listed}
  spec: {containers: [{name: c, image: "r.example/listed:1"}], nodeSelector: {kubernetes.io/os: windows, kubernetes.io/arch: amd64}}
`

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	want := []Image{
		{Name: "r.example/migrate:1", Owner: "deployment/web", Container: "migrate", Policy: "IfNotPresent", Platform: "linux/arm64"},
		{Name: "r.example/model:2", Owner: "deployment/web", Container: "app", Volume: "model", Policy: "Always", Platform: "linux/arm64"},
		{Name: "r.example/app:1", Owner: "deployment/web", Container: "app", Policy: "Never", Platform: "linux/arm64"},
		{Name: "r.example/job:1", Owner: "cronjob/nightly", Container: "job"},
		{Name: "r.example/one:1", Owner: "pod/one-", Container: "c"},
		{Name: "r.example/debug:1", Owner: "pod/one-", Container: "debug"},
		{Name: "r.example/listed:1", Owner: "pod/listed", Container: "c", Platform: "windows/amd64"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, kind := range []string{"StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController"} {
		text := "kind: " + kind + "\nmetadata: {name: it}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n"
		got, err := Read(strings.NewReader(text))
		if err != nil || len(got) != 1 || got[0].Name != "i" || got[0].Owner != strings.ToLower(kind)+"/it" {
			t.Errorf("%s: %+v %v", kind, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	const good = "kind: Pod\nspec: {containers: [{name: c, image: i}]}\n---\n"
	for _, tt := range []struct{ text, want string }{
		{"", "no images: no objects"},
		{"kind: Service\n---\nkind: ConfigMap\n", "no images: Service, ConfigMap;"},
		{good + "kind: Pod\nspec: {containers: {name: c}}\n", "document 2: Pod: spec.containers: must be a list, not a mapping"},
		{good + "# nothing\n---\nspec: [\n", "document 2: not valid YAML"},
		{good + "image: {{ .Values.image }}\n", "render it first"},
		{good + "name: x\n", "document 2: no kind"},
		{"[1, 2]", "document 1: no kind"},
		{"kind: Pod\nmetadata: {name: n}\n", "document 1: Pod: metadata.name: must be a string, not a bool"},
		{"kind: List\nitems: [{kind: Pod, spec: {}}, {spec: {}}]\n", "document 1: item 2 of the list: no kind"},
		{strings.Repeat("#", maxSize+1), "longer than 16 MiB"},
	} {
		if _, err := Read(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(all)
	f.Add("kind: List\nitems: [{kind: List, items: [{kind: Pod, spec: {containers: [{image: a}]}}]}]")
	f.Fuzz(func(t *testing.T, text string) {
		images, err := Read(strings.NewReader(text))
		if err == nil && len(images) == 0 {
			t.Error("neither images nor an error")
		}
		for _, i := range images {
			if i.Name == "" || i.Owner == "" {
				t.Errorf("%+v", i)
			}
		}
	})
}
