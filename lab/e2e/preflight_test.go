//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// A preflight of a chart on three kinds of nodes: an image lacks the platform of the nodes, one
// node lacks the registry's CA, and one has too little disk. The table says so, nothing was
// pulled, and no pod is left. Then what keeps a preflight from an answer.
func TestPluginPreflight(t *testing.T) {
	skipWithoutFleet(t)
	suite.needsKubernetes(t, "1.30", "scheduling gates that are always on")
	suite.addNode(t, nodeC)
	suite.labelNode(t, nodeB, corev1.LabelTopologyZone, "zone-3") // else it is of the same kind as node-a
	p := newPreflights(t)
	t.Run("well", p.well)
	t.Run("kinds", p.kinds)
	t.Run("tenant", p.tenant)
	t.Run("interrupt", p.interrupt)
	t.Run("denied", p.denied)
	t.Run("secret", p.secret)
	t.Run("many", p.many)
	t.Run("table", p.table)
	p.nothingPulled(t)
}

// labelNode sets a label of a node until the test ends.
func (c *cluster) labelNode(t *testing.T, node, key, value string) {
	t.Helper()
	n, err := c.api.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := n.Labels[key]
	t.Cleanup(func() {
		if _, err := c.Kubectl(context.Background(), nil, "label", "node", node, key+"="+before, "--overwrite"); err != nil {
			t.Error(err)
		}
	})
	c.kubectl(t, "label", "node", node, key+"="+value, "--overwrite")
}

// preflights are what the parts of the test have in common.
type preflights struct {
	ns   string
	repo string // of images that no other test uses
	mark lab.Mark
}

// manyImages is how many images are checked at once.
const manyImages = 30

func newPreflights(t *testing.T) preflights {
	p := preflights{ns: suite.namespace(t), repo: fmt.Sprintf("preflight-%d", time.Now().UnixNano())}
	many := lab.Image{}
	for i := range manyImages {
		many.Refs = append(many.Refs, fmt.Sprintf("%s/many-%d:1", p.repo, i))
	}
	for _, image := range []lab.Image{
		{Refs: []string{p.repo + "/app:1", p.repo + "/private:1"}},
		{Refs: []string{p.repo + "/arm:1"}, Platform: "linux/arm64", Index: true},
		{Refs: []string{p.repo + "/big:latest"}, Size: 60 << 20},
		many,
	} {
		if _, err := suite.PushImage(t.Context(), image); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p.mark, err = suite.RegistryMark(); err != nil {
		t.Fatal(err)
	}
	return p
}

// deployment returns a manifest of a Deployment with a container for each image.
func (p preflights) deployment(images ...string) string {
	containers := make([]map[string]string, 0, len(images))
	for i, image := range images {
		containers = append(containers, map[string]string{"name": fmt.Sprintf("c-%d", i), "image": image})
	}
	return p.withSpec(map[string]any{"containers": containers})
}

// withSpec returns a manifest of a Deployment with pods of a specification.
func (p preflights) withSpec(spec map[string]any) string {
	labels := map[string]string{"app": "web"}
	text, _ := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]string{"name": "web"},
		"spec": map[string]any{
			"replicas": 3, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec},
		},
	})
	return string(text)
}

// run runs the command with a manifest.
func (p preflights) run(t *testing.T, manifest string, args ...string) (text string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	text, code = suite.plugin(t, append([]string{"preflight", "-f", file, "-n", p.ns}, args...)...)
	t.Logf("%v\n%s", time.Since(began).Round(time.Millisecond), text)
	p.noPods(t)
	return text, code
}

