package agent

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// accountPod creates a pod with a ServiceAccount on a node, with a volume that contains a
// token for an audience, and returns its UID. An empty audience: no volume.
func (w *world) accountPod(name, node, account, audience string) (uid string) {
	w.t.Helper()
	spec := corev1.PodSpec{
		NodeName: node, ServiceAccountName: account, Containers: []corev1.Container{{Name: "app", Image: "r.example/app"}},
	}
	if audience != "" {
		token := &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}
		spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}}},
		}}}
	}
	w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	_, body := w.do(http.MethodGet, w.podPath(name), "application/json", nil)
	var made corev1.Pod
	if err := json.Unmarshal(body, &made); err != nil {
		w.t.Fatal(err)
	}
	return string(made.UID)
}

// podToken is the content of a token.
type podToken struct {
	Aud        []string
	Exp, Iat   int64
	Kubernetes struct {
		Pod, ServiceAccount struct{ Name, UID string }
	} `json:"kubernetes.io"`
}

func decodeToken(t *testing.T, token string) (out podToken) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// tokenError waits until the error of a token request has this part. What the API server
// grants reaches its authorizers a little later.
func (w *world) tokenError(a kube.PodAccount, uid, want string, nodeRefused bool) {
	w.t.Helper()
	got, refused := "", false
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, err := a.Token(w.t.Context(), uid, "lab")
		got, refused = "", false
		if err != nil {
			got = err.Error()
		}
		var forbidden *credentials.NodeForbiddenError
		if errors.As(err, &forbidden) {
			refused = forbidden.NodeRefused
		}
		if err != nil && strings.Contains(got, want) && refused == nodeRefused {
			return
		}
	}
	w.t.Errorf("got  %q, node refused: %v\nwant %q, %v", got, refused, want, nodeRefused)
}

// grantAudience lets all nodes request tokens for the audience "lab".
func (w *world) grantAudience() {
	w.t.Helper()
	name := map[string]any{"name": w.node + "-audience"}
	w.post(rbacPath+"clusterroles", map[string]any{"metadata": name, "rules": []map[string]any{{
		"apiGroups": []string{""}, "resources": []string{"lab"}, "verbs": []string{"request-serviceaccounts-token-audience"},
	}}})
	w.post(rbacPath+"clusterrolebindings", map[string]any{
		"metadata": name,
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name["name"]},
		"subjects": []map[string]any{{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}},
	})
}

// tokenPods creates two ServiceAccounts, and pods with them on this node and on another
// one. It returns the ServiceAccount of each pod, by its name.
func (w *world) tokenPods(k *kube.Client, other string) map[string]kube.PodAccount {
	w.t.Helper()
	for _, name := range []string{"web", "foreign"} {
		w.post("/api/v1/namespaces/"+w.ns+"/serviceaccounts", map[string]any{
			"metadata": map[string]any{"name": name, "annotations": map[string]any{"lab/role": "puller"}},
		})
	}
	w.post("/api/v1/nodes", map[string]any{"metadata": map[string]any{"name": other}})
	out := map[string]kube.PodAccount{}
	for _, p := range []struct{ pod, node, account, audience string }{
		{"plain", w.node, "web", ""},
		{"volume", w.node, "web", "lab"},
		{"gone", w.node, "web", "lab"},
		{"away", other, "web", "lab"},
		{"foreign", other, "foreign", "lab"},
	} {
		out[p.pod] = kube.PodAccount{
			Client: k, Node: w.node, Namespace: w.ns, Name: p.account,
			Pod: p.pod, PodUID: w.accountPod(p.pod, p.node, p.account, p.audience),
		}
	}
	return out
}

