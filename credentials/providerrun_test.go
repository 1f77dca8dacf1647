package credentials

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// buildProvider builds the lab's credential provider below a directory that can
// be a node's root.
func buildProvider(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(root, "bin", "lab-provider"), "./cmd/credential-provider")
	cmd.Dir = "../lab"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	return root
}

// dirFS is the file system below a directory.
type dirFS struct {
	nodeFS
	root string
}

func (d dirFS) Stat(name string) (os.FileInfo, error) { return os.Stat(filepath.Join(d.root, name)) }

func TestRunProvider(t *testing.T) {
	root := buildProvider(t)
	if err := os.WriteFile(filepath.Join(root, "bin", "text"), []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "orphan"), []byte("#!/nowhere/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "locked"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	kubelet := Kubelet{
		Args: []string{"kubelet"}, Environ: []string{"HOME=/root", "PROVIDER_USER=wrong", "PATH=/bin"}, Dir: "/", Started: time.Unix(1, 0),
		Files: dirFS{root: root},
	}
	if os.Geteuid() == 0 {
		if err := os.Mkdir(filepath.Join(root, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		kubelet.Root, kubelet.Dir = root, "/work"
	}
	config := ProviderConfig{BinDir: "/bin"}
	if kubelet.Root == "" {
		config.BinDir = filepath.Join(root, "bin")
		kubelet.Files = dirFS{root: "/"}
	}
	ask := func(t *testing.T, name, mode string) Answer {
		t.Helper()
		r := &Runner{Timeout: 10 * time.Second}
		ctx := t.Context()
		if mode == "hangs" {
			r.Timeout = 300 * time.Millisecond
		}
		p := Provider{
			Name: name, APIVersion: providerVersions[0], Args: []string{mode},
			Env: []EnvVar{{"PROVIDER_USER", "puller"}, {"PROVIDER_PASSWORD", "hunter2-canary"}},
		}
		return r.Ask(ctx, kubelet, config, p, "r.example/team/app")
	}

	t.Run("works", func(t *testing.T) {
		a := ask(t, "lab-provider", "works")
		if len(a.Credentials) != 1 || a.Failed != nil || a.Skipped != "" {
			t.Fatalf("got %+v", a)
		}
		c := a.Credentials[0]
		if c.Server != "r.example" || c.Username != "puller" || c.Password != "hunter2-canary" || c.Source != "provider lab-provider" {
			t.Errorf("got %v as %q", c, c.Username)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if a := ask(t, "lab-provider", "nothing"); len(a.Credentials) != 0 || a.Failed != nil || a.Skipped != "" {
			t.Errorf("got %+v", a)
		}
	})
	t.Run("is asked as the kubelet asks", func(t *testing.T) {
		a := ask(t, "lab-provider", "echo")
		if len(a.Credentials) != 1 {
			t.Fatalf("got %+v", a)
		}
		want := `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"r.example/team/app"}`
		if got := strings.TrimSpace(a.Credentials[0].Username); got != want {
			t.Errorf("asked %s", got)
		}
		if got := a.Credentials[0].Password; got != kubelet.Dir+" /root" {
			t.Errorf("directory and HOME: %s", got)
		}
	})
	for _, tt := range []struct{ mode, kind, reason string }{
		{"exit", "exit", "status 3"},
		{"hangs", "timeout", "the kubelet gives it 60 s"},
		{"garbage", "garbage", "not JSON"},
		{"version", "version", "answers in credentialprovider.kubelet.k8s.io/v1beta1"},
		{"cachekey", "cacheKeyType", "cacheKeyType"},
		{"unknown", "garbage", "no valid"},
		{"child", "hangs", "holds its output open"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			a := ask(t, "lab-provider", tt.mode)
			if a.Failed == nil || a.Failed.Kind != tt.kind || !strings.Contains(a.Failed.Reason, tt.reason) {
				t.Fatalf("got %+v, want %s", a.Failed, tt.kind)
			}
			if text := fmt.Sprintf("%+v %v", a, a.Failed); strings.Contains(text, "hunter2") {
				t.Errorf("its output shows: %s", text)
			}
			if tt.kind == "exit" && a.Failed.ExitCode != 3 {
				t.Errorf("exit code %d", a.Failed.ExitCode)
			}
		})
	}
	for _, tt := range []struct{ name, kind string }{{"absent", "missing"}, {"text", "notExecutable"}, {"orphan", "notExecutable"}, {"locked", "notExecutable"}} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, tt.name, "works"); a.Failed == nil || a.Failed.Kind != tt.kind {
				t.Errorf("got %+v, want %s", a, tt.kind)
			}
		})
	}
	t.Run("huge", func(t *testing.T) {
		if a := ask(t, "lab-provider", "huge"); a.Skipped == "" || a.Failed != nil {
			t.Errorf("got %+v: what is too long for us need not be for the kubelet", a)
		}
	})
	t.Run("nobody waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := &Runner{Timeout: time.Minute}
		a := r.Ask(ctx, kubelet, config, Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{"hangs"}}, "r.example/app")
		if a.Skipped == "" || a.Failed != nil {
			t.Errorf("got %+v", a)
		}
	})
}

