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

// These tests compare the credentials that the kubelet tries from three sources: its
// source code (the table), the registries' access log, and pullprobe's report. All three
// must agree.

// credentialCase is one combination of sources of credentials.
type credentialCase struct {
	name         string
	host         string       // empty: auth.lab
	repo         string       // first part of the repository; empty: creds
	secrets      []pullSecret // that exist in the namespace
	listed       []string     // secrets that the pod lists; nil: all of secrets
	account      []string     // secrets that the ServiceAccount lists before the pod is made
	laterAccount []string     // secrets that it lists after the pod is stuck
	hostsTOML    string       // hosts.toml of the registry

	// wantTried has the users in the order in which the kubelet tries them. It is
	// "anonymous" without credentials, and "nothing" if no registry gets a request.
	wantTried  string
	wantPulled bool
	wantCause  string // cause of the verdict if the pull fails; empty: any
}

// pullSecret is a pull secret to create.
type pullSecret struct {
	name  string
	typ   corev1.SecretType
	key   string
	data  string
	users map[string]string // by server as pullprobe shows it
}

// authEntry is one server of a docker configuration.
type authEntry struct{ server, user, form string }

// goodUser is the only user with a valid password. The registries' log distinguishes the
// users.
const goodUser = lab.User

func passwordOf(user string) string {
	if user == goodUser {
		return lab.Password
	}
	return "hunter2-canary"
}

// keyringServer returns a server as pullprobe shows it: its key in the kubelet's keyring.
func keyringServer(server string) string {
	for _, scheme := range []string{"https://", "http://"} {
		server = strings.TrimPrefix(server, scheme)
	}
	for _, version := range []string{"/v1/", "/v2/"} {
		server = strings.Replace(server, version, "/", 1)
	}
	return strings.TrimSuffix(server, "/")
}