// noPods fails a test unless the namespace has no pods.
func (p preflights) noPods(t *testing.T) {
	t.Helper()
	list, err := suite.api.CoreV1().Pods(p.ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range list.Items {
		t.Errorf("pod %s is left", pod.Name)
	}
}

// image returns an image of the registry.
func (p preflights) image(name string) string { return "registry.lab/" + p.repo + "/" + name }

// nothingPulled checks the requests to the registry, and the images of the nodes.
func (p preflights) nothingPulled(t *testing.T) {
	requests, err := suite.RegistryLog("", p.mark)
	if err != nil {
		t.Fatal(err)
	}
	const most = 64 << 10 // manifests and configurations are smaller, the big layer is not
	asked := 0
	for _, q := range requests {
		if !strings.Contains(q.Path, p.repo) {
			continue
		}
		asked++
		if q.UserAgent != "pullprobe" || q.Bytes > most || q.Method != "HEAD" && q.Method != "GET" {
			t.Errorf("this is a pull: %+v", q)
		}
	}
	if asked < manyImages {
		t.Errorf("the log has %d requests", asked)
	}
	for _, node := range allThree {
		images, err := suite.Images(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range images {
			if slices.ContainsFunc(append(i.RepoTags, i.RepoDigests...), func(s string) bool { return strings.Contains(s, p.repo) }) {
				t.Errorf("%s has %v", node, i.RepoTags)
			}
		}
	}
}

// well checks a healthy manifest of several documents and kinds.
func (p preflights) well(t *testing.T) {
	manifest := p.deployment(p.image("app:1")) + "\n---\n" +
		`{apiVersion: batch/v1, kind: Job, metadata: {generateName: once-}, spec: {template: {spec: {restartPolicy: Never,
		nodeSelector: {topology.kubernetes.io/zone: zone-2}, containers: [{name: a, image: "` + p.image("big") + `"}]}}}}`
	text, code := p.run(t, manifest)
	wantPlugin(t, text, code, 0, "2 images can be pulled on 3 kinds of nodes. Nothing was pulled.",
		"Left out: 2 nodes: not matched by the pod's nodeSelector", "tag latest: nodes that pull at different times may run different images")
}

// kinds checks workloads of which controllers change the pod template, in a List. No volume is made.
func (p preflights) kinds(t *testing.T) {
	container := `{name: a, image: "` + p.image("app:1") + `", volumeMounts: [{name: data, mountPath: /data}]}`
	text, code := p.run(t, `
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {serviceName: db, selector: {matchLabels: {app: db}},
    template: {metadata: {labels: {app: db}}, spec: {containers: [`+container+`]}},
    volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}
- {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: log}, spec: {selector: {matchLabels: {app: log}},
    template: {metadata: {labels: {app: log}}, spec: {containers: [`+container+`], volumes: [{name: data, ephemeral:
      {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]}}}}
- {apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: "@daily", jobTemplate: {spec: {template:
    {spec: {restartPolicy: OnFailure, containers: [`+container+`], volumes: [{name: data, emptyDir: {}}]}}}}}}
- {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {nodeName: node-b, containers: [`+container+`], volumes: [{name: data, emptyDir: {}}]}}
`)
	wantPlugin(t, text, code, 0, "4 images can be pulled on 3 kinds of nodes", "statefulset/db", "daemonset/log", "cronjob/nightly",
		"pod/one: Left out: 2 nodes: not matched")
	claims, err := suite.api.CoreV1().PersistentVolumeClaims(p.ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(claims.Items) != 0 {
		t.Errorf("%d volume claims, %v", len(claims.Items), err)
	}
}

// tenant checks that rights in the namespace are enough, and that those who lack one are told.
func (p preflights) tenant(t *testing.T) {
	suite.kubectl(t, "create", "role", "tenant", "-n", p.ns, "--verb=create,get,delete,list", "--resource=pods,events")
	suite.kubectl(t, "create", "rolebinding", "tenant", "-n", p.ns, "--role=tenant", "--user=tenant")
	text, code := p.run(t, p.deployment(p.image("app:1")), "--as", "tenant")
	wantPlugin(t, text, code, 0, "1 image can be pulled on 3 kinds of nodes")
	text, code = p.run(t, p.deployment(p.image("app:1")), "--as", "nobody")
	wantPlugin(t, text, code, 3, "you may not list events in namespace "+p.ns)
}

// interrupt checks that Ctrl-C removes the pod.
func (p preflights) interrupt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(p.deployment("hang.lab/app:1")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	cmd := exec.CommandContext(ctx, pluginPath(t), "preflight", "-f", file, "-n", p.ns)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "KUBECONFIG="+suite.KubeconfigPath(), "KUBECACHEDIR="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	go func() {
		defer interrupt()
		if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
			list, err := suite.api.CoreV1().Pods(p.ns).List(ctx, metav1.ListOptions{})
			return err == nil && len(list.Items) > 0
		}) {
			t.Error("no pod was made")
		}
	}()
	_ = suite.RunInfraNetwork(cmd)
	if cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("%v\n%s", cmd.ProcessState, &out)
	}
	p.noPods(t)
}

// denied checks what is said where the cluster admits no such pod.
func (p preflights) denied(t *testing.T) {
	manifest := p.deployment(p.image("app:1"))
	suite.kubectl(t, "label", "namespace", p.ns, "pod-security.kubernetes.io/enforce=restricted")
	text, code := p.run(t, manifest)
	wantPlugin(t, text, code, 3, "the cluster rejects the pod, as it would reject those of the rollout", `violates PodSecurity "restricted`)
	suite.kubectl(t, "label", "namespace", p.ns, "pod-security.kubernetes.io/enforce-")

	text, code = p.run(t, p.withSpec(map[string]any{
		"serviceAccountName": "web", "containers": []any{map[string]string{"name": "a", "image": p.image("app:1")}},
	}))
	wantPlugin(t, text, code, 3, "ServiceAccount web does not exist in namespace "+p.ns)

	suite.kubectl(t, "create", "quota", "none", "-n", p.ns, "--hard=pods=0")
	if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
		q, err := suite.api.CoreV1().ResourceQuotas(p.ns).Get(ctx, "none", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0
	}) {
		t.Fatal("the quota is not in effect")
	}
	text, code = p.run(t, manifest)
	wantPlugin(t, text, code, 3, "exceeded quota: none")
	suite.kubectl(t, "delete", "quota", "none", "-n", p.ns)
}

