package agent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
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
	executed(t, fake.Process.Pid)
	return dir
}

// executed waits until a process that was started has its command line and its
// environment: Start returns in the middle of exec(2).
func executed(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		switch {
		case err == nil && len(env) > 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("process %d does not begin: %v", pid, err)
		}
	}
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
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
	e := &Examiner{Runtime: client}
	if node, _ := e.nodeCredentials(t.Context(), "r.example/app"); node.Unknown == "" {
		t.Skip("a kubelet runs here")
	}

	dir := kubelet(t, "--root-dir", "DIR/root", "--image-credential-provider-config=DIR/providers.yaml", "--image-credential-provider-bin-dir=bin")
	const canary = "hunter2-canary"
	write(t, dir+"/.docker/config.json", `{"auths":{"r.example":{"username":"node","password":"`+canary+`"}}}`)
	config := func(extra string) {
		write(t, dir+"/providers.yaml", `
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
	write(t, dir+"/mode", "works")
	walk := func() (users string, w credentials.Walked) {
		t.Helper()
		var node *credentials.Node
		// The process is called kubelet only once it has been executed.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if node, _ = e.nodeCredentials(t.Context(), "r.example/app"); node.Unknown == "" || time.Now().After(deadline) {
				break
			}
		}
		w = credentials.Walk("r.example/app", credentials.Sources{Node: node, Now: time.Now()})
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
	e.Providers = &credentials.Runner{Timeout: 10 * time.Second}
	if users, w = walk(); users != "node puller" || w.Checks[0].Evidence["unknown"] != "" {
		t.Errorf("switched on: %q, %+v", users, w.Checks)
	}
	write(t, dir+"/mode", "exit")
	if users, w = walk(); users != "node" || w.Checks[0].Evidence["providerFailed"] != "lab-provider" {
		t.Errorf("failing: %q, %+v", users, w.Checks)
	}
	config("  tokenAttributes: {serviceAccountTokenAudience: a, cacheType: Token, requireServiceAccount: true}\n")
	if users, w = walk(); users != "node" || w.Checks[0].Evidence["providerNotRun"] != "lab-provider" {
		t.Errorf("with a token: %q, %+v", users, w.Checks)
	}
}
