package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

const rbacPath = "/apis/rbac.authorization.k8s.io/v1/"

// rbac creates the cluster-wide objects of a file of the manifests, and returns a
// function that removes them.
func (w *world) rbac(file string) (remove func()) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join("../manifests", file))
	if err != nil {
		w.t.Fatal(err)
	}
	var made []string
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
		}
		var whole map[string]any
		if err := errors.Join(yaml.Unmarshal(doc, &o), yaml.Unmarshal(doc, &whole)); err != nil {
			w.t.Fatal(err)
		}
		path := rbacPath + strings.ToLower(o.Kind) + "s"
		w.post(path, whole)
		made = append(made, path+"/"+o.Metadata.Name)
	}
	remove = sync.OnceFunc(func() {
		for _, path := range made {
			w.do(http.MethodDelete, path, "application/json", nil)
		}
	})
	w.t.Cleanup(remove)
	return remove
}

// agentRights guards the rights of the agents' ServiceAccount: all tests share it.
var agentRights sync.Mutex

// ownsRights reserves the agents' rights for this test until it ends.
func (w *world) ownsRights() {
	agentRights.Lock()
	w.t.Cleanup(agentRights.Unlock)
}

// agentToken returns a token like the one that the kubelet mounts into the agent's pod
// on the node: of the ServiceAccount in the manifests, bound to the pod.
func (w *world) agentToken() string {
	w.t.Helper()
	const accounts = "/api/v1/namespaces/pullprobe/serviceaccounts"
	for path, name := range map[string]string{"/api/v1/namespaces": "pullprobe", accounts: "pullprobe"} {
		if code, out := w.do(http.MethodGet, path+"/"+name, "application/json", nil); code == http.StatusOK {
			continue
		} else if code != http.StatusNotFound {
			w.t.Fatalf("%d %s", code, out)
		}
		if path == accounts {
			w.do(http.MethodPost, "/api/v1/namespaces", "application/json", map[string]any{"metadata": map[string]any{"name": "pullprobe"}})
		}
		w.do(http.MethodPost, path, "application/json", map[string]any{"metadata": map[string]any{"name": name}})
	}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent-" + w.node[:min(len(w.node), 199)]}, Spec: corev1.PodSpec{
		NodeName: w.node, ServiceAccountName: "pullprobe", Containers: []corev1.Container{{Name: "agent", Image: "pullprobe"}},
	}}
	w.post("/api/v1/namespaces/pullprobe/pods", pod)
	_, body := w.do(http.MethodGet, "/api/v1/namespaces/pullprobe/pods/"+pod.Name, "application/json", nil)
	if err := json.Unmarshal(body, &pod); err != nil {
		w.t.Fatal(err)
	}
	code, body := w.do(http.MethodPost, accounts+"/pullprobe/token", "application/json", map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"spec": map[string]any{"boundObjectRef": map[string]any{"kind": "Pod", "apiVersion": "v1", "name": pod.Name, "uid": pod.UID}},
	})
	var answer struct{ Status struct{ Token string } }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status.Token == "" {
		w.t.Fatalf("TokenRequest: %d %s", code, body)
	}
	return answer.Status.Token
}

// kubeconfig writes a file that names a server and no user.
func kubeconfig(t testing.TB, server string) string {
	return kubeconfigWith(t, fmt.Sprintf("server: %q", server), "")
}

// kubeconfigWith writes a file with a cluster and a user, each a YAML mapping on one
// line.
func kubeconfigWith(t testing.TB, cluster, user string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	hosttest.Write(
		t,
		file,
		fmt.Sprintf(
			"apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {%s}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\nusers: [{name: u, user: {%s}}]\n",
			cluster,
			user,
		),
	)
	return file
}

// kubeAs returns a client for an API server with this token, which reads as a node.
func (w *world) kubeAs(api *apiServer, token, node string) *kube.Client {
	w.t.Helper()
	proxy := api.proxy()
	w.t.Cleanup(proxy.Close)
	proxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Set("Authorization", "Bearer "+token)
		next.ServeHTTP(rw, r)
	})
	k, err := kube.New(kubeconfig(w.t, proxy.URL), "test", node)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// reads waits until reading a secret has this result: "read", "absent", or a part of
