package examine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kubeletv1 "k8s.io/kubelet/config/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
)

// kubelet starts a process that looks like the kubelet: its name, command line,
// environment and working directory. It returns the directory that all its
// files are in.
func kubelet(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "lab-provider"), "./cmd/credential-provider")
	cmd.Dir = "../lab"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	if err := os.Link(filepath.Join(dir, "bin", "lab-provider"), filepath.Join(dir, "kubelet")); err != nil {
		t.Fatal(err)
	}
	for i := range flags {
		flags[i] = strings.ReplaceAll(flags[i], "DIR", dir)
	}
	fake := exec.Command(filepath.Join(dir, "kubelet"), append([]string{"hangs"}, flags...)...)
	fake.Dir = dir
	fake.Env = []string{"HOME=" + dir, "PROVIDER_USER=puller"}
	if err := fake.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = fake.Process.Kill()
		_ = fake.Wait()
	})
	examinetest.Executed(t, fake.Process.Pid)
	return dir
}

// Node credentials are found from the running kubelet: its flags, environment,
// working directory and root.
func TestNodeCredentials(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the agent does, to take another root directory")
	}
	socket := filepath.Join(t.TempDir(), "runtime.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := cri.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := credentialResolver{runtime: client, kubelet: &kubeletFinder{}}
	if node, _ := r.nodeSources(t.Context(), "r.example/app", nil); node.Problem == "" {
		t.Skip("a kubelet runs here")
	}

	dir := kubelet(t, "--root-dir", "DIR/root",
		"--image-credential-provider-config=DIR/providers.yaml", "--image-credential-provider-bin-dir=bin")
	const canary = "hunter2-canary"
	hosttest.Write(t, dir+"/.docker/config.json", `{"auths":{"r.example":{"username":"node","password":"`+canary+`"}}}`)
	config := func(extra string) {
		hosttest.Write(t, dir+"/providers.yaml", `
kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
- name: lab-provider
  matchImages: [r.example]
  defaultCacheDuration: 1m
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: ["@`+dir+`/mode"]
  env: [{name: PROVIDER_PASSWORD, value: `+canary+`}]
`+extra)
	}
	config("")
	hosttest.Write(t, dir+"/mode", "works")
	walk := func() (users string, w credentials.Resolution) {
		t.Helper()
		var node *credentials.NodeSources
		// The process is called kubelet only once it has been executed.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if node, _ = r.nodeSources(t.Context(), "r.example/app", nil); node.Problem == "" || time.Now().After(deadline) {
				break
			}
		}
		w = credentials.Resolve("r.example/app", credentials.Sources{Node: node, Now: time.Now()})
		for _, c := range w.Matched {
			users += c.Username + " "
		}
		if text := fmt.Sprintf("%+v", w.Checks); strings.Contains(text, canary) {
			t.Errorf("a password shows: %s", text)
		}
		return strings.TrimSpace(users), w
	}

	users, w := walk()
	if users != "node" || w.Checks[0].Evidence["providerNotRun"] != "lab-provider" || w.Checks[0].Evidence["unknown"] == "" {
		t.Errorf("not switched on: %q, %+v", users, w.Checks)
	}
	if got := w.Matched[0].Source; got != "node file "+dir+"/.docker/config.json" {
		t.Errorf("source %q", got)
	}
	r.providers = &credentials.ProviderRunner{Timeout: 10 * time.Second}
	if users, w = walk(); users != "node puller" || w.Checks[0].Evidence["unknown"] != "" {
		t.Errorf("switched on: %q, %+v", users, w.Checks)
	}
	hosttest.Write(t, dir+"/mode", "exit")
	if users, w = walk(); users != "node" || w.Checks[0].Evidence["providerFailed"] != "lab-provider" {
		t.Errorf("failing: %q, %+v", users, w.Checks)
	}
	config("  tokenAttributes: {serviceAccountTokenAudience: a, cacheType: Token, requireServiceAccount: true}\n")
	if users, w = walk(); users != "node" || w.Checks[0].Evidence["providerNotRun"] != "lab-provider" {
		t.Errorf("with a token: %q, %+v", users, w.Checks)
	}
}

