//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/lab"
)

// The kubelet's way through credentials, seen three times: what its source says
// (the table), what the registries' access log shows it did, and what pullprobe
// says it does. All three must be the same.

// way is one combination of places that may hold credentials.
type way struct {
	name    string
	host    string   // empty: auth.lab
	repo    string   // first part of the repository; empty: creds
	secrets []held   // that exist in the namespace
	names   []string // of the secrets that the pod lists; nil: those of secrets that account does not list
	account []string // secrets that the ServiceAccount lists before the pod is made
	later   []string // and that it lists when the pod is stuck already
	hosts   string   // hosts.toml of the registry

	tries string // who is tried, in order: users, "nobody" without credentials, "nothing" if no registry is asked
	pulls bool
	cause string // of pullprobe's verdict on what does not pull; empty: any
}

// held is a pull secret.
type held struct {
	name  string
	typ   corev1.SecretType
	key   string
	data  string
	users map[string]string // by server as pullprobe shows it
}

// entry is one server of a docker configuration.
type entry struct{ server, user, form string }

// The users that are tried are told apart in the registries' log. One is good.
const good = lab.User

func password(user string) string {
	if user == good {
		return lab.Password
	}
	return "hunter2-canary"
}

// shown is a server as pullprobe shows it: its key in the kubelet's keyring.
func shown(server string) string {
	for _, scheme := range []string{"https://", "http://"} {
		server = strings.TrimPrefix(server, scheme)
	}
	for _, version := range []string{"/v1/", "/v2/"} {
		server = strings.Replace(server, version, "/", 1)
	}
	return strings.TrimSuffix(server, "/")
}

func dockerConfig(entries ...entry) (string, map[string]string) {
	auths, users := map[string]any{}, map[string]string{}
	for _, e := range entries {
		pair := e.user + ":" + password(e.user)
		fields := map[string]any{}
		switch e.form {
		case "":
			fields["username"], fields["password"] = e.user, password(e.user)
		case "auth":
			fields["auth"] = base64.StdEncoding.EncodeToString([]byte(pair))
		case "unpadded":
			fields["auth"] = base64.RawStdEncoding.EncodeToString([]byte(pair))
		case "both":
			fields["auth"] = base64.StdEncoding.EncodeToString([]byte(pair))
			fields["username"], fields["password"] = "unused", "hunter2-canary"
		case "identity":
			fields["identitytoken"] = "hunter2-canary"
		case "undecodable":
			fields["auth"] = "!" + pair
		}
		auths[e.server] = fields
		users[shown(e.server)] = e.user
	}
	b, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return string(b), users
}

func secretFor(name string, entries ...entry) held {
	data, users := dockerConfig(entries...)
	return held{name: name, typ: corev1.SecretTypeDockerConfigJson, key: corev1.DockerConfigJsonKey, data: data, users: users}
}

func one(server, user string) []held { return []held{secretFor("one", entry{server, user, ""})} }

func legacy(server, user string) []held {
	data, users := dockerConfig(entry{server, user, "auth"})
	data = strings.TrimSuffix(strings.TrimPrefix(data, `{"auths":`), "}")
	return []held{{name: "one", typ: corev1.SecretTypeDockercfg, key: corev1.DockerConfigKey, data: data, users: users}}
}

func opaque(server, user string) []held {
	data, _ := dockerConfig(entry{server, user, ""})
	return []held{{name: "one", typ: corev1.SecretTypeOpaque, key: corev1.DockerConfigJsonKey, data: data}}
}