// What a provider starts is gone when the answer is there.
func TestProviderLeavesNothing(t *testing.T) {
	root := buildProvider(t)
	r := &Runner{Timeout: 200 * time.Millisecond}
	k := Kubelet{Dir: "/", Files: dirFS{root: "/"}}
	for _, mode := range []string{"hangs", "child"} {
		r.Ask(t.Context(), k, ProviderConfig{BinDir: filepath.Join(root, "bin")}, Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{mode}}, "r.example/"+mode)
	}
	running := func() (found []string) {
		links, err := filepath.Glob("/proc/[0-9]*/exe")
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if target, _ := os.Readlink(link); strings.HasPrefix(target, root) {
				found = append(found, link)
			}
		}
		return found
	}
	// Killed they are, but the kernel takes a moment to bury an orphan.
	for deadline := time.Now().Add(5 * time.Second); len(running()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still running: %v", running())
		}
	}
}

// A registry's credentials are asked for once, and a broken provider is not
// run for every pod that waits.
func TestProviderAnswersAreKept(t *testing.T) {
	root := buildProvider(t)
	bin := filepath.Join(root, "bin")
	r := &Runner{Timeout: 10 * time.Second}
	k := Kubelet{Dir: "/", Environ: []string{"PROVIDER_USER=u"}, Files: dirFS{root: "/"}}
	mode := filepath.Join(root, "mode")
	duration := "1h"
	p := Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{"@" + mode}, DefaultCacheDuration: &duration}
	ask := func(mode, image string) Answer {
		if err := os.WriteFile(filepath.Join(root, "mode"), []byte(mode), 0o644); err != nil {
			t.Fatal(err)
		}
		return r.Ask(t.Context(), k, ProviderConfig{BinDir: bin}, p, image)
	}
	// The provider says cacheDuration 0: the next one is asked anew.
	if a := ask("works", "r.example/a"); a.Failed != nil {
		t.Fatal(a.Failed)
	}
	if a := ask("exit", "r.example/a"); a.Failed == nil {
		t.Error("an answer that must not be kept was kept")
	}
	if a := ask("works", "r.example/a"); a.Failed == nil {
		t.Error("a failure was not kept")
	}
	if a := ask("works", "r.example/b"); a.Failed != nil {
		t.Error("the failure is kept for another image, too")
	}
}

// The kubelet's cache keys (plugin.go, getCachedCredentials) and bounds.
func TestKeptBy(t *testing.T) {
	r := &Runner{}
	r.keep("a", Answer{Provider: "a"}, time.Hour)
	if a, ok := r.lookup("x", "a"); !ok || a.Provider != "a" {
		t.Error("not kept")
	}
	r.keep("b", Answer{}, 0)
	if _, ok := r.lookup("b"); ok {
		t.Error("kept although it may not be")
	}
	for i := range 3 * maxKept {
		r.keep(fmt.Sprint(i), Answer{}, time.Hour)
	}
	if len(r.kept) > maxKept {
		t.Errorf("%d are kept", len(r.kept))
	}
}

// Without the right to take the kubelet's root directory a provider is not run,
// and nothing is said against it.
func TestProviderWithoutChroot(t *testing.T) {
	const env = "PULLPROBE_TEST_WITHOUT_CHROOT"
	root := os.Getenv(env)
	if root == "" {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil || os.Geteuid() != 0 {
			t.Skip("needs root and setpriv (package util-linux)")
		}
		cmd := exec.Command(setpriv, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+sys_ptrace", os.Args[0], "-test.run=^TestProviderWithoutChroot$")
		cmd.Env = append(os.Environ(), env+"="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile(filepath.Join(root, "provider"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	k := Kubelet{Args: []string{"kubelet"}, Dir: "/", Files: dirFS{root: root}, Root: root}
	a := (&Runner{Timeout: time.Second}).Ask(t.Context(), k, ProviderConfig{BinDir: "/"}, Provider{Name: "provider", APIVersion: providerVersions[0]}, "r.example/app")
	if a.Failed != nil || !strings.Contains(a.Skipped, "could not be started from here: operation not permitted") {
		t.Errorf("failed: %v, skipped: %q", a.Failed, a.Skipped)
	}
}