// TestAccountToken checks with a real API server which tokens of ServiceAccounts the agent
// gets as the node, and what the error is where it gets none.
func TestAccountToken(t *testing.T) {
	w := newWorld(t)
	shared, err := sharedAPI()
	if err != nil {
		t.Fatal(err)
	}
	api, err := shared.beside("--enable-admission-plugins=NodeRestriction")
	if err != nil {
		t.Fatal(err)
	}
	w.ownsRights()
	token := w.agentToken()
	k := w.kubeAs(api, token, "")
	other := w.node + "-other"
	accounts := w.tokenPods(k, other)
	plain, volume, gone, away, foreign := accounts["plain"], accounts["volume"], accounts["gone"], accounts["away"], accounts["foreign"]
	w.tokenError(volume, "", "cannot create serviceaccounts/token in namespace "+w.ns+" (web) as node "+w.node+
		": apply manifests/components/credential-provider-tokens: it lacks impersonate:associated-node on nodes.authentication.k8s.io and "+
		"impersonate-on:associated-node:create on serviceaccounts/token in this namespace", false)
	if _, err := volume.Account(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "impersonate-on:associated-node:get on serviceaccounts") {
		t.Errorf("the ServiceAccount without permission: %v", err)
	}
	remove := w.rbac("components/credential-provider-tokens/rbac.yaml")

	var meta *credentials.AccountMetadata
	w.until("the ServiceAccount is read", 15*time.Second, func() bool {
		meta, err = volume.Account(t.Context())
		return err == nil
	})
	if meta.UID == "" || meta.Annotations["lab/role"] != "puller" {
		t.Errorf("ServiceAccount %+v", meta)
	}
	got, err := volume.Token(t.Context(), meta.UID, "lab")
	if err != nil {
		t.Fatal(err)
	}
	claims := decodeToken(t, got)
	if len(claims.Aud) != 1 || claims.Aud[0] != "lab" || claims.Exp-claims.Iat != 600 ||
		claims.Kubernetes.Pod.Name != "volume" || claims.Kubernetes.Pod.UID != volume.PodUID || claims.Kubernetes.ServiceAccount.Name != "web" {
		t.Errorf("token %+v", claims)
	}

	// What the API server refuses to the node.
	w.tokenError(plain, meta.UID, "for an audience that a volume of the pod names or that the node may request", true)
	w.tokenError(away, meta.UID, "bound to one of its pods", true)
	w.tokenError(foreign, "", "bound to one of its pods", true)
	if _, err := foreign.Account(t.Context()); err == nil || !strings.Contains(err.Error(), "only what its pods refer to") {
		t.Errorf("a ServiceAccount that no pod of the node has: %v", err)
	}
	elsewhere := away
	elsewhere.Node = other
	w.tokenError(elsewhere, meta.UID, "its token is not bound to this node", false)
	// The kubelet's own permission for an audience is the agent's as well.
	w.grantAudience()
	w.until("a token for a permitted audience", 15*time.Second, func() bool {
		_, err = plain.Token(t.Context(), meta.UID, "lab")
		return err == nil
	})
	w.tokenError(volume, "00000000-0000-0000-0000-000000000000", "deleted or replaced", false)
	w.do(http.MethodDelete, w.podPath("gone")+"?gracePeriodSeconds=0", "application/json", nil)
	w.tokenError(gone, meta.UID, "deleted or replaced", false)
	if absent, err := (kube.PodAccount{Client: k, Node: w.node, Namespace: w.ns, Name: "absent"}).Account(t.Context()); absent != nil {
		t.Errorf("a ServiceAccount that does not exist: %v, %v", absent, err)
	}

	// The agent has none of it without the node, and nothing more as the node.
	for _, r := range []kube.Right{
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: w.ns},
		{Verb: "get", Resource: "serviceaccounts", Namespace: w.ns},
		{Verb: "impersonate-on:associated-node:get", Resource: "secrets", Namespace: w.ns},
		{Verb: "impersonate-on:associated-node:create", Resource: "serviceaccounts", Namespace: w.ns},
		{Verb: "impersonate-on:associated-node:create", Resource: "pods", Namespace: w.ns},
	} {
		if ok, err := k.Allowed(t.Context(), r); ok || err != nil {
			t.Errorf("%+v: %v, %v", r, ok, err)
		}
	}
	remove()
	w.tokenError(volume, meta.UID, "it lacks", false)

	t.Run("feature off", func(t *testing.T) {
		off, err := shared.beside("--feature-gates=ConstrainedImpersonation=false")
		if err != nil {
			t.Fatal(err)
		}
		volume.Client = w.kubeAs(off, token, "")
		w.tokenError(volume, meta.UID, "as node "+w.node+": this API server has no constrained impersonation", false)
	})
}

// startKubelet starts a process that looks like a kubelet with one credential provider,
// which takes a token of a ServiceAccount and returns it as the password. It returns the
// socket of a runtime that does not answer.
func startKubelet(t *testing.T, registry string) (runtime string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "lab-token-provider"), "./cmd/credential-provider")
	build.Dir, build.Env = "../lab", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	if err := os.Link(filepath.Join(bin, "lab-token-provider"), filepath.Join(dir, "kubelet")); err != nil {
		t.Fatal(err)
	}
	hosttest.Write(t, dir+"/providers.yaml", `
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
- name: lab-token-provider
  matchImages: ["`+registry+`"]
  defaultCacheDuration: 1m
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: [returns]
  env: [{name: PROVIDER_USER, value: puller}]
  tokenAttributes: {serviceAccountTokenAudience: lab, cacheType: Token, requireServiceAccount: true}
`)
	fake := exec.Command(filepath.Join(dir, "kubelet"), "hangs",
		"--image-credential-provider-config="+dir+"/providers.yaml", "--image-credential-provider-bin-dir="+bin)
	fake.Dir, fake.Env = dir, []string{"HOME=" + dir}
	if err := fake.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = fake.Process.Kill()
		_ = fake.Wait()
	})
	examinetest.Executed(t, fake.Process.Pid)
	l, err := net.Listen("unix", filepath.Join(dir, "runtime.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// recordTokens lets the agent of this world make its requests about ServiceAccounts with its
// own token, and returns a function that returns the tokens that it got.
func (w *world) recordTokens(own string) (issued func() []string) {
	var mu sync.Mutex
	var tokens []string
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/serviceaccounts/") && !strings.Contains(r.URL.Path, "selfsubject") {
			next.ServeHTTP(rw, r)
			return
		}
		r.Header.Set("Authorization", "Bearer "+own)
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var o struct{ Status struct{ Token string } }
		if json.Unmarshal(answer.Body.Bytes(), &o) == nil && o.Status.Token != "" {
			mu.Lock()
			tokens = append(tokens, o.Status.Token)
			mu.Unlock()
		}
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes())
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(tokens)
	}
}

