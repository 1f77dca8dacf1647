package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// installed is a cluster with the manifests applied by kubectl, and agents' pods on
// its nodes.
type installed struct {
	*world
	server     *apiServer
	kubectlBin string
	config     string
}

// install starts an API server of its own: the manifests are cluster-wide.
func install(t *testing.T) *installed {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a kube-apiserver")
	}
	api, err := startAPIServer()
	if errors.Is(err, errNoAPIServer) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.stop)
	c := &installed{world: &world{t: t, testProxy: api.proxy()}, server: api, kubectlBin: filepath.Join(api.bin, "kubectl")}
	t.Cleanup(c.testProxy.Close)
	if _, err := os.Stat(c.kubectlBin); err != nil {
		if c.kubectlBin, err = exec.LookPath("kubectl"); err != nil {
			t.Skip("no kubectl")
		}
	}
	c.config = filepath.Join(t.TempDir(), "kubeconfig")
	hosttest.Write(t, c.config, fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: %q}}]}`, api.url, api.token))
	return c
}

func (c *installed) kubectl(args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.kubectlBin, append([]string{"--kubeconfig=" + c.config, "--cache-dir=" + filepath.Dir(c.config)}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *installed) must(args ...string) {
	c.t.Helper()
	if out, err := c.kubectl(args...); err != nil {
		c.t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
}

// kustomization writes one into a directory beside a copy of the manifests.
func (c *installed) kustomization(name, text string) (dir string) {
	c.t.Helper()
	dir = filepath.Join(c.t.TempDir(), "kustomize")
	if err := os.CopyFS(filepath.Join(dir, "manifests"), os.DirFS("../manifests")); err != nil {
		c.t.Fatal(err)
	}
	return c.beside(dir, name, text)
}

func (c *installed) beside(dir, name, text string) string {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		c.t.Fatal(err)
	}
	hosttest.Write(c.t, filepath.Join(dir, name, "kustomization.yaml"), "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"+text)
	return filepath.Join(dir, name)
}

// agentUser is a user with a token of the agents' ServiceAccount.
type agentUser struct {
	*installed
	token string
	node  string
	uid   types.UID
}

// on creates a Node and an agent's pod on it, and returns the user of the pod's token.
func (c *installed) on(node string) *agentUser {
	c.t.Helper()
	c.post("/api/v1/nodes", map[string]any{"metadata": map[string]any{"name": node}})
	w := *c.world
	w.node = node
	h := &agentUser{installed: c, node: node, token: w.agentToken()}
	uid, err := w.kubeAs(c.server, h.token, "").NodeUID(c.t.Context(), node)
	if err != nil {
		c.t.Fatal(err)
	}
	h.uid = uid
	return h
}

// call makes a request with the token.
func (h *agentUser) call(method, path string, body any) (code int, answer string) {
	h.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	if method == http.MethodGet || method == http.MethodDelete {
		b = nil
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.url.String()+path, bytes.NewReader(b))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
		if strings.Contains(path, "fieldManager=") {
			req.Header.Set("Content-Type", "application/apply-patch+yaml")
		}
	}
	proxy := h.server.proxy()
	defer proxy.Close()
	proxy.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if h.token != "" {
			r.Header.Set("Authorization", "Bearer "+h.token)
		} else { // like a token that contains nothing but its user
			r.Header.Set("Impersonate-User", "system:serviceaccount:pullprobe:pullprobe")
		}
		next.ServeHTTP(w, r)
	})
	req.URL.Scheme, req.URL.Host = "http", strings.TrimPrefix(proxy.URL, "http://")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		h.t.Fatal(err)
	}
	var s metav1.Status
	if json.Unmarshal(out, &s) == nil && s.Message != "" {
		return resp.StatusCode, s.Message
	}
	return resp.StatusCode, string(out)
}

func (h *agentUser) allowed(what, method, path string, body any) {
	h.t.Helper()
	if code, answer := h.call(method, path, body); code/100 != 2 {
		h.t.Errorf("%s: %s %s: %d %s", what, method, path, code, answer)
	}
}

// byRBAC checks that RBAC refuses the request.
func (h *agentUser) byRBAC(what, method, path string, body any) {
	h.t.Helper()
	code, answer := h.call(method, path, body)
	if code != http.StatusForbidden || !strings.Contains(answer, `User "system:serviceaccount:pullprobe:pullprobe" cannot `) {
		h.t.Errorf("%s: %s %s is not refused by RBAC: %d %s", what, method, path, code, answer)
	}
}

// byPolicy checks that the admission policy refuses the request with this message.
func (h *agentUser) byPolicy(what, method, path string, body any, message string) {
	h.t.Helper()
	code, answer := h.call(method, path, body)
	if code != http.StatusForbidden || !strings.Contains(answer, "ValidatingAdmissionPolicy 'pullprobe-") || !strings.Contains(answer, message) {
		h.t.Errorf("%s: %s %s is not refused by the policy with %q: %d %s", what, method, path, message, code, answer)
	}
}

// object is a JSON object whose fields a test changes.
type object = map[string]any

// with returns the object with one field set, named by its path; nil removes it.
func with(o object, value any, path ...string) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	if len(path) > 1 {
		inner, _ := out[path[0]].(object)
		value = with(inner, value, path[1:]...)
	}
	out[path[0]] = value
	if value == nil {
		delete(out, path[0])
	}
	return out
}

const (
	tokenReviews  = "/apis/authentication.k8s.io/v1/tokenreviews"
	accessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
)

const reports = "/api/v1/namespaces/pullprobe/configmaps"

// own returns the report that the agent of the node writes.
func (h *agentUser) own() object {
	return object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": object{
			"name": report.ConfigMapName(h.node, string(h.uid)), "namespace": "pullprobe", "labels": object{report.LabelReport: "", report.LabelFault: "none", "app.kubernetes.io/name": "pullprobe"},
			"ownerReferences": []object{{"apiVersion": "v1", "kind": "Node", "name": h.node, "uid": h.uid}},
		},
		"data": object{report.SummaryKey: "well", publish.ReportKey: "{}"},
	}
}

func (h *agentUser) applyPath(name string) string {
	return reports + "/" + name + "?fieldManager=pullprobe&force=true"
}

// event returns an Event that the agent of the node writes about a pod, or about its
// Node.
func (h *agentUser) event(name string, kind string, ns string) object {
	o := object{
		"apiVersion": "v1", "kind": "Event", "metadata": object{"name": name + ".1", "namespace": ns}, "type": "Warning", "reason": "ImagePullDiagnosed", "message": "it is so",
		"involvedObject": object{"apiVersion": "v1", "kind": kind, "namespace": ns, "name": name, "uid": "1"},
		"source":         object{"component": "pullprobe", "host": h.node}, "action": "Diagnose",
		"reportingComponent": "pullprobe.dev/agent", "reportingInstance": h.node[:min(len(h.node), 128)], "eventTime": "2026-11-21T10:00:00.000000Z",
	}
	if kind == "Node" {
		o["reason"], o["involvedObject"] = "RegistryUnreachable", object{"apiVersion": "v1", "kind": "Node", "name": name, "uid": h.uid}
	}
	return o
}

// TestManifests applies the manifests to a real API server and checks what an agent's
// token may do and may not do.
func TestManifests(t *testing.T) {
	t.Parallel()
	c := install(t)
	dir := c.kustomization("bare", "resources: [../manifests/base]\ncomponents: [../manifests/components/admission-policy]\n")
	c.must("apply", "-k", dir)
	c.must("create", "namespace", "shop")
	c.must("create", "namespace", "other")
	for _, ns := range []string{"shop", "other"} {
		c.must("-n", ns, "create", "secret", "generic", "pull", "--from-literal=a=b")
		c.must("-n", ns, "create", "configmap", "settings")
	}
	a, b := c.on("node-a"), c.on("node-b")
	c.post("/api/v1/namespaces/shop/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "app", Image: "r.example/app"}}}})

	// The API server applies a new policy a little later.
	c.until("the policies hold", 30*time.Second, func() bool {
		cm, _ := a.call(http.MethodPost, reports+"?dryRun=All", with(a.own(), "probe", "metadata", "name"))
		event, _ := a.call(http.MethodPost, "/api/v1/namespaces/shop/events?dryRun=All", with(a.event("web", "Pod", "shop"), "x", "reportingInstance"))
		return cm == http.StatusForbidden && event == http.StatusForbidden
	})

	t.Run("allowed", func(t *testing.T) { c.allows(t, a, b) })
	t.Run("reads that RBAC refuses", func(t *testing.T) { c.refusesReads(t, a) })
	t.Run("writes that RBAC refuses", func(t *testing.T) { c.refusesWrites(t, a) })
	t.Run("reports that the policy refuses", func(t *testing.T) { c.refusesReports(t, a, b) })
	t.Run("Events that the policy refuses", func(t *testing.T) { c.refusesEvents(t, a, b) })
	t.Run("a token without a node", func(t *testing.T) { c.refusesNoNode(t, a) })
	t.Run("a long name", func(t *testing.T) { c.longName(t) })
	t.Run("a node named fleet", func(t *testing.T) { c.namedFleet(t) })
	t.Run("secrets of named namespaces", func(t *testing.T) { c.namedNamespaces(t, a, dir) })
	t.Run("scrapers", func(t *testing.T) { c.scrapers(t, a, dir) })
	t.Run("secrets of all namespaces", func(t *testing.T) { c.allSecrets(t, a) })
	t.Run("more rights than are needed", func(t *testing.T) { c.moreRights(t, a, b) })
	t.Run("an agent at work", func(t *testing.T) { c.atWork(t) })
	t.Run("every component", func(t *testing.T) { c.everyComponent(t, dir) })
}

// in returns the same for a subtest, which its failures then belong to.
func (c *installed) in(t *testing.T) *installed {
	w, out := *c.world, *c
	w.t, out.world = t, &w
	return &out
}

func (h *agentUser) in(t *testing.T) *agentUser {
	out := *h
	out.installed = h.installed.in(t)
	return &out
}

func (c *installed) allows(t *testing.T, a, b *agentUser) {
	c = c.in(t)
	a, b = a.in(t), b.in(t)
	a.allowed("pods of the node", http.MethodGet, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a", nil)
	a.allowed("watch them", http.MethodGet, "/api/v1/pods?watch=true&timeoutSeconds=1&fieldSelector=spec.nodeName%3Dnode-a", nil)
	answer := "fieldSelector=metadata.name%3Dsecond-opinion-node-a"
	a.allowed("the fleet's answer", http.MethodGet, reports+"?"+answer, nil)
	a.allowed("watch it", http.MethodGet, reports+"?watch=true&timeoutSeconds=1&"+answer, nil)
	a.allowed("its Node", http.MethodGet, "/api/v1/nodes/node-a", nil)
	a.allowed("its rights", http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", object{
		"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": object{"resourceAttributes": object{"verb": "get", "resource": "secrets"}},
	})

	// What the agent itself sends.
	for _, h := range []*agentUser{a, b} {
		k := h.kubeAs(h.server, h.token, "")
		cm, err := publish.Render(report.NodeReport{Schema: report.Schema, Node: h.node, Fault: report.FaultNone, Cause: report.Healthy, Time: time.Now()}, nodefacts.Facts{}, "pullprobe", h.uid, false)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // create, then update
			if _, err := k.Apply(t.Context(), cm); err != nil {
				t.Error(err)
			}
		}
		if v, err := k.ConfigMapVersion(t.Context(), "pullprobe", cm.Name); err != nil || v == "" {
			t.Errorf("its own report: %q, %v", v, err)
		}
		now := time.Now()
		events := []kube.Event{{Name: "web." + h.node, Namespace: "shop", Pod: "web", UID: "1", Reason: "ImagePullDiagnosed", Message: "m", Warning: true, First: now, Time: now, Count: 1}}
		for i, reason := range nodeReasons(t) {
			events = append(events, kube.Event{Name: fmt.Sprintf("%s.%d", h.node, i), Namespace: "default", Node: true, UID: h.uid, Reason: reason, Message: "m", First: now, Time: now, Count: 1})
		}
		for _, e := range events {
			for range 2 { // create, then update
				if err := k.ApplyEvent(t.Context(), h.node, e); err != nil {
					t.Errorf("Event %s: %v", e.Reason, err)
				}
				e.Count, e.Time, e.Message = e.Count+1, e.Time.Add(time.Minute), "another"
			}
		}
	}
	// Fields that other users set in the report do not prevent a write.
	c.must("-n", "pullprobe", "label", "configmap", "pullprobe-node-a", "team=shop")
	c.must("-n", "pullprobe", "annotate", "configmap", "pullprobe-node-a", "note=kept")
	a.allowed("beside a foreign label", http.MethodPatch, a.applyPath("pullprobe-node-a"), a.own())
}

// nodeReasons returns the reasons of Events on the Node, from the source code.
func nodeReasons(t *testing.T) (out []string) {
	t.Helper()
	text, err := os.ReadFile("sweep/announce.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`Reason(?:, e\.Warning)?(?: =|:) +"(\w+)"`).FindAllSubmatch(text, -1) {
		out = append(out, string(m[1]))
	}
	if !slices.Contains(out, "RegistryLimited") || len(out) < 7 {
		t.Fatalf("the reasons in sweep/announce.go are not found any more: %q", out)
	}
	return out
}

func (c *installed) refusesReads(t *testing.T, a *agentUser) {
	a = a.in(t)
	for what, path := range map[string]string{
		"a secret":                   "/api/v1/namespaces/shop/secrets/pull",
		"its namespace's secrets":    "/api/v1/namespaces/pullprobe/secrets",
		"a namespace's secrets":      "/api/v1/namespaces/shop/secrets",
		"all secrets":                "/api/v1/secrets",
		"watch secrets":              "/api/v1/secrets?watch=true&timeoutSeconds=1",
		"a ServiceAccount":           "/api/v1/namespaces/shop/serviceaccounts/default",
		"another namespace's":        "/api/v1/namespaces/shop/configmaps/settings",
		"the system's settings":      "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication",
		"ConfigMaps elsewhere":       "/api/v1/namespaces/shop/configmaps",
		"watch them":                 "/api/v1/configmaps?watch=true&timeoutSeconds=1",
		"all ConfigMaps":             "/api/v1/configmaps",
		"one pod":                    "/api/v1/namespaces/shop/pods/web",
		"a pod's log":                "/api/v1/namespaces/shop/pods/web/log",
		"a pod's port":               "/api/v1/namespaces/shop/pods/web/proxy/",
		"exec":                       "/api/v1/namespaces/shop/pods/web/exec?command=id",
		"attach":                     "/api/v1/namespaces/shop/pods/web/attach",
		"all nodes":                  "/api/v1/nodes",
		"watch nodes":                "/api/v1/nodes?watch=true&timeoutSeconds=1",
		"the kubelet":                "/api/v1/nodes/node-a/proxy/pods",
		"all Events":                 "/api/v1/events",
		"a namespace's Events":       "/api/v1/namespaces/shop/events",
		"DaemonSets":                 "/apis/apps/v1/namespaces/pullprobe/daemonsets",
		"who may what":               "/apis/rbac.authorization.k8s.io/v1/clusterroles",
		"the policy":                 "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullprobe-report",
		"namespaces":                 "/api/v1/namespaces",
		"leases":                     "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
		"volumes of the whole":       "/api/v1/persistentvolumes",
		"certificates signing asked": "/apis/certificates.k8s.io/v1/certificatesigningrequests",
	} {
		a.byRBAC(what, http.MethodGet, path, nil)
	}
}

func (c *installed) refusesWrites(t *testing.T, a *agentUser) {
	a = a.in(t)
	const web = "/api/v1/namespaces/shop/pods/web"
	pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "evil", "namespace": "pullprobe"}, "spec": object{"containers": []object{{"name": "a", "image": "i"}}}}
	for _, f := range []struct {
		what, method, path string
		body               any
	}{
		{"annotate a pod", http.MethodPatch, web, object{"metadata": object{"annotations": object{"a": "b"}}}},
		{"a pod's status", http.MethodPatch, web + "/status", object{"status": object{"phase": "Failed"}}},
		{"delete a pod", http.MethodDelete, web, nil},
		{"evict a pod", http.MethodPost, web + "/eviction", object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": object{"name": "web"}}},
		{"exec", http.MethodPost, web + "/exec?command=id", nil},
		{"a debugging container", http.MethodPatch, web + "/ephemeralcontainers", object{}},
		{"create a pod", http.MethodPost, "/api/v1/namespaces/pullprobe/pods", pod},
		{"bind a pod", http.MethodPost, web + "/binding", object{}},
		{"label its Node", http.MethodPatch, "/api/v1/nodes/node-a", object{"metadata": object{"labels": object{"a": "b"}}}},
		{"its Node's status", http.MethodPatch, "/api/v1/nodes/node-a/status", object{}},
		{"delete its Node", http.MethodDelete, "/api/v1/nodes/node-a", nil},
		{"its DaemonSet", http.MethodPatch, "/apis/apps/v1/namespaces/pullprobe/daemonsets/pullprobe", object{}},
		{"another token", http.MethodPost, "/api/v1/namespaces/pullprobe/serviceaccounts/pullprobe/token", object{"spec": object{}}},
		{"a secret", http.MethodPost, "/api/v1/namespaces/pullprobe/secrets", object{"metadata": object{"name": "s"}}},
		{"a ConfigMap elsewhere", http.MethodPost, "/api/v1/namespaces/shop/configmaps", object{"metadata": object{"name": "pullprobe-node-a"}}},
		{"change settings elsewhere", http.MethodPatch, "/api/v1/namespaces/shop/configmaps/settings", object{"data": object{"a": "b"}}},
		{"replace its report", http.MethodPut, reports + "/pullprobe-node-a", a.own()},
		{"delete its report", http.MethodDelete, reports + "/pullprobe-node-a", nil},
		{"delete all reports", http.MethodDelete, reports, nil},
		{"replace an Event", http.MethodPut, "/api/v1/namespaces/shop/events/web.node-a", a.event("web", "Pod", "shop")},
		{"delete an Event", http.MethodDelete, "/api/v1/namespaces/shop/events/web.node-a", nil},
		{"an Event of events.k8s.io", http.MethodPost, "/apis/events.k8s.io/v1/namespaces/shop/events", object{"metadata": object{"name": "e"}}},
		{"the policy", http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/pullprobe-report", nil},
		{"the policy's binding", http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/pullprobe-report", nil},
		{"whom a token is for", http.MethodPost, tokenReviews, object{"spec": object{"token": "t"}}},
		{"what others may do", http.MethodPost, accessReviews, object{"spec": object{"user": "admin"}}},
		{"its own rights", http.MethodPatch, rbacPath + "clusterroles/pullprobe", object{"rules": []object{{"apiGroups": []string{"*"}, "resources": []string{"*"}, "verbs": []string{"*"}}}}},
	} {
		a.byRBAC(f.what, f.method, f.path, f.body)
	}
}

func (c *installed) refusesReports(t *testing.T, a, b *agentUser) {
	c = c.in(t)
	a, b = a.in(t), b.in(t)
	const theOther, owner, labels, keys = "writes the ConfigMap pullprobe-node-a in namespace pullprobe", "belongs to this Node", "its own labels", "summary and report.json"
	meta := func(value any, path ...string) object {
		return with(a.own(), value, append([]string{"metadata"}, path...)...)
	}
	ref := func(kind, name string, uid types.UID, more ...string) object {
		r := object{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}
		for _, flag := range more {
			r[flag] = true
		}
		return meta([]object{r}, "ownerReferences")
	}
	for _, f := range []struct {
		what    string
		body    object
		message string
	}{
		{"the ConfigMap of another node", meta("pullprobe-node-b", "name"), theOther},
		{"one of any name", meta("settings", "name"), theOther},
		{"one of a name that begins so", meta("pullprobe-node-a2", "name"), theOther},
		{"one of its UID, which its short name needs not", meta("pullprobe-"+string(a.uid), "name"), theOther},
		{"the API server's own", meta("kube-root-ca.crt", "name"), theOther},
		{"owned by another Node", ref("Node", "node-b", b.uid), owner},
		{"owned by another Node of this name", ref("Node", "node-a", b.uid), owner},
		{"owned by a pod", ref("Pod", "node-a", a.uid), owner},
		{"controlled by the Node", ref("Node", "node-a", a.uid, "controller"), owner},
		{"that keeps the Node", ref("Node", "node-a", a.uid, "blockOwnerDeletion"), owner},
		{"with a foreign label", meta("x", "labels", "team2"), labels},
		{"with a foreign key", with(a.own(), "x", "data", "script.sh"), keys},
		{"with binary data", with(a.own(), object{"x": "AA=="}, "binaryData"), keys},
		{"too large", with(a.own(), strings.Repeat("x", 65<<10), "data", publish.ReportKey), "at most 64 KiB"},
		{"immutable", with(a.own(), true, "immutable"), "cannot be changed again"},
		{"with an annotation", meta("x", "annotations", "a"), "the annotation pullprobe.dev/facts and no others"},
		{"with large facts", meta(strings.Repeat("x", 4097), "annotations", nodefacts.Annotation), "at most 4 KiB"},
		{"with a finalizer", meta([]string{"example.com/keep"}, "finalizers"), "no finalizers"},
	} {
		name := f.body["metadata"].(object)["name"].(string)
		a.byPolicy("apply "+f.what, http.MethodPatch, a.applyPath(name), f.body, f.message)
		if name != "pullprobe-node-b" && name != "kube-root-ca.crt" {
			if name == "pullprobe-node-a" {
				c.must("-n", "pullprobe", "delete", "configmap", name, "--ignore-not-found", "--timeout=10s")
			}
			a.byPolicy("create "+f.what, http.MethodPost, reports, f.body, f.message)
		}
		a.allowed("its own again", http.MethodPatch, a.applyPath("pullprobe-node-a"), a.own())
	}
	// With the token of one node, the names of the other.
	b.byPolicy("another token", http.MethodPatch, b.applyPath("pullprobe-node-a"), a.own(), "writes the ConfigMap pullprobe-node-b")
	a.byPolicy("a merge patch of another's", http.MethodPatch, reports+"/pullprobe-node-b", object{"data": object{publish.ReportKey: "{}"}}, theOther)
	a.byPolicy("a name that the API server makes", http.MethodPost, reports, with(meta(nil, "name"), "pullprobe-node-a", "metadata", "generateName"), theOther)
	a.byPolicy("even on trial", http.MethodPost, reports+"?dryRun=All", meta("settings", "name"), theOther)

	a.allowed("its facts", http.MethodPatch, a.applyPath("pullprobe-node-a"), meta(strings.Repeat("x", 4096), "annotations", nodefacts.Annotation))

	// Fields of other users stay.
	c.must("-n", "pullprobe", "annotate", "configmap", "pullprobe-node-a", "team=shop")
	a.byPolicy("another's annotation", http.MethodPatch, reports+"/pullprobe-node-a", object{"metadata": object{"annotations": object{"team": nil}}}, "no others")
	a.allowed("its own beside it", http.MethodPatch, a.applyPath("pullprobe-node-a"), a.own())
	c.must("-n", "pullprobe", "label", "configmap", "pullprobe-node-a", "team=shop")
	a.byPolicy("another's label", http.MethodPatch, reports+"/pullprobe-node-a", object{"metadata": object{"labels": object{"team": nil}}}, labels)
	a.byPolicy("another's label's value", http.MethodPatch, reports+"/pullprobe-node-a", object{"metadata": object{"labels": object{"team": "x"}}}, labels)
}

func (c *installed) refusesEvents(t *testing.T, a, b *agentUser) {
	a, b = a.in(t), b.in(t)
	const signed, about = "signed by pullprobe.dev/agent, instance node-a", "no metadata but a name"
	n := 0
	refused := func(what string, h *agentUser, ns string, e object, message string) {
		t.Helper()
		n++
		e = with(e, fmt.Sprintf("refused.%d", n), "metadata", "name")
		h.byPolicy(what, http.MethodPost, "/api/v1/namespaces/"+ns+"/events", e, message)
	}
	pod := a.event("web", "Pod", "shop")
	refused("another instance", a, "shop", with(pod, "node-b", "reportingInstance"), signed)
	old := with(pod, nil, "eventTime") // of which the API server itself checks less
	refused("no instance", a, "shop", with(old, nil, "reportingInstance"), signed)
	refused("another controller", a, "shop", with(pod, "kubelet", "reportingComponent"), signed)
	refused("as the kubelet", a, "shop", with(pod, "kubelet", "source", "component"), signed)
	refused("of another host", a, "shop", with(pod, "node-b", "source", "host"), signed)
	refused("no source", a, "shop", with(pod, nil, "source"), signed)
	refused("another reason", a, "shop", with(pod, "Killing", "reason"), "the reason ImagePullDiagnosed")
	refused("a reason of Nodes", a, "shop", with(pod, "RegistryUnreachable", "reason"), "the reason ImagePullDiagnosed")
	refused("about a Deployment", a, "shop", with(with(pod, "Deployment", "involvedObject", "kind"), "apps/v1", "involvedObject", "apiVersion"), "about Pods and its own Node")
	refused("about a secret", a, "shop", with(pod, "Secret", "involvedObject", "kind"), "about Pods and its own Node")
	refused("a long message", a, "shop", with(old, strings.Repeat("x", 1025), "message"), about)
	refused("a related object", a, "shop", with(pod, object{"kind": "Pod", "name": "x"}, "related"), about)
	refused("a finalizer", a, "shop", with(pod, []string{"example.com/keep"}, "metadata", "finalizers"), about)
	refused("a label", a, "shop", with(pod, "b", "metadata", "labels", "a"), about)
	refused("another's token", b, "shop", pod, "instance node-b")

	node := a.event("node-a", "Node", "default")
	refused("on another Node", a, "default", with(with(node, "node-b", "involvedObject", "name"), b.uid, "involvedObject", "uid"), "about node node-a")
	refused("on its Node with another UID", a, "default", with(node, b.uid, "involvedObject", "uid"), "about node node-a")
	refused("on its Node, as a pod's", a, "default", with(node, "ImagePullDiagnosed", "reason"), "no such reason")
	refused("on its Node, as the kubelet's", a, "default", with(node, "NodeNotReady", "reason"), "no such reason")
	// A pod of another node cannot be distinguished from one of its own: a known limitation.
	a.allowed("on a pod that is not its own", http.MethodPost, "/api/v1/namespaces/shop/events", with(pod, "elsewhere.1", "metadata", "name"))
}

// refusesNoNode checks that the policy refuses a token without a node, and explains
// it.
func (c *installed) refusesNoNode(t *testing.T, a *agentUser) {
	a = a.in(t)
	code, body := a.do(http.MethodPost, "/api/v1/namespaces/pullprobe/serviceaccounts/pullprobe/token", "application/json", object{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": object{},
	})
	var answer struct{ Status struct{ Token string } }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status.Token == "" {
		t.Fatalf("TokenRequest: %d %s", code, body)
	}
	for what, token := range map[string]string{"a token that no pod has": answer.Status.Token, "no extra at all": ""} {
		a.token = token
		const message = "the token names no node. It must be bound to the agent's pod, on Kubernetes 1.30 or later"
		a.byPolicy(what, http.MethodPatch, a.applyPath("pullprobe-node-a"), a.own(), message)
		a.byPolicy(what, http.MethodPost, "/api/v1/namespaces/shop/events", with(a.event("web", "Pod", "shop"), "none.1", "metadata", "name"), message)
	}
}

// longName checks that the report of a node with a long name is named by its UID, and
// that the reporting instance is truncated.
func (c *installed) longName(t *testing.T) {
	h := c.in(t).on(strings.Repeat("n", 51) + strings.Repeat(".n", 99))
	h.allowed("named by the UID", http.MethodPatch, h.applyPath("pullprobe-"+string(h.uid)), h.own())
	h.allowed("an Event", http.MethodPost, "/api/v1/namespaces/shop/events", h.event("long", "Pod", "shop"))
	h.byPolicy("another's UID", http.MethodPatch, h.applyPath("pullprobe-0000"), with(h.own(), "pullprobe-0000", "metadata", "name"), "writes the ConfigMap pullprobe-"+string(h.uid))
}

// namedFleet checks that the agent of a node named "fleet" does not write the fleet's ConfigMap.
func (c *installed) namedFleet(t *testing.T) {
	h := c.in(t).on("fleet")
	h.allowed("its report", http.MethodPatch, h.applyPath("pullprobe--fleet"), h.own())
	h.byPolicy("the fleet's", http.MethodPatch, h.applyPath(report.FleetName), with(h.own(), report.FleetName, "metadata", "name"), "writes the ConfigMap pullprobe--fleet")
}

func (c *installed) namedNamespaces(t *testing.T, a *agentUser, dir string) {
	c = c.in(t)
	a = a.in(t)
	grant := c.beside(filepath.Dir(dir), "shop", "namespace: shop\ncomponents: [../manifests/components/secrets-per-namespace]\n")
	c.must("apply", "-k", grant)
	a.eventually(t, "/api/v1/namespaces/shop/secrets/pull", http.StatusOK)
	c.must("-n", "shop", "create", "serviceaccount", "web")
	a.allowed("a ServiceAccount there", http.MethodGet, "/api/v1/namespaces/shop/serviceaccounts/web", nil)
	a.byRBAC("elsewhere", http.MethodGet, "/api/v1/namespaces/other/secrets/pull", nil)
	a.byRBAC("list them", http.MethodGet, "/api/v1/namespaces/shop/secrets", nil)
	a.byRBAC("change one", http.MethodPatch, "/api/v1/namespaces/shop/secrets/pull", object{})
	c.must("delete", "-k", grant)
	a.eventually(t, "/api/v1/namespaces/shop/secrets/pull", http.StatusForbidden)
	// Without a namespace it is refused.
	loose := c.beside(filepath.Dir(dir), "loose", "components: [../manifests/components/secrets-per-namespace]\n")
	if out, err := c.kubectl("apply", "-k", loose); err == nil {
		t.Errorf("a grant for no namespace was taken: %s", out)
	}
}

func (c *installed) allSecrets(t *testing.T, a *agentUser) {
	c = c.in(t)
	a = a.in(t)
	c.must("apply", "-k", "../manifests")
	a.eventually(t, "/api/v1/namespaces/shop/secrets/pull", http.StatusOK)
	for what, path := range map[string]string{"list": "/api/v1/namespaces/shop/secrets", "list all": "/api/v1/secrets", "watch": "/api/v1/secrets?watch=true&timeoutSeconds=1", "watch one": "/api/v1/namespaces/shop/secrets?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dpull"} {
		a.byRBAC(what+" secrets", http.MethodGet, path, nil)
	}
	a.byRBAC("change a secret", http.MethodPatch, "/api/v1/namespaces/shop/secrets/pull", object{})
	a.byRBAC("delete a secret", http.MethodDelete, "/api/v1/namespaces/shop/secrets/pull", nil)
}

// scrapers checks that with the component the agent can review tokens, and that the
// role decides.
func (c *installed) scrapers(t *testing.T, a *agentUser, dir string) {
	c = c.in(t)
	a = a.in(t)
	c.must("apply", "-k", c.beside(filepath.Dir(dir), "metrics", "resources: [../manifests/base]\ncomponents: [../manifests/components/admission-policy, ../manifests/components/metrics]\n"))
	got, err := c.kubectl("-n", "pullprobe", "get", "daemonset/pullprobe", "-o", `jsonpath={.spec.template.spec.containers[0].ports[?(@.name=="metrics")].containerPort} {.spec.template.spec.containers[0].env[?(@.name=="PULLPROBE_METRICS_ADDR")].value}`)
	if err != nil || got != "9781 :9781" {
		t.Errorf("the port and the address: %q, %v", got, err)
	}
	c.must("-n", "shop", "create", "serviceaccount", "scraper")
	c.must("-n", "shop", "create", "serviceaccount", "stranger")
	c.must("create", "clusterrolebinding", "scraper", "--clusterrole=pullprobe-metrics-reader", "--serviceaccount=shop:scraper")
	k := a.kubeAs(a.server, a.token, "")
	for account, want := range map[string]int{"scraper": http.StatusOK, "stranger": http.StatusForbidden} {
		token := c.tokenFor("/api/v1/namespaces/shop/serviceaccounts/"+account, nil)
		var status int
		c.until(account+" is judged", 15*time.Second, func() bool {
			status, err = k.Authorize(t.Context(), token)
			return err == nil && status == want
		})
	}
	if status, err := k.Authorize(t.Context(), a.token); err != nil || status != http.StatusForbidden {
		t.Errorf("the agent itself: %d, %v", status, err)
	}
	a.byRBAC("a secret", http.MethodGet, "/api/v1/namespaces/shop/secrets/pull", nil)
}

// moreRights checks that rights granted beyond the manifests do not reach other
// reports or Events.
func (c *installed) moreRights(t *testing.T, a, b *agentUser) {
	c = c.in(t)
	a, b = a.in(t), b.in(t)
	c.must("create", "clusterrole", "far-too-much", "--verb=*", "--resource=configmaps,events,events.events.k8s.io")
	c.must("create", "clusterrolebinding", "far-too-much", "--clusterrole=far-too-much", "--serviceaccount=pullprobe:pullprobe")
	a.eventually(t, "/api/v1/namespaces/shop/configmaps/settings", http.StatusOK)
	a.byPolicy("another's report", http.MethodDelete, reports+"/pullprobe-node-b", nil, "deletes no ConfigMaps")
	a.byPolicy("its own report", http.MethodDelete, reports+"/pullprobe-node-a", nil, "deletes no ConfigMaps")
	a.byPolicy("all reports", http.MethodDelete, reports, nil, "deletes no ConfigMaps")
	a.byPolicy("replace another's", http.MethodPut, reports+"/pullprobe-node-b", b.own(), "pullprobe-node-a in namespace pullprobe and no other")
	a.byPolicy("in another namespace", http.MethodPost, "/api/v1/namespaces/shop/configmaps", with(a.own(), "shop", "metadata", "namespace"), "in namespace pullprobe and no other")
	a.byPolicy("settings elsewhere", http.MethodPatch, "/api/v1/namespaces/shop/configmaps/settings", object{"data": object{publish.ReportKey: "x"}}, "in namespace pullprobe and no other")
	c.post("/api/v1/namespaces/shop/events", with(with(a.event("web", "Pod", "shop"), "foreign.1", "metadata", "name"), "kubelet", "reportingComponent"))
	a.byPolicy("change another's Event", http.MethodPatch, "/api/v1/namespaces/shop/events/foreign.1", with(a.event("web", "Pod", "shop"), "foreign.1", "metadata", "name"), "only Events that it has written itself")
	a.byPolicy("change another node's Event", http.MethodPatch, "/api/v1/namespaces/shop/events/web.node-b", with(a.event("web", "Pod", "shop"), "web.node-b", "metadata", "name"), "only Events that it has written itself")
	a.byPolicy("have an Event be about another pod", http.MethodPatch, "/api/v1/namespaces/shop/events/web.node-a", object{"involvedObject": object{"name": "other"}}, "not what they are about")
	a.byPolicy("delete an Event", http.MethodDelete, "/api/v1/namespaces/shop/events/web.node-a", nil, "it deletes none")
	a.byPolicy("an Event of events.k8s.io", http.MethodPost, "/apis/events.k8s.io/v1/namespaces/shop/events", object{
		"metadata": object{"name": "new.1", "namespace": "shop"}, "regarding": object{"kind": "Pod", "namespace": "shop", "name": "web"}, "reason": "ImagePullDiagnosed", "action": "Diagnose", "type": "Normal",
		"reportingController": "pullprobe.dev/agent", "reportingInstance": "node-a", "eventTime": "2026-11-21T10:00:00.000000Z",
	}, "writes Events of core/v1")
	// It applies to no other user.
	c.must("-n", "pullprobe", "create", "configmap", "another")
	c.must("delete", "clusterrolebinding/far-too-much", "clusterrole/far-too-much")
}

// atWork checks that a whole agent works with these rights.
func (c *installed) atWork(t *testing.T) {
	h := c.in(t).on("node-c")
	h.world.node, h.ns, h.agentProxy = "node-c", "pullprobe", h.server.proxy()
	t.Cleanup(func() { h.agentProxy.CloseClientConnections(); h.agentProxy.Close() })
	h.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Set("Authorization", "Bearer "+h.token)
		next.ServeHTTP(rw, r)
	})
	h.post("/api/v1/namespaces/shop/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}, Spec: corev1.PodSpec{NodeName: "node-c", Containers: []corev1.Container{{Name: "app", Image: "UPPER/case:1"}}}})
	h.patch("/api/v1/namespaces/shop/pods/stuck/status", map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodPending, StartTime: &metav1.Time{Time: time.Now().Add(-time.Minute)},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Waiting: &backOff}}},
	}})
	stop := h.agent()
	h.until("an Event on the pod", 30*time.Second, func() bool { return len(h.eventsIn("shop", "stuck")) > 0 })
	stop()
	n, cm, ok := h.report()
	if !ok || n.Stuck != 1 || len(cm.OwnerReferences) != 1 {
		t.Errorf("the report: %v, %d stuck, owners %v", ok, n.Stuck, cm.OwnerReferences)
	}
}

// everyComponent checks that the API server accepts each component, alone and all
// together.
func (c *installed) everyComponent(t *testing.T, dir string) {
	c = c.in(t)
	list, err := filepath.Glob("../manifests/components/*")
	if err != nil || len(list) < 7 {
		t.Fatalf("%q, %v", list, err)
	}
	c.must("apply", "--dry-run=server", "-k", "../manifests/base")
	c.must("apply", "--dry-run=server", "-k", "../manifests")
	var all []string
	for _, path := range list {
		name := filepath.Base(path)
		if slices.Contains([]string{"pod-monitor", "scrape-config", "prometheus-rule"}, name) {
			continue // needs the CRDs of the Prometheus operator: TestAccepted in lab/chart
		}
		if name == "secrets-per-namespace" {
			grant := c.beside(filepath.Dir(dir), "grant", "namespace: shop\ncomponents: [../manifests/components/"+name+"]\n")
			c.must("apply", "--dry-run=server", "-k", grant)
			continue
		}
		all = append(all, "../manifests/components/"+name)
		one := c.beside(filepath.Dir(dir), "one", "resources: [../manifests/base]\ncomponents: [../manifests/components/"+name+"]\n")
		c.must("apply", "--dry-run=server", "-k", one)
	}
	whole := c.beside(filepath.Dir(dir), "all", "resources: [../manifests/base]\ncomponents: ["+strings.Join(all, ", ")+"]\n")
	c.must("apply", "--dry-run=server", "-k", whole)

	// Nothing is created in the current namespace of kubectl.
	text, err := c.kubectl("kustomize", whole)
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"ConfigMap", "DaemonSet", "ServiceAccount", "Role", "RoleBinding", "Secret", "Service"}, o.Kind) && o.Namespace == "" {
			t.Errorf("%s %s has no namespace", o.Kind, o.Name)
		}
	}
}

// eventually waits until RBAC has caught up.
func (h *agentUser) eventually(t *testing.T, path string, want int) {
	t.Helper()
	code := 0
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if code, _ = h.call(http.MethodGet, path, nil); code == want {
			return
		}
	}
	t.Fatalf("%s: %d, want %d", path, code, want)
}