// the error. What the API server grants reaches its authorizers a little later.
func (w *world) reads(k *kube.Client, name, want string) {
	w.t.Helper()
	got := ""
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		f := k.Secret(w.t.Context(), w.ns, name)
		var forbidden *credentials.ForbiddenError
		switch {
		case f.Secret != nil:
			got = "read"
		case f.Err == nil:
			got = "absent"
		case errors.As(f.Err, &forbidden):
			got = f.Err.Error()
		default:
			w.t.Fatalf("secret %s: %v", name, f.Err)
		}
		if got == want || len(want) > 10 && strings.Contains(got, want) {
			return
		}
	}
	w.t.Errorf("secret %s:\ngot  %s\nwant %s", name, got, want)
}

// hold creates a pull secret for a server.
func (w *world) hold(name, server string) {
	w.t.Helper()
	s := pullSecret(name, server)
	s.Namespace = ""
	w.post("/api/v1/namespaces/"+w.ns+"/secrets", s)
}

// TestReadAsNode checks with a real API server what its Node authorizer and
// constrained impersonation let the agent read, and what the error is where they do
// not.
func TestReadAsNode(t *testing.T) {
	w := newWorld(t)
	api, err := sharedAPI()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"here", "there", "late"} {
		w.hold(name, "r.example")
	}
	w.post(
		"/api/v1/namespaces/"+w.ns+"/serviceaccounts",
		map[string]any{"metadata": map[string]any{"name": "web"}, "imagePullSecrets": []map[string]any{{"name": "late"}}},
	)
	other := w.node + "-other"
	w.post("/api/v1/nodes", map[string]any{"metadata": map[string]any{"name": other}})
	for node, secrets := range map[string][]string{w.node: {"here", "gone"}, other: {"there"}} {
		spec := corev1.PodSpec{
			NodeName:           node,
			ServiceAccountName: "web",
			Containers:         []corev1.Container{{Name: "app", Image: "r.example/app"}},
		}
		for _, s := range secrets {
			spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
		w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "on-" + node}, Spec: spec})
	}
	w.ownsRights()
	token := w.agentToken()
	k := w.kubeAs(api, token, w.node)
	const toBe, toGet = "impersonate:associated-node on nodes.authentication.k8s.io", "impersonate-on:associated-node:get on secrets in this namespace"

	w.reads(k, "here", "as node "+w.node+": it lacks "+toBe+" and "+toGet)
	removeOwn := w.rbac("components/secrets/rbac.yaml")
	w.reads(k, "here", "read") // falls back to its own right
	w.reads(k, "there", "read")
	removeOwn()
	w.reads(k, "here", toBe)

	asNode := w.rbac("components/read-as-node/rbac.yaml")
	w.reads(k, "here", "read")
	w.reads(k, "gone", "absent")
	w.reads(k, "there", "lets a node read only what its pods refer to")
	w.reads(k, "late", "lets a node read only what its pods refer to")
	if listed, err := k.ServiceAccountSecrets(t.Context(), w.ns, "web"); err != nil || len(listed) != 1 {
		t.Errorf("the ServiceAccount of a pod of the node: %v, %v", listed, err)
	}
	if _, err := k.ServiceAccountSecrets(t.Context(), w.ns, "default"); err == nil ||
		!strings.Contains(err.Error(), "get serviceaccounts") {
		t.Errorf("a ServiceAccount that no pod of the node has: %v", err)
	}
	// Nor can it be another node, whose pod refers to the secret.
	if f := w.kubeAs(api, token, other).Secret(t.Context(), w.ns, "there"); f.Err == nil || f.Secret != nil {
		t.Errorf("read as another node: %+v", f)
	}
	// As the node it may get, and nothing else.
	for _, verb := range []string{"list", "watch", "create", "update", "patch", "delete"} {
		if ok, err := k.Allowed(t.Context(), kube.Right{Verb: "impersonate-on:associated-node:" + verb, Resource: "secrets", Namespace: w.ns}); ok ||
			err != nil {
			t.Errorf("%s as the node: %v, %v", verb, ok, err)
		}
	}
	removeOwn = w.rbac("components/secrets/rbac.yaml")
	w.reads(k, "late", "read") // both components: the rest with its own right

	t.Run("feature off", func(t *testing.T) {
		off, err := api.beside("--feature-gates=ConstrainedImpersonation=false")
		if err != nil {
			t.Fatal(err)
		}
		k := w.kubeAs(off, token, w.node)
		w.reads(k, "here", "read") // with its own right
		removeOwn()
		w.reads(k, "here", "this API server has no constrained impersonation")
	})

	asNode()
	w.rbac("components/read-as-node/rbac.yaml")
	w.patch(rbacPath+"clusterroles/pullprobe-read-as-node", map[string]any{"rules": []map[string]any{
		{"apiGroups": []string{"authentication.k8s.io"}, "resources": []string{"nodes"}, "verbs": []string{"impersonate:associated-node"}},
	}})
	w.reads(k, "there", "as node "+w.node+": it lacks "+toGet)
}