// secret checks an image that needs a login: with a secret that does not exist, and with a good one.
func (p preflights) secret(t *testing.T) {
	skipWithoutSecrets(t)
	image := strings.Replace(p.image("private:1"), "registry.lab", "auth.lab", 1)
	manifest := p.withSpec(map[string]any{
		"containers": []any{map[string]string{"name": "a", "image": image}}, "imagePullSecrets": []any{map[string]string{"name": "regcred"}},
	})
	text, code := p.run(t, manifest)
	wantPlugin(t, text, code, 1, "PullSecretMissing", "pull secret "+p.ns+"/regcred does not exist")
	suite.loginSecret(t, p.ns, "regcred", "auth.lab", lab.User, lab.Password)
	text, code = p.run(t, manifest)
	wantPlugin(t, text, code, 0, "1 image can be pulled on 3 kinds of nodes")

	// Agents that may not read the secret do not know whether it is good.
	binding := suite.kubectl(t, "get", "clusterrolebinding", secretsBinding, "-o", "yaml")
	t.Cleanup(func() {
		if _, err := suite.Kubectl(context.Background(), strings.NewReader(binding), "create", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	suite.kubectl(t, "delete", "clusterrolebinding", secretsBinding)
	if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
		out, _ := suite.Kubectl(ctx, nil, "auth", "can-i", "get", "secrets", "-n", p.ns, "--as=system:serviceaccount:pullprobe:pullprobe")
		return strings.HasPrefix(string(out), "no")
	}) {
		t.Fatal("agents may still read secrets")
	}
	text, code = p.run(t, manifest)
	wantPlugin(t, text, code, 3, "1 of 1 image could not be checked in full")
}

// secretsBinding is what lets agents read pull secrets.
const secretsBinding = "pullprobe-secrets"

// many checks many images of one pod.
func (p preflights) many(t *testing.T) {
	var images []string
	for i := range manyImages {
		images = append(images, p.image(fmt.Sprintf("many-%d:1", i)))
	}
	text, code := p.run(t, p.deployment(images...))
	wantPlugin(t, text, code, 0, fmt.Sprintf("%d images can be pulled on 3 kinds of nodes", manyImages))
}

// table checks a chart, as helm renders it, on three nodes with two faults.
func (p preflights) table(t *testing.T) {
	suite.inject(t, nodeB, "ca-missing")
	suite.inject(t, nodeC, "disk-low")
	text, code := p.run(t, p.chart(t, p.image("app:1"), p.image("arm:1"), p.image("big:latest")))
	wantPlugin(t, text, code, 1, "3 of 3 images cannot be pulled on every kind of nodes. Nothing was pulled.")
	kinds, cells := p.cells(t, text)
	want := map[string]map[string]string{
		"app:1":      {"node-a": "ok", "node-b": "CertificateUntrusted", "node-c": "ok"},
		"arm:1":      {"node-a": "PlatformMismatch", "node-b": "CertificateUntrusted", "node-c": "PlatformMismatch"},
		"big:latest": {"node-a": "ok", "node-b": "CertificateUntrusted", "node-c": "DiskFull"},
	}
	for image, nodes := range want {
		for node, cell := range nodes {
			if got := cells[image][kinds[node]]; got != cell {
				t.Errorf("%s on %s: %q, want %q", image, node, got, cell)
			}
		}
	}
}

// chart returns a Deployment with a container for each image as helm renders it.
func (p preflights) chart(t *testing.T, images ...string) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "{apiVersion: v2, name: web, version: 0.1.0}",
		"templates/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
{{- range $i, $image := .Values.images }}
      - {name: "c-{{ $i }}", image: {{ $image }}}
{{- end }}
`,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	helm := suite.Dir().Bin("helm")
	if _, err := os.Stat(helm); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), helm, "template", "web", dir, "-n", p.ns, "--set", "images={"+strings.Join(images, ",")+"}")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// cells reads the tables of a preflight: the kind of each node, and of each image what it is on
// each kind.
func (p preflights) cells(t *testing.T, text string) (kinds map[string]string, cells map[string]map[string]string) {
	t.Helper()
	kinds, cells = map[string]string{}, map[string]map[string]string{}
	var head []string
	for line := range strings.SplitSeq(text, "\n") {
		f := columnsOf(line)
		switch {
		case len(f) > 2 && (f[0] == "IMAGE" || f[0] == "KIND"):
			head = f
		case len(f) != len(head) || len(f) == 0:
			head = nil
		case head[0] == "KIND":
			kinds[f[2]] = f[0]
		default:
			row := map[string]string{}
			for i := range f {
				row[head[i]], _, _ = strings.Cut(f[i], ",") // without the time
			}
			cells[strings.TrimPrefix(f[0], "registry.lab/"+p.repo+"/")] = row
		}
	}
	return kinds, cells
}

// columnsOf returns the cells of one line of a table.
func columnsOf(line string) (out []string) {
	for cell := range strings.SplitSeq(line, "   ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			out = append(out, cell)
		}
	}
	return out
}