// echoPasswords starts a registry that refuses every request and repeats the password.
func echoPasswords(t *testing.T) (host string) {
	registry := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		for _, echo := range []string{"X-Echo", "Server", "Docker-Distribution-Api-Version"} {
			rw.Header().Set(echo, password)
		}
		rw.Header().Set("Www-Authenticate", `Basic realm="`+password+`"`)
		rw.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(rw, `{"errors":[{"code":"UNAUTHORIZED","message":%q}]}`, password)
	}))
	t.Cleanup(registry.Close)
	return strings.TrimPrefix(registry.URL, "http://")
}

// TestAgentUsesAccountToken checks that the agent runs a provider that takes a token only
// with the setting, requests one token for an examination, and shows it nowhere.
func TestAgentUsesAccountToken(t *testing.T) {
	w := newWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the agent does, to take another root directory")
	}
	host := echoPasswords(t)
	w.runtime = startKubelet(t, host)
	logged := &buffer{}
	w.logs = logged

	w.post("/api/v1/namespaces/"+w.ns+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": "web"}})
	spec := corev1.PodSpec{NodeName: w.node, ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app", Image: host + "/app:1"}}}
	w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}, Spec: spec})
	w.setWaiting("stuck", backOff)
	w.ownsRights()
	token := w.agentToken()
	issued := w.recordTokens(token)
	var a *Agent
	w.agent(func(made *Agent) {
		a = made
		s := made.live.Get()
		s.CredentialProviders = true
		made.live.Set(s)
	})
	provider := func(d report.Diagnosis) report.Check {
		return report.Find(d.Checks, "credentials/provider/lab-token-provider")
	}
	requested := func(name string) report.Diagnosis {
		w.annotate("stuck", name)
		return w.diagnosed("stuck", func(d report.Diagnosis) bool { return d.Asked == name })
	}
	if c := provider(requested("off")); c.Outcome != report.Skipped ||
		!strings.Contains(c.Summary, "the component credential-provider-tokens") {
		t.Errorf("without the setting: %s %q", c.Outcome, c.Summary)
	}
	s := a.live.Get()
	s.ProviderTokens = true
	a.live.Set(s)
	if c := provider(requested("denied")); c.Outcome != report.Skipped || !strings.Contains(c.Summary, "cannot get serviceaccounts") ||
		!strings.HasSuffix(c.Summary, "impersonate-on:associated-node:get on serviceaccounts in this namespace") {
		t.Errorf("without the permission: %s %q", c.Outcome, c.Summary)
	}
	w.rbac("components/credential-provider-tokens/rbac.yaml")
	var d report.Diagnosis
	n := 0
	w.until("the provider is run", 20*time.Second, func() bool {
		n++
		d = requested(fmt.Sprint("run-", n))
		return provider(d).Outcome == report.Pass
	})
	if c := provider(d); c.Evidence["given"] != "1" {
		t.Errorf("%s %q %v", c.Outcome, c.Summary, c.Evidence)
	}
	tokens := issued()
	if len(tokens) == 0 || len(tokens) > n {
		t.Fatalf("%d tokens were issued for %d examinations", len(tokens), n)
	}
	if got := decodeToken(t, tokens[0]); got.Kubernetes.Pod.Name != "stuck" {
		t.Errorf("the token is bound to %+v", got.Kubernetes)
	}
	_, cm, _ := w.report()
	families, err := a.metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"the report": fmt.Sprint(cm.Data), "the log": logged.String(), "the Events": fmt.Sprint(w.events("stuck"), w.nodeEvents()),
		"the metrics": fmt.Sprint(families),
	} {
		for _, token := range tokens {
			if strings.Contains(text, token[:40]) || strings.Contains(text, token[len(token)-40:]) {
				t.Errorf("%s has the token: %s", where, text)
			}
		}
	}
}