// podWays need nothing of the node.
var podWays = []way{
	{name: "open-without", host: "registry.lab", tries: "nobody", pulls: true},
	{name: "without", tries: "nobody", cause: "CredentialsMissing"},
	{name: "good", secrets: one("auth.lab", good), tries: good, pulls: true},
	{name: "wrong", secrets: one("auth.lab", "wrong"), tries: "wrong", cause: "CredentialsRejected"},
	{name: "wrong-then-good", secrets: []held{secretFor("a", entry{"auth.lab", "wrong", ""}), secretFor("b", entry{"auth.lab", good, ""})}, tries: "wrong " + good, pulls: true},
	{name: "good-then-wrong", secrets: []held{secretFor("a", entry{"auth.lab", good, ""}), secretFor("b", entry{"auth.lab", "wrong", ""})}, tries: good, pulls: true},
	{name: "pods-order-not-names", secrets: []held{secretFor("z", entry{"auth.lab", "first", ""}), secretFor("a", entry{"auth.lab", "second", ""})}, tries: "first second", cause: "CredentialsRejected"},
	{name: "path-before-host", secrets: []held{secretFor("a", entry{"auth.lab", "wrong", ""}), secretFor("b", entry{"auth.lab/creds", good, ""})}, tries: good, pulls: true},
	{name: "wrong-path-then-host", secrets: []held{secretFor("a", entry{"auth.lab", good, ""}), secretFor("b", entry{"auth.lab/creds", "wrong", ""})}, tries: "wrong " + good, pulls: true},
	{name: "one-secret-two-servers", secrets: []held{secretFor("one", entry{"auth.lab", good, ""}, entry{"auth.lab/creds", "wrong", ""})}, tries: "wrong " + good, pulls: true},
	{name: "path-is-text", secrets: one("auth.lab/cre", good), tries: good, pulls: true},
	{name: "other-path", secrets: one("auth.lab/other", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "https", secrets: one("https://auth.lab", good), tries: good, pulls: true},
	{name: "http", secrets: one("http://auth.lab", good), tries: good, pulls: true},
	{name: "https-v2-slash", secrets: one("https://auth.lab/v2/", good), tries: good, pulls: true},
	{name: "https-v1-slash-path", secrets: one("https://auth.lab/v1/creds", good), tries: good, pulls: true},
	{name: "v2-without-slash", secrets: one("https://auth.lab/v2", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "port-443", secrets: one("auth.lab:443", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "capitals", secrets: one("AUTH.lab", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "glob", secrets: one("*.lab", good), tries: good, pulls: true},
	{name: "glob-inside", secrets: one("au*h.lab", good), tries: good, pulls: true},
	{name: "glob-too-long", secrets: one("*.*.lab", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "exact-before-glob", secrets: []held{secretFor("a", entry{"*.lab", good, ""}), secretFor("b", entry{"auth.lab", "wrong", ""})}, tries: "wrong " + good, pulls: true},
	{name: "auth", secrets: []held{secretFor("one", entry{"auth.lab", good, "auth"})}, tries: good, pulls: true},
	{name: "auth-unpadded", secrets: []held{secretFor("one", entry{"auth.lab", good, "unpadded"})}, tries: good, pulls: true},
	{name: "auth-wins", secrets: []held{secretFor("one", entry{"auth.lab", good, "both"})}, tries: good, pulls: true},
	{name: "identity-token", secrets: []held{secretFor("one", entry{"auth.lab", "nobody", "identity"})}, tries: "nobody", cause: "CredentialsMissing"},
	{name: "legacy", secrets: legacy("https://auth.lab", good), tries: good, pulls: true},
	{name: "opaque", secrets: opaque("auth.lab", good), tries: "nobody", cause: "PullSecretMalformed"},
	{name: "undecodable", secrets: []held{secretFor("one", entry{"auth.lab", good, "undecodable"})}, tries: "nothing", cause: "PullSecretMalformed"},
	{name: "undecodable-elsewhere", secrets: []held{secretFor("a", entry{"auth.lab", good, ""}), secretFor("b", entry{"other.lab", "x", "undecodable"})}, tries: "nothing", cause: "PullSecretMalformed"},
	{name: "wrong-headers", secrets: []held{{name: "one", typ: corev1.SecretTypeDockerConfigJson, key: corev1.DockerConfigJsonKey, data: `{"auths":{},"HttpHeaders":{"X":["y"]}}`}}, tries: "nothing", cause: "PullSecretMalformed"},
	{name: "absent", names: []string{"absent"}, tries: "nobody", cause: "PullSecretMissing"},
	{name: "absent-and-good", secrets: one("auth.lab", good), names: []string{"absent", "one"}, tries: good, pulls: true},
	{name: "other-registry", secrets: one("registry.lab", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "public-without", host: "token.lab", repo: "public", tries: "nobody", pulls: true},
	{name: "public-with-stale", host: "token.lab", repo: "public", secrets: one("token.lab", "stale"), tries: "stale", cause: "CredentialsRejected"},
	{name: "token-wrong-then-good", host: "token.lab", secrets: []held{secretFor("a", entry{"token.lab", "wrong", ""}), secretFor("b", entry{"token.lab", good, ""})}, tries: "wrong " + good, pulls: true},
	{name: "token-port-is-the-services", host: "token.lab", secrets: one("token.lab:5001", good), tries: "nobody", cause: "PullSecretOtherRegistry"},
	{name: "account", secrets: one("auth.lab", good), names: []string{}, account: []string{"one"}, tries: good, pulls: true},
	{name: "account-and-own", secrets: []held{secretFor("own", entry{"other.lab", "x", ""}), secretFor("one", entry{"auth.lab", good, ""})}, names: []string{"own"}, account: []string{"one"}, tries: "nobody", cause: "PullSecretNotAttached"},
	{name: "account-later", secrets: one("auth.lab", good), names: []string{}, later: []string{"one"}, tries: "nobody", cause: "PullSecretNotAttached"},
	{name: "mirror", secrets: one("auth.lab", "wrong"), hosts: "server = \"https://auth.lab\"\n[host.\"https://token.lab\"]\n  capabilities = [\"pull\", \"resolve\"]\n", tries: "wrong"},
}

// A docker configuration file of the node. The kubelet keeps what it read of it
// for five minutes, so it is started anew.
func TestWaysOfNodeFiles(t *testing.T) {
	needsSecrets(t)
	it.on(t, nodeB)
	node, users := dockerConfig(entry{"auth.lab", good, ""})
	broken, _ := dockerConfig(entry{"auth.lab", "never", ""}, entry{"other.lab", "x", "undecodable"})
	for _, tt := range []struct {
		name  string
		files map[string]string
		ways  []way
	}{
		{"good", map[string]string{"config.json": node}, []way{
			{name: "node-alone", tries: good, pulls: true},
			{name: "node-after-pods", secrets: one("auth.lab", "wrong"), tries: "wrong " + good, pulls: true},
			{name: "pods-alone-is-enough", secrets: one("auth.lab/creds", good), tries: good, pulls: true},
			{name: "node-beside-other-registry", secrets: one("other.lab", "x"), tries: good, pulls: true},
			{name: "node-cannot-help-undecodable", secrets: []held{secretFor("one", entry{"auth.lab", "x", "undecodable"})}, tries: "nothing", cause: "PullSecretMalformed"},
		}},
		{"broken, then legacy", map[string]string{"config.json": broken, ".dockercfg": strings.TrimSuffix(strings.TrimPrefix(node, `{"auths":`), "}")}, []way{
			{name: "node-legacy", tries: good, pulls: true},
		}},
		{"empty hides legacy", map[string]string{"config.json": "{}", ".dockercfg": strings.TrimSuffix(strings.TrimPrefix(node, `{"auths":`), "}")}, []way{
			{name: "node-empty", tries: "nobody", cause: "CredentialsMissing"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				for name := range tt.files {
					if err := it.RemoveFile(nodeB, "/var/lib/kubelet/"+name); err != nil {
						t.Error(err)
					}
				}
				if err := it.RestartService(ctx, nodeB, "kubelet"); err != nil {
					t.Error(err)
				}
			})
			for name, text := range tt.files {
				if err := it.WriteFile(nodeB, "/var/lib/kubelet/"+name, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := it.RestartService(t.Context(), nodeB, "kubelet"); err != nil {
				t.Fatal(err)
			}
			it.walkAll(t, nodeB, tt.ways, users)
		})
	}
}

// With the agents running credential providers: the ways of pods on one node, and
// on the other what providers do and how they fail. A provider that hangs costs
// the kubelet a minute, in which all else is looked at.
func TestWithProviders(t *testing.T) {
	it.agentsWith(t, runProviders, "PULLPROBE_LOG_LEVEL=debug")
	canaries := func(t *testing.T) { testCanaries(t, nodeA) }
	if !*secrets {
		t.Run("canaries", canaries)
		return
	}
	if !*providers {
		t.Run("pods", func(t *testing.T) { it.walkAll(t, nodeA, podWays, nil) })
		t.Run("canaries", canaries)
		testLogins(t)
		it.withoutProviders(t)
		return
	}
	setMode(t, "hangs")
	hangs := it.setOut(t, nodeB, it.namespace(t), way{name: "provider-hangs", repo: "provider", tries: "nobody", cause: providerFailed}, nil)
	if !it.eventually(t, 30*time.Second, func(context.Context) bool {
		pids, err := it.PIDs(nodeB, "lab-provider")
		return err == nil && len(pids) > 0
	}) {
		t.Fatal("the kubelet does not run the provider")
	}
	t.Run("meanwhile", func(t *testing.T) {
		t.Run("pods", func(t *testing.T) {
			t.Parallel()
			it.walkAll(t, nodeA, podWays, nil)
			t.Run("canaries", canaries)
		})
		t.Run("providers", func(t *testing.T) {
			t.Parallel()
			testProviders(t)
			testLogins(t)
		})
	})
	t.Run("hangs", func(t *testing.T) {
		setMode(t, "hangs")
		t.Cleanup(func() { setMode(t, "nothing") })
		it.mustArrive(t, hangs)
	})
}

const providerFailed = "CredentialProviderFailed"

// setMode says what node-b's credential providers do from now on.
func setMode(t testing.TB, mode string) {
	t.Helper()
	if err := it.WriteFile(nodeB, lab.ProviderMode, []byte(mode)); err != nil {
		t.Fatal(err)
	}
}

// testProviders has providers work and fail, each in turn.
func testProviders(t *testing.T) {
	wrong := one("auth.lab", "wrong")
	for mode, ways := range map[string][]way{
		"works": {
			{name: "provider", repo: "provider", tries: good, pulls: true},
			{name: "provider-after-pods", repo: "provider", secrets: wrong, tries: "wrong " + good, pulls: true},
			{name: "provider-of-another-repository", tries: "nobody", cause: "CredentialsMissing"},
			{name: "provider-by-token", host: "token.lab", repo: "provider", tries: good, pulls: true},
		},
		"nothing":  {{name: "provider-nothing", repo: "provider", tries: "nobody", cause: "CredentialsMissing"}},
		"exit":     {{name: "provider-exit", repo: "provider", tries: "nobody", cause: providerFailed}, {name: "provider-exit-after-pods", repo: "provider", secrets: one("auth.lab", good), tries: good, pulls: true}},
		"garbage":  {{name: "provider-garbage", repo: "provider", tries: "nobody", cause: providerFailed}},
		"version":  {{name: "provider-version", repo: "provider", tries: "nobody", cause: providerFailed}},
		"cachekey": {{name: "provider-cachekey", repo: "provider", tries: "nobody", cause: providerFailed}},
		"unknown":  {{name: "provider-unknown-field", repo: "provider", tries: "nobody", cause: providerFailed}},
	} {
		t.Run(mode, func(t *testing.T) {
			setMode(t, mode)
			t.Cleanup(func() { setMode(t, "nothing") })
			it.walkAll(t, nodeB, ways, nil)
		})
	}
	t.Run("needs a token", func(t *testing.T) {
		ns := it.namespace(t)
		image := it.imageAt(t, "auth.lab", "token-provider/app")
		it.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: image})
		d := it.waitVerdict(t, nodeB, ns+"/waits", "* * *", time.Minute)
		if outcome, summary, _ := d.check("credentials/provider/lab-token-provider"); outcome != "skipped" || !strings.Contains(summary, textNeedsToken) {
			t.Errorf("%s %q", outcome, summary)
		}
	})
}

// Without the component no provider is run, and that is said.
func TestProvidersNotSwitchedOn(t *testing.T) { it.withoutProviders(t) }

// withoutProviders holds what is said of a provider that is not run.
func (c *cluster) withoutProviders(t *testing.T) {
	t.Helper()
	ns := it.namespace(t)
	it.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: it.imageAt(t, "auth.lab", "provider/off")})
	d := it.waitVerdict(t, nodeB, ns+"/waits", "* * *", time.Minute)
	outcome, summary, evidence := d.check("credentials")
	if outcome != "skipped" || evidence["providerNotRun"] != "lab-provider" || !strings.Contains(summary, "lab-provider") || d.Verdict.Confidence == "confirmed" {
		t.Errorf("%s: credentials %s %q\n%s", d, outcome, summary, d.explain())
	}
}

// containerd's own credentials count only where the kubelet has none.
func TestWaysOfContainerd(t *testing.T) {
	needsSecrets(t)
	it.on(t, nodeB)
	const file = "/etc/containerd/config.toml"
	before, err := it.ReadFile(nodeB, file)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, text string) {
		if err := it.WriteFile(nodeB, file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := it.RestartContainerd(ctx, nodeB); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		set(ctx, string(before))
	})
	set(t.Context(), string(before)+fmt.Sprintf("\n[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"auth.lab\".auth]\n  username = %q\n  password = %q\n", good, lab.Password))
	it.walkAll(t, nodeB, []way{
		{name: "containerds-own", tries: good, pulls: true},
		{name: "containerds-own-counts-for-nothing", secrets: one("auth.lab", "wrong"), tries: "wrong", cause: "CredentialsRejected"},
	}, nil)
}

// runProviders is the setting of agents that run credential providers.
const runProviders = "PULLPROBE_CREDENTIAL_PROVIDERS=true"

// agentsWith gives the agents settings, as NAME=VALUE, until the test ends.
func (c *cluster) agentsWith(t *testing.T, settings ...string) {
	t.Helper()
	set := func(values []string) [][]string {
		return [][]string{
			append([]string{"-n", agentNamespace, "set", "env", "daemonset/pullprobe"}, values...),
			{"-n", agentNamespace, "rollout", "status", "daemonset/pullprobe", "--timeout=120s"},
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for _, args := range set(each(settings, func(s string) string { return strings.Split(s, "=")[0] + "-" })) {
			if out, err := c.Kubectl(ctx, nil, args...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	for _, args := range set(settings) {
		c.kubectl(t, args...)
	}
}

// imageAt pushes an image of its own, which no node has.
func (c *cluster) imageAt(t *testing.T, host, repository string) string {
	t.Helper()
	ref := host + "/" + repository + ":1"
	if _, err := c.PushImage(t.Context(), lab.Image{Refs: []string{ref}, Runs: true}); err != nil {
		t.Fatal(err)
	}
	return ref
}

// abreast is how many ways are gone at a time: the report of a node has room for
// all checks of few pods.
const abreast = 3

// walkAll goes each way; those that change the node's files one after the other.
// nodeUsers are the users of the node's own file, by server.
func (c *cluster) walkAll(t *testing.T, node string, ways []way, nodeUsers map[string]string) {
	t.Helper()
	ns := c.namespace(t)
	alone := func(w way) bool { return w.hosts != "" }
	places := make(chan struct{}, abreast)
	t.Run("ways", func(t *testing.T) {
		for _, w := range ways {
			if alone(w) {
				continue
			}
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				c.walk(t, node, ns, w, nodeUsers)
			})
		}
	})
	for _, w := range ways {
		if alone(w) {
			t.Run(w.name, func(t *testing.T) { c.walk(t, node, ns, w, nodeUsers) })
		}
	}
}

// walk goes a way, and goes it once more if it came out otherwise: a kubelet
// that does not get a secret within a second goes on without it, and the next
// time does not. What came out first is told.
func (c *cluster) walk(t *testing.T, node, ns string, w way, nodeUsers map[string]string) {
	t.Helper()
	first := c.setOut(t, node, ns, w, nodeUsers)
	wrong := c.arrive(t, first)
	if len(wrong) == 0 {
		return
	}
	t.Logf("first try of %s: %s", w.name, strings.Join(wrong, "\n"))
	events, _ := c.Kubectl(t.Context(), nil, "describe", "pod", "-n", ns, w.name)
	t.Logf("%s", events)
	w.name += "-again"
	c.mustArrive(t, c.setOut(t, node, ns, w, nodeUsers))
}

// mustArrive fails the test for all that is other than the way says.
func (c *cluster) mustArrive(t *testing.T, w walker) {
	t.Helper()
	for _, problem := range c.arrive(t, w) {
		t.Error(problem)
	}
}

// local is the name that something of a way has in its namespace.
func (w way) local(name string) string { return w.name + "-" + name }

// walker is a pod whose kubelet goes its way through the credentials.
type walker struct {
	way
	pod        *corev1.Pod
	node       string
	repository string
	users      map[string]map[string]string
	mark       lab.Mark
}

// setOut makes the pod.
func (c *cluster) setOut(t *testing.T, node, ns string, w way, nodeUsers map[string]string) walker {
	t.Helper()
	host, repo := w.host, w.repo
	if host == "" {
		host = "auth.lab"
	}
	if repo == "" {
		repo = "creds"
	}
	repository := repo + "/" + w.name
	image := c.imageAt(t, host, repository)
	users := map[string]map[string]string{"node": nodeUsers}
	local := w.local
	names := w.names
	for _, s := range w.secrets {
		c.secret(t, ns, local(s.name), s.typ, s.key, []byte(s.data))
		users[local(s.name)] = s.users
		if w.names == nil {
			names = append(names, s.name)
		}
	}
	c.account(t, ns, w.name, each(w.account, local))
	if w.hosts != "" {
		file := "/etc/containerd/certs.d/" + host + "/hosts.toml"
		t.Cleanup(func() { _ = c.RemoveFile(node, file) })
		if err := c.WriteFile(node, file, []byte(w.hosts)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.RemoveImage(t.Context(), node, image) // left by a run before
	mark, err := c.RegistryMark()
	if err != nil {
		t.Fatal(err)
	}
	p := c.pod(t, podOptions{Node: node, Namespace: ns, Name: w.name, Image: image, Edit: func(p *corev1.Pod) {
		p.Spec.ServiceAccountName = w.name
		for _, n := range names {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: local(n)})
		}
	}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		now := int64(0)
		_ = c.api.CoreV1().Pods(ns).Delete(ctx, w.name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	})

	return walker{w, p, node, repository, users, mark}
}

// arrive holds what pullprobe says of the pod against what its kubelet did, and
// gives what is other than the way says.
func (c *cluster) arrive(t *testing.T, w walker) (wrong []string) {
	t.Helper()
	problem := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	ns, p := w.pod.Namespace, w.pod
	pulled := c.waitPulled(t, ns, w.name)
	if pulled != w.pulls {
		problem("the kubelet's pull works: %v, want %v", pulled, w.pulls)
	}
	log, err := c.RegistryLog("", w.mark)
	if err != nil {
		t.Fatal(err)
	}
	observed := triedIn(log, w.repository)
	if observed != w.tries {
		problem("the kubelet tries %q, want %q", observed, w.tries)
	}

	if w.later != nil {
		c.account(t, ns, w.name, each(w.later, w.local))
	}
	question := w.name
	c.annotate(t, p, &question)
	d := c.waitAnswer(t, w.node, ns+"/"+w.name, question)
	if predicted := predictedBy(d, ns, w.users); predicted != observed {
		problem("pullprobe says %q, the kubelet tries %q\n%s", predicted, observed, d.explain())
	}
	if healthy := d.Verdict.Fault == "none"; healthy != pulled {
		problem("pullprobe says %s, the pull works: %v\n%s", d, pulled, d.explain())
	}
	if w.cause != "" && d.Verdict.Cause != w.cause {
		problem("pullprobe says %s, want %s\n%s", d, w.cause, d.explain())
	}
	if strings.Contains(d.explain(), "hunter2") {
		problem("a password shows:\n%s", d.explain())
	}
	return wrong
}

func each(list []string, f func(string) string) []string {
	var out []string
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

// account makes a ServiceAccount list these pull secrets.
func (c *cluster) account(t *testing.T, ns, name string, secrets []string) {
	t.Helper()
	sa := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, s := range secrets {
		sa.ImagePullSecrets = append(sa.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	body, err := json.Marshal(sa)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.api.CoreV1().ServiceAccounts(ns).Patch(t.Context(), name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "e2e"}); err != nil {
		t.Fatal(err)
	}
}

// waitPulled waits until the kubelet has the image, or has failed to get it.
func (c *cluster) waitPulled(t *testing.T, ns, name string) (pulled bool) {
	t.Helper()
	if !c.eventually(t, 3*time.Minute, func(ctx context.Context) bool {
		p, err := c.api.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Running != nil || s.State.Terminated != nil {
				pulled = true
				return true
			}
			// The kubelet's bare error stands in the reason where a secret cannot be decoded.
			if r := s.State.Waiting; r != nil && (r.Reason == "ErrImagePull" || r.Reason == "ImagePullBackOff" || strings.Contains(r.Reason, " ")) {
				return true
			}
		}
		return false
	}) {
		t.Fatalf("the kubelet does not come to an end with %s/%s", ns, name)
	}
	return pulled
}

// triedIn is who containerd asked as, in the order of the first time.
func triedIn(log []lab.Request, repository string) string {
	slices.SortStableFunc(log, func(a, b lab.Request) int { return a.Time.Compare(b.Time) })
	tried, asked := []string{}, false
	for _, r := range log {
		if !strings.HasPrefix(r.UserAgent, "containerd/") || !strings.Contains(r.Path, "/"+repository+"/") && !strings.Contains(r.Query, strings.ReplaceAll(repository, "/", "%2F")+"%3A") {
			continue
		}
		asked = true
		kind, user, _ := strings.Cut(r.Auth, " ")
		if (kind == "Basic" || kind == "Form") && !slices.Contains(tried, user) {
			tried = append(tried, user)
		}
	}
	switch {
	case !asked:
		return "nothing"
	case len(tried) == 0:
		return "nobody"
	}
	return strings.Join(tried, " ")
}

// predictedBy is whom the checks "credentials/<n>" say the kubelet tries, up to
// the first that is good.
func predictedBy(d diagnosis, ns string, users map[string]map[string]string) string {
	if _, _, e := d.check("credentials"); e["fatal"] == "true" {
		return "nothing"
	}
	var tried []string
	for n := 1; ; n++ {
		_, _, e := d.check(fmt.Sprintf("credentials/%d", n))
		if e["applies"] != "true" {
			break
		}
		source, _, _ := strings.Cut(e["source"], ", ")
		user := good // of a provider, or containerd's own
		if name, ok := strings.CutPrefix(source, "secret "+ns+"/"); ok {
			user = users[name][e["server"]]
		} else if strings.HasPrefix(source, "node file ") {
			user = users["node"][e["server"]]
		}
		if e["empty"] == "true" {
			user = "nobody"
		}
		if !slices.Contains(tried, user) {
			tried = append(tried, user)
		}
		if user == good {
			break
		}
	}
	if len(tried) == 0 {
		return "nobody"
	}
	return strings.Join(tried, " ")
}