func dockerConfig(entries ...authEntry) (string, map[string]string) {
	auths, users := map[string]any{}, map[string]string{}
	for _, e := range entries {
		pair := e.user + ":" + passwordOf(e.user)
		fields := map[string]any{}
		switch e.form {
		case "":
			fields["username"], fields["password"] = e.user, passwordOf(e.user)
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
		users[keyringServer(e.server)] = e.user
	}
	b, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return string(b), users
}

func secretFor(name string, entries ...authEntry) pullSecret {
	data, users := dockerConfig(entries...)
	return pullSecret{name: name, typ: corev1.SecretTypeDockerConfigJson, key: corev1.DockerConfigJsonKey, data: data, users: users}
}

func oneSecret(server, user string) []pullSecret {
	return []pullSecret{secretFor("one", authEntry{server, user, ""})}
}

func legacySecret(server, user string) []pullSecret {
	data, users := dockerConfig(authEntry{server, user, "auth"})
	data = strings.TrimSuffix(strings.TrimPrefix(data, `{"auths":`), "}")
	return []pullSecret{{name: "one", typ: corev1.SecretTypeDockercfg, key: corev1.DockerConfigKey, data: data, users: users}}
}

func opaqueSecret(server, user string) []pullSecret {
	data, _ := dockerConfig(authEntry{server, user, ""})
	return []pullSecret{{name: "one", typ: corev1.SecretTypeOpaque, key: corev1.DockerConfigJsonKey, data: data}}
}

// podCases need no change of the node.
var podCases = []credentialCase{
	{name: "open-without", host: "registry.lab", wantTried: "anonymous", wantPulled: true},
	{name: "without", wantTried: "anonymous", wantCause: "CredentialsMissing"},
	{name: "good", secrets: oneSecret("auth.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "wrong", secrets: oneSecret("auth.lab", "wrong"), wantTried: "wrong", wantCause: "CredentialsRejected"},
	{
		name:       "wrong-then-good",
		secrets:    []pullSecret{secretFor("a", authEntry{"auth.lab", "wrong", ""}), secretFor("b", authEntry{"auth.lab", goodUser, ""})},
		wantTried:  "wrong " + goodUser,
		wantPulled: true,
	},
	{
		name:       "good-then-wrong",
		secrets:    []pullSecret{secretFor("a", authEntry{"auth.lab", goodUser, ""}), secretFor("b", authEntry{"auth.lab", "wrong", ""})},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:      "pods-order-not-names",
		secrets:   []pullSecret{secretFor("z", authEntry{"auth.lab", "first", ""}), secretFor("a", authEntry{"auth.lab", "second", ""})},
		wantTried: "first second",
		wantCause: "CredentialsRejected",
	},
	{
		name:       "path-before-host",
		secrets:    []pullSecret{secretFor("a", authEntry{"auth.lab", "wrong", ""}), secretFor("b", authEntry{"auth.lab/creds", goodUser, ""})},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:       "wrong-path-then-host",
		secrets:    []pullSecret{secretFor("a", authEntry{"auth.lab", goodUser, ""}), secretFor("b", authEntry{"auth.lab/creds", "wrong", ""})},
		wantTried:  "wrong " + goodUser,
		wantPulled: true,
	},
	{
		name:       "one-secret-two-servers",
		secrets:    []pullSecret{secretFor("one", authEntry{"auth.lab", goodUser, ""}, authEntry{"auth.lab/creds", "wrong", ""})},
		wantTried:  "wrong " + goodUser,
		wantPulled: true,
	},
	{name: "path-is-text", secrets: oneSecret("auth.lab/cre", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "other-path", secrets: oneSecret("auth.lab/other", goodUser), wantTried: "anonymous", wantCause: "PullSecretOtherRegistry"},
	{name: "https", secrets: oneSecret("https://auth.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "http", secrets: oneSecret("http://auth.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "https-v2-slash", secrets: oneSecret("https://auth.lab/v2/", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "https-v1-slash-path", secrets: oneSecret("https://auth.lab/v1/creds", goodUser), wantTried: goodUser, wantPulled: true},
	{
		name:      "v2-without-slash",
		secrets:   oneSecret("https://auth.lab/v2", goodUser),
		wantTried: "anonymous",
		wantCause: "PullSecretOtherRegistry",
	},
	{name: "port-443", secrets: oneSecret("auth.lab:443", goodUser), wantTried: "anonymous", wantCause: "PullSecretOtherRegistry"},
	{name: "capitals", secrets: oneSecret("AUTH.lab", goodUser), wantTried: "anonymous", wantCause: "PullSecretOtherRegistry"},
	{name: "glob", secrets: oneSecret("*.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "glob-inside", secrets: oneSecret("au*h.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "glob-too-long", secrets: oneSecret("*.*.lab", goodUser), wantTried: "anonymous", wantCause: "PullSecretOtherRegistry"},
	{
		name:       "exact-before-glob",
		secrets:    []pullSecret{secretFor("a", authEntry{"*.lab", goodUser, ""}), secretFor("b", authEntry{"auth.lab", "wrong", ""})},
		wantTried:  "wrong " + goodUser,
		wantPulled: true,
	},
	{
		name:       "auth",
		secrets:    []pullSecret{secretFor("one", authEntry{"auth.lab", goodUser, "auth"})},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:       "auth-unpadded",
		secrets:    []pullSecret{secretFor("one", authEntry{"auth.lab", goodUser, "unpadded"})},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:       "auth-wins",
		secrets:    []pullSecret{secretFor("one", authEntry{"auth.lab", goodUser, "both"})},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:      "identity-token",
		secrets:   []pullSecret{secretFor("one", authEntry{"auth.lab", "anonymous", "identity"})},
		wantTried: "anonymous",
		wantCause: "CredentialsMissing",
	},
	{name: "legacy", secrets: legacySecret("https://auth.lab", goodUser), wantTried: goodUser, wantPulled: true},
	{name: "opaque", secrets: opaqueSecret("auth.lab", goodUser), wantTried: "anonymous", wantCause: "PullSecretMalformed"},
	{
		name:      "undecodable",
		secrets:   []pullSecret{secretFor("one", authEntry{"auth.lab", goodUser, "undecodable"})},
		wantTried: "nothing",
		wantCause: "PullSecretMalformed",
	},
	{
		name:      "undecodable-elsewhere",
		secrets:   []pullSecret{secretFor("a", authEntry{"auth.lab", goodUser, ""}), secretFor("b", authEntry{"other.lab", "x", "undecodable"})},
		wantTried: "nothing",
		wantCause: "PullSecretMalformed",
	},
	{
		name: "wrong-headers",
		secrets: []pullSecret{{
			name: "one", typ: corev1.SecretTypeDockerConfigJson, key: corev1.DockerConfigJsonKey,
			data: `{"auths":{},"HttpHeaders":{"X":["y"]}}`,
		}},
		wantTried: "nothing",
		wantCause: "PullSecretMalformed",
	},
	{name: "absent", listed: []string{"absent"}, wantTried: "anonymous", wantCause: "PullSecretMissing"},
	{
		name:       "absent-and-good",
		secrets:    oneSecret("auth.lab", goodUser),
		listed:     []string{"absent", "one"},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{name: "other-registry", secrets: oneSecret("registry.lab", goodUser), wantTried: "anonymous", wantCause: "PullSecretOtherRegistry"},
	{name: "public-without", host: "token.lab", repo: "public", wantTried: "anonymous", wantPulled: true},
	{
		name:      "public-with-stale",
		host:      "token.lab",
		repo:      "public",
		secrets:   oneSecret("token.lab", "stale"),
		wantTried: "stale",
		wantCause: "CredentialsRejected",
	},
	{
		name:       "token-wrong-then-good",
		host:       "token.lab",
		secrets:    []pullSecret{secretFor("a", authEntry{"token.lab", "wrong", ""}), secretFor("b", authEntry{"token.lab", goodUser, ""})},
		wantTried:  "wrong " + goodUser,
		wantPulled: true,
	},
	{
		name:      "token-port-is-the-services",
		host:      "token.lab",
		secrets:   oneSecret("token.lab:5001", goodUser),
		wantTried: "anonymous",
		wantCause: "PullSecretOtherRegistry",
	},
	{
		name:       "account",
		secrets:    oneSecret("auth.lab", goodUser),
		listed:     []string{},
		account:    []string{"one"},
		wantTried:  goodUser,
		wantPulled: true,
	},
	{
		name:      "account-and-own",
		secrets:   []pullSecret{secretFor("own", authEntry{"other.lab", "x", ""}), secretFor("one", authEntry{"auth.lab", goodUser, ""})},
		listed:    []string{"own"},
		account:   []string{"one"},
		wantTried: "anonymous",
		wantCause: "PullSecretNotAttached",
	},
	{
		name:         "account-later",
		secrets:      oneSecret("auth.lab", goodUser),
		listed:       []string{},
		laterAccount: []string{"one"},
		wantTried:    "anonymous",
		wantCause:    "PullSecretNotAttached",
	},
	{
		name:      "mirror",
		secrets:   oneSecret("auth.lab", "wrong"),
		hostsTOML: "server = \"https://auth.lab\"\n[host.\"https://token.lab\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
		wantTried: "wrong",
	},
}

// Credentials in a docker configuration file of the node. The kubelet caches the file for
// five minutes, so the test restarts it.
func TestWaysOfNodeFiles(t *testing.T) {
	skipWithoutSecrets(t)
	suite.useNode(t, nodeB)
	node, users := dockerConfig(authEntry{"auth.lab", goodUser, ""})
	legacy := strings.TrimSuffix(strings.TrimPrefix(node, `{"auths":`), "}")
	broken, _ := dockerConfig(authEntry{"auth.lab", "never", ""}, authEntry{"other.lab", "x", "undecodable"})
	for _, tt := range []struct {
		name  string
		files map[string]string
		cases []credentialCase
	}{
		{"good", map[string]string{"config.json": node}, []credentialCase{
			{name: "node-alone", wantTried: goodUser, wantPulled: true},
			{name: "node-after-pods", secrets: oneSecret("auth.lab", "wrong"), wantTried: "wrong " + goodUser, wantPulled: true},
			{name: "pods-alone-is-enough", secrets: oneSecret("auth.lab/creds", goodUser), wantTried: goodUser, wantPulled: true},
			{name: "node-beside-other-registry", secrets: oneSecret("other.lab", "x"), wantTried: goodUser, wantPulled: true},
			{
				name:      "node-cannot-help-undecodable",
				secrets:   []pullSecret{secretFor("one", authEntry{"auth.lab", "x", "undecodable"})},
				wantTried: "nothing",
				wantCause: "PullSecretMalformed",
			},
		}},
		{"broken, then legacy", map[string]string{"config.json": broken, ".dockercfg": legacy}, []credentialCase{
			{name: "node-legacy", wantTried: goodUser, wantPulled: true},
		}},
		{"empty hides legacy", map[string]string{"config.json": "{}", ".dockercfg": legacy}, []credentialCase{
			{name: "node-empty", wantTried: "anonymous", wantCause: "CredentialsMissing"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				for name := range tt.files {
					if err := suite.RemoveFile(nodeB, "/var/lib/kubelet/"+name); err != nil {
						t.Error(err)
					}
				}
				if err := suite.RestartService(ctx, nodeB, "kubelet"); err != nil {
					t.Error(err)
				}
			})
			for name, text := range tt.files {
				if err := suite.WriteFile(nodeB, "/var/lib/kubelet/"+name, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := suite.RestartService(t.Context(), nodeB, "kubelet"); err != nil {
				t.Fatal(err)
			}
			suite.runCases(t, nodeB, tt.cases, users)
		})
	}
}

// With agents that run credential providers: the cases of pods on one node, and working
// and failing providers on the other. A provider that hangs takes the kubelet a minute;
// the other cases run in that minute.
func TestWithProviders(t *testing.T) {
	suite.agentsWith(t, runProviders, "PULLPROBE_LOG_LEVEL=debug")
	canaries := func(t *testing.T) { testCanaries(t, nodeA) }
	if !*secrets {
		t.Run("canaries", canaries)
		return
	}
	if !*providers {
		t.Run("pods", func(t *testing.T) { suite.runCases(t, nodeA, podCases, nil) })
		t.Run("canaries", canaries)
		testLogins(t)
		suite.checkProviderNotRun(t)
		return
	}
	setProviderMode(t, "hangs")
	hangs := suite.createCase(t, nodeB, suite.namespace(t), credentialCase{
		name: "provider-hangs", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause,
	}, nil)
	if !suite.eventually(t, 30*time.Second, func(context.Context) bool {
		pids, err := suite.PIDs(nodeB, "lab-provider")
		return err == nil && len(pids) > 0
	}) {
		t.Fatal("the kubelet does not run the provider")
	}
	t.Run("meanwhile", func(t *testing.T) {
		t.Run("pods", func(t *testing.T) {
			t.Parallel()
			suite.runCases(t, nodeA, podCases, nil)
			t.Run("canaries", canaries)
		})
		t.Run("providers", func(t *testing.T) {
			t.Parallel()
			testProviders(t)
			testLogins(t)
		})
	})
	t.Run("hangs", func(t *testing.T) {
		setProviderMode(t, "hangs")
		t.Cleanup(func() { setProviderMode(t, "nothing") })
		suite.requireCase(t, hangs)
	})
}

const providerFailedCause = "CredentialProviderFailed"

// setProviderMode sets the mode of node-b's credential providers.
func setProviderMode(t testing.TB, mode string) {
	t.Helper()
	if err := suite.WriteFile(nodeB, lab.ProviderMode, []byte(mode)); err != nil {
		t.Fatal(err)
	}
}

// testProviders tests working and failing providers, in turn.
func testProviders(t *testing.T) {
	wrong := oneSecret("auth.lab", "wrong")
	for mode, cases := range map[string][]credentialCase{
		"works": {
			{name: "provider", repo: "provider", wantTried: goodUser, wantPulled: true},
			{name: "provider-after-pods", repo: "provider", secrets: wrong, wantTried: "wrong " + goodUser, wantPulled: true},
			{name: "provider-of-another-repository", wantTried: "anonymous", wantCause: "CredentialsMissing"},
			{name: "provider-by-token", host: "token.lab", repo: "provider", wantTried: goodUser, wantPulled: true},
		},
		"nothing": {{name: "provider-nothing", repo: "provider", wantTried: "anonymous", wantCause: "CredentialsMissing"}},
		"exit": {
			{name: "provider-exit", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause},
			{name: "provider-exit-after-pods", repo: "provider", secrets: oneSecret("auth.lab", goodUser), wantTried: goodUser, wantPulled: true},
		},
		"garbage":  {{name: "provider-garbage", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause}},
		"version":  {{name: "provider-version", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause}},
		"cachekey": {{name: "provider-cachekey", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause}},
		"unknown":  {{name: "provider-unknown-field", repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause}},
	} {
		if mode == "unknown" && !suite.Dir().Versions().KubernetesSince("1.32") { // such a kubelet ignores the field
			cases[0].wantTried, cases[0].wantCause, cases[0].wantPulled = goodUser, "", true
		}
		t.Run(mode, func(t *testing.T) {
			setProviderMode(t, mode)
			t.Cleanup(func() { setProviderMode(t, "nothing") })
			suite.runCases(t, nodeB, cases, nil)
		})
	}
	t.Run("needs a token", func(t *testing.T) {
		suite.needsKubernetes(t, "1.34", "kubelets whose credential providers take a ServiceAccount's token")
		ns := suite.namespace(t)
		image := suite.pushOwnImage(t, "auth.lab", "token-provider/app")
		suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: image})
		d := suite.waitVerdict(t, nodeB, ns+"/waits", "* * *", time.Minute)
		outcome, summary, _ := d.check("credentials/provider/lab-token-provider")
		if outcome != "skipped" || !strings.Contains(summary, textNeedsToken) {
			t.Errorf("%s %q", outcome, summary)
		}
	})
}

// Without the component, no provider is run, and the report shows that.
func TestProvidersNotSwitchedOn(t *testing.T) { suite.checkProviderNotRun(t) }

// checkProviderNotRun checks the report of a pod whose provider is not run.
func (c *cluster) checkProviderNotRun(t *testing.T) {
	t.Helper()
	ns := suite.namespace(t)
	suite.pod(t, podOptions{Node: nodeB, Namespace: ns, Name: "waits", Image: suite.pushOwnImage(t, "auth.lab", "provider/off")})
	d := suite.waitVerdict(t, nodeB, ns+"/waits", "* * *", time.Minute)
	outcome, summary, evidence := d.check("credentials")
	if outcome != "skipped" || evidence["providerNotRun"] != "lab-provider" || !strings.Contains(summary, "lab-provider") ||
		d.Verdict.Confidence == "confirmed" {
		t.Errorf("%s: credentials %s %q\n%s", d, outcome, summary, d.explain())
	}
}

// containerd's own credentials are used only if the kubelet has none.
func TestWaysOfContainerd(t *testing.T) {
	skipWithoutSecrets(t)
	suite.useNode(t, nodeB)
	const file = "/etc/containerd/config.toml"
	before, err := suite.ReadFile(nodeB, file)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, text string) {
		if err := suite.WriteFile(nodeB, file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := suite.RestartContainerd(ctx, nodeB); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		set(ctx, string(before))
	})
	plugin := "io.containerd.cri.v1.images"
	if !suite.Dir().Versions().ContainerdSince("2.0") {
		plugin = "io.containerd.grpc.v1.cri"
	}
	set(t.Context(), string(before)+fmt.Sprintf(`
[plugins.%q.registry.configs."auth.lab".auth]
  username = %q
  password = %q
`, plugin, goodUser, lab.Password))
	suite.runCases(t, nodeB, []credentialCase{
		{name: "containerds-own", wantTried: goodUser, wantPulled: true},
		{
			name:      "containerds-own-counts-for-nothing",
			secrets:   oneSecret("auth.lab", "wrong"),
			wantTried: "wrong",
			wantCause: "CredentialsRejected",
		},
	}, nil)
}

// runProviders is the setting that makes agents run credential providers.
const runProviders = "PULLPROBE_CREDENTIAL_PROVIDERS=true"

// agentsWith sets environment variables, as NAME=VALUE, of the agents until the test ends.
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
		for _, args := range set(mapStrings(settings, func(s string) string { return strings.Split(s, "=")[0] + "-" })) {
			if out, err := c.Kubectl(ctx, nil, args...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	for _, args := range set(settings) {
		c.kubectl(t, args...)
	}
}

// pushOwnImage pushes a new image, which no node has, and returns its name.
func (c *cluster) pushOwnImage(t *testing.T, host, repository string) string {
	t.Helper()
	ref := host + "/" + repository + ":1"
	if _, err := c.PushImage(t.Context(), lab.Image{Refs: []string{ref}, Runs: true}); err != nil {
		t.Fatal(err)
	}
	return ref
}

// maxParallelCases is how many cases run at the same time: a node's report has room for
// all checks of a few pods only.
const maxParallelCases = 2

// runCases runs all cases. Those that change the node's files run one after the other.
// nodeUsers are the users of the node's own file, by server.
func (c *cluster) runCases(t *testing.T, node string, cases []credentialCase, nodeUsers map[string]string) {
	t.Helper()
	ns := c.namespace(t)
	alone := func(w credentialCase) bool { return w.hostsTOML != "" }
	slots := make(chan struct{}, maxParallelCases)
	t.Run("cases", func(t *testing.T) {
		for _, w := range cases {
			if alone(w) {
				continue
			}
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				c.runCase(t, node, ns, w, nodeUsers)
			})
		}
	})
	for _, w := range cases {
		if alone(w) {
			t.Run(w.name, func(t *testing.T) { c.runCase(t, node, ns, w, nodeUsers) })
		}
	}
}

// runCase runs a case, and a second time if the result differs: a kubelet that does not
// get a secret within a second continues without it, which does not happen the next time.
// The first result is logged.
func (c *cluster) runCase(t *testing.T, node, ns string, w credentialCase, nodeUsers map[string]string) {
	t.Helper()
	first := c.createCase(t, node, ns, w, nodeUsers)
	wrong := c.compareCase(t, first)
	// A report has room for all evidence of a few pods only.
	c.kubectl(t, "delete", "pod", "-n", ns, w.name, "--grace-period=0", "--force", "--wait=false")
	if len(wrong) == 0 {
		return
	}
	t.Logf("first try of %s: %s", w.name, strings.Join(wrong, "\n"))
	w.name += "-again"
	c.requireCase(t, c.createCase(t, node, ns, w, nodeUsers))
}

// requireCase fails the test if the result differs from the case.
func (c *cluster) requireCase(t *testing.T, w startedCase) {
	t.Helper()
	for _, problem := range c.compareCase(t, w) {
		t.Error(problem)
	}
}

// objectName returns the name of an object of the case in its namespace.
func (w credentialCase) objectName(name string) string { return w.name + "-" + name }

// startedCase is a case whose pod has been created.
type startedCase struct {
	credentialCase
	pod        *corev1.Pod
	node       string
	repository string
	users      map[string]map[string]string
	mark       lab.Mark
}

// createCase creates the image, the secrets, the ServiceAccount and the pod of a case.
func (c *cluster) createCase(t *testing.T, node, ns string, w credentialCase, nodeUsers map[string]string) startedCase {
	t.Helper()
	host, repo := w.host, w.repo
	if host == "" {
		host = "auth.lab"
	}
	if repo == "" {
		repo = "creds"
	}
	repository := repo + "/" + w.name
	image := c.pushOwnImage(t, host, repository)
	users := map[string]map[string]string{"node": nodeUsers}
	local := w.objectName
	names := w.listed
	for _, s := range w.secrets {
		c.secret(t, ns, local(s.name), s.typ, s.key, []byte(s.data))
		users[local(s.name)] = s.users
		if w.listed == nil {
			names = append(names, s.name)
		}
	}
	c.account(t, ns, w.name, mapStrings(w.account, local))
	if w.hostsTOML != "" {
		file := "/etc/containerd/certs.d/" + host + "/hosts.toml"
		t.Cleanup(func() { _ = c.RemoveFile(node, file) })
		if err := c.WriteFile(node, file, []byte(w.hostsTOML)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.RemoveImage(t.Context(), node, image) // left by an earlier run
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

	return startedCase{w, p, node, repository, users, mark}
}

// compareCase compares the case, pullprobe's report on the pod and what its kubelet did,
// and returns the differences.
func (c *cluster) compareCase(t *testing.T, w startedCase) (wrong []string) {
	t.Helper()
	problem := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	ns, p := w.pod.Namespace, w.pod
	pulled := c.waitPulled(t, ns, w.name)
	if pulled != w.wantPulled {
		problem("the kubelet's pull succeeds: %v, want %v", pulled, w.wantPulled)
	}
	log, err := c.RegistryLog("", w.mark)
	if err != nil {
		t.Fatal(err)
	}
	observed := triedUsers(log, w.repository)
	if observed != w.wantTried {
		problem("the kubelet tries %q, want %q", observed, w.wantTried)
	}

	if w.laterAccount != nil {
		c.account(t, ns, w.name, mapStrings(w.laterAccount, w.objectName))
	}
	request := w.name
	c.annotate(t, p, &request)
	d := c.waitHandled(t, w.node, ns+"/"+w.name, request)
	if predicted := predictedUsers(d, ns, w.users); predicted != observed {
		problem("pullprobe reports the users %q, the kubelet tries %q\n%s", predicted, observed, d.explain())
	}
	if healthy := d.Verdict.Fault == "none"; healthy != pulled {
		problem("pullprobe reports %s, the pull succeeds: %v\n%s", d, pulled, d.explain())
	}
	if w.wantCause != "" && d.Verdict.Cause != w.wantCause {
		problem("pullprobe reports %s, want %s\n%s", d, w.wantCause, d.explain())
	}
	if strings.Contains(d.explain(), "hunter2") {
		problem("the report has a password:\n%s", d.explain())
	}
	return wrong
}

func mapStrings(list []string, f func(string) string) []string {
	var out []string
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

// account makes a ServiceAccount list these pull secrets; it creates the account if
// needed.
func (c *cluster) account(t *testing.T, ns, name string, secrets []string) {
	t.Helper()
	sa := &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}
	for _, s := range secrets {
		sa.ImagePullSecrets = append(sa.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	body, err := json.Marshal(sa)
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: "e2e"}
	if _, err := c.api.CoreV1().ServiceAccounts(ns).Patch(t.Context(), name, types.ApplyPatchType, body, options); err != nil {
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
			// If a secret cannot be decoded, the reason is the kubelet's bare error, a sentence.
			if r := s.State.Waiting; r != nil && (r.Reason == "ErrImagePull" || r.Reason == "ImagePullBackOff" || strings.Contains(r.Reason, " ")) {
				return true
			}
		}
		return false
	}) {
		t.Fatalf("the kubelet neither starts nor fails to pull %s/%s", ns, name)
	}
	return pulled
}

// triedUsers returns the users of containerd's requests, in the order of their first
// request.
func triedUsers(log []lab.Request, repository string) string {
	slices.SortStableFunc(log, func(a, b lab.Request) int { return a.Time.Compare(b.Time) })
	tried, requested := []string{}, false
	for _, r := range log {
		scope := strings.ReplaceAll(repository, "/", "%2F") + "%3A"
		ours := strings.Contains(r.Path, "/"+repository+"/") || strings.Contains(r.Query, scope)
		if !strings.HasPrefix(r.UserAgent, "containerd/") || !ours {
			continue
		}
		requested = true
		kind, user, _ := strings.Cut(r.Auth, " ")
		if (kind == "Basic" || kind == "Form") && !slices.Contains(tried, user) {
			tried = append(tried, user)
		}
	}
	switch {
	case !requested:
		return "nothing"
	case len(tried) == 0:
		return "anonymous"
	}
	return strings.Join(tried, " ")
}

// predictedUsers returns the users that the kubelet tries according to the checks
// "credentials/<n>", up to the first valid one.
func predictedUsers(d diagnosis, ns string, users map[string]map[string]string) string {
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
		user := goodUser // from a provider, or containerd's own
		if name, ok := strings.CutPrefix(source, "secret "+ns+"/"); ok {
			user = users[name][e["server"]]
		} else if strings.HasPrefix(source, "node file ") {
			user = users["node"][e["server"]]
		}
		if e["empty"] == "true" {
			user = "anonymous"
		}
		if !slices.Contains(tried, user) {
			tried = append(tried, user)
		}
		if user == goodUser {
			break
		}
	}
	if len(tried) == 0 {
		return "anonymous"
	}
	return strings.Join(tried, " ")
}