// TestWhyNotRun tests which providers are run, and what has to be installed for the others.
func TestWhyNotRun(t *testing.T) {
	required := true
	plain, token, optional := credentials.Provider{}, credentials.Provider{}, credentials.Provider{}
	token.TokenAttributes = &kubeletv1.ServiceAccountTokenAttributes{ServiceAccountTokenAudience: "a", RequireServiceAccount: &required}
	optional.TokenAttributes = &kubeletv1.ServiceAccountTokenAttributes{ServiceAccountTokenAudience: "a", RequireServiceAccount: new(bool)}
	static, pod := &credentials.Identity{Namespace: "shop"}, &credentials.Identity{Namespace: "shop", Account: "web"}
	const needs = "it needs a token of the pod's ServiceAccount"
	for name, tt := range map[string]struct {
		provider    credentials.Provider
		pod         *credentials.Identity
		run, tokens bool
		want        string
	}{
		"plain":         {plain, pod, true, false, ""},
		"plain, no pod": {plain, nil, true, false, ""},
		"plain, off":    {plain, pod, false, false, "the component credential-providers of the manifests is not installed"},
		"token":         {token, pod, true, true, ""},
		"token, off": {
			token, pod, true, false, needs + ": the component credential-provider-tokens of the manifests is not installed",
		},
		"token, both off":          {token, pod, false, false, needs + ": the components credential-providers and credential-provider-tokens"},
		"token, no pod":            {token, nil, true, true, needs + ", and this check is for no pod"},
		"optional, static pod":     {optional, static, true, false, ""},
		"optional, static, off":    {optional, static, false, false, "the component credential-providers of the manifests is not installed"},
		"optional, ServiceAccount": {optional, pod, true, false, needs},
	} {
		r := credentialResolver{tokens: tt.tokens}
		if tt.run {
			r.providers = &credentials.ProviderRunner{}
		}
		if got := r.whyNotRun(tt.provider, tt.pod); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A test pull tries no password that every host has rejected.
func TestWithoutRejected(t *testing.T) {
	e := &Examiner{Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }}}
	bad, good := credentials.Credential{Username: "u", Password: "bad"}, credentials.Credential{Username: "u", Password: "good"}
	e.Refusals.Add("r.example", "u", "bad", credentials.Answer{})
	for _, tt := range []struct {
		hosts []string
		want  int
	}{{nil, 2}, {[]string{"r.example"}, 1}, {[]string{"m.example", "r.example"}, 2}} {
		if got := withoutRejected([]credentials.Credential{bad, good}, tt.hosts, e.rejections(Subject{})); len(got) != tt.want {
			t.Errorf("%v: %d credentials", tt.hosts, len(got))
		}
	}
}

// No part of a secret is in the result of an examination, wherever the secret has it.
func TestNoCanaryInChecks(t *testing.T) {
	const canary = "hunter2-canary"
	secret := func(data string) credentials.SecretLookup {
		return credentials.SecretLookup{
			Namespace: "shop",
			Name:      "s",
			Secret: &credentials.Secret{
				Namespace: "shop",
				Name:      "s",
				Type:      "kubernetes.io/dockerconfigjson",
				Data:      map[string][]byte{".dockerconfigjson": []byte(data)},
			},
		}
	}
	for _, data := range []string{
		`{"auths":{"127.0.0.1:1":{"username":"u","password":"` + canary + `"}}}`,
		`{"auths":{"https://u:` + canary + `@127.0.0.1:1/v1/?p=` + canary + `#` + canary + `":{"username":"u","password":"` + canary + `"}}}`,
		`{"auths":{"other.example":{"identitytoken":"` + canary + `","password":"` + canary + `"}}}`,
		`{"auths":{"127.0.0.1:1":{"auth":"` + canary + `"}}}`,
		`{"auths":{"127.0.0.1:1":"` + canary + `"}}`,
		`{"auths":{"127.0.0.1:1":{}},"HttpHeaders":{"` + canary + `":["` + canary + `"]}}`,
		canary,
	} {
		e := &Examiner{
			Node:     &NodeReader{AllowLoopback: true, OwnFiles: true},
			Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }},
		}
		x := e.Examine(
			t.Context(),
			Subject{
				Image:   "127.0.0.1:1/app:1",
				Secrets: func(context.Context) []credentials.SecretLookup { return []credentials.SecretLookup{secret(data)} },
			},
			nil,
		)
		verdict := diagnosis.Diagnose(x.Checks)
		if text := fmt.Sprintf("%+v %+v", x.Checks, verdict); strings.Contains(text, canary) {
			t.Errorf("of %s shows: %s", data, text)
		}
	}
}