// TestAgentReadsAsNode checks that the agent reads secrets and ServiceAccounts as the
// node, and nothing else, and that the check names what is missing where it may not.
func TestAgentReadsAsNode(t *testing.T) {
	w := newWorld(t)
	api, err := sharedAPI()
	if err != nil {
		t.Fatal(err)
	}
	images := examinetest.StartImages(t)
	w.hold("regcred", strings.TrimPrefix(images.URL, "http://"))
	w.ownsRights()
	token := w.agentToken()
	var mu sync.Mutex
	as := map[string]bool{}
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if user := r.Header.Get(transport.ImpersonateUserHeader); user != "" {
			mu.Lock()
			as[r.Method+" "+strings.Split(r.URL.Path+"////", "/")[5]+" as "+user] = true
			mu.Unlock()
		}
		if strings.Contains(r.URL.Path, "/secrets/") || strings.Contains(r.URL.Path, "selfsubject") {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		next.ServeHTTP(rw, r)
	})
	w.agent(func(a *Agent) { a.kube.AsNode = w.node })
	w.pod("stuck", images.Absent(), backOff, "regcred")
	d := w.diagnosed("stuck", anyDiagnosis)
	if c := report.Find(d.Checks, "credentials"); c.Outcome != report.Skipped ||
		!strings.Contains(c.Summary, "impersonate-on:associated-node:get on secrets") {
		t.Errorf("without the permission: %s %q", c.Outcome, c.Summary)
	}
	w.rbac("components/read-as-node/rbac.yaml")
	w.reads(w.kubeAs(api, token, w.node), "regcred", "read")
	w.annotate("stuck", "again")
	d = w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Asked == "again" })
	if c := report.Find(d.Checks, "credentials"); c.Outcome != report.Pass || c.Evidence["source"] != "secret "+w.ns+"/regcred" {
		t.Errorf("with the permission: %s %q %v", c.Outcome, c.Summary, c.Evidence)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "GET secrets as system:node:" + w.node; len(as) != 1 || !as[want] {
		t.Errorf("requests as another user: %v, want %s alone", as, want)
	}
}

// TestReadAsNodeComponent checks that the component sets the option read-as-node.
func TestReadAsNodeComponent(t *testing.T) {
	text, err := os.ReadFile("../manifests/components/read-as-node/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set appsDaemonSet
	if err := yaml.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"NODE_NAME": "node-a"}
	for _, v := range set.Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
	}
	opts, err := config.Parse(nil, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(
		config.Options{
			NodeName:        "node-a",
			ReadAsNode:      opts.ReadAsNode,
			Kubeconfig:      kubeconfig(t, "http://127.0.0.1:1"),
			RuntimeEndpoint: opts.RuntimeEndpoint,
		},
		slog.New(slog.DiscardHandler),
	)
	if err != nil {
		t.Fatal(err)
	}
	if a.kube.AsNode != "node-a" {
		t.Errorf("reads as %q", a.kube.AsNode)
	}
}

// appsDaemonSet is the part of a DaemonSet (apps/v1) that matters here.
type appsDaemonSet struct {
	Spec struct{ Template corev1.PodTemplateSpec }
}
