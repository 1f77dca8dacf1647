package credentials

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
)

// buildProvider builds the lab's credential provider as bin/lab-provider in a
// directory that can be a node's root.
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

// dirFS is the file system in a directory. Only Stat works.
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
		Args: []string{"kubelet"}, Environ: []string{"HOME=/root", "PROVIDER_USER=wrong", "PATH=/bin"}, WorkDir: "/", Started: time.Unix(1, 0),
		Files: dirFS{root: root},
	}
	if os.Geteuid() == 0 {
		if err := os.Mkdir(filepath.Join(root, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		kubelet.Root, kubelet.WorkDir = root, "/work"
	}
	config := ProviderConfig{BinDir: "/bin"}
	if kubelet.Root == "" {
		config.BinDir = filepath.Join(root, "bin")
		kubelet.Files = dirFS{root: "/"}
	}
	ask := func(t *testing.T, name, mode string) ProviderResult {
		t.Helper()
		r := &ProviderRunner{Timeout: 10 * time.Second}
		ctx := t.Context()
		if mode == "hangs" {
			r.Timeout = 300 * time.Millisecond
		}
		p := Provider{
			Name: name, APIVersion: providerVersions[0], Args: []string{mode},
			Env: []kubeletv1.ExecEnvVar{{Name: "PROVIDER_USER", Value: "puller"}, {Name: "PROVIDER_PASSWORD", Value: "hunter2-canary"}},
		}
		return r.Run(ctx, ProviderCall{Kubelet: kubelet, Config: config, Provider: p, Repository: "r.example/team/app"})
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
	t.Run("gets the same request as from the kubelet", func(t *testing.T) {
		a := ask(t, "lab-provider", "echo")
		if len(a.Credentials) != 1 {
			t.Fatalf("got %+v", a)
		}
		want := `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"r.example/team/app"}`
		if got := strings.TrimSpace(a.Credentials[0].Username); got != want {
			t.Errorf("request %s", got)
		}
		if got := a.Credentials[0].Password; got != kubelet.WorkDir+" /root" {
			t.Errorf("directory and HOME: %s", got)
		}
	})
	for _, tt := range []struct{ mode, kind, reason string }{
		{"exit", "exit", "status 3"},
		{"hangs", "timeout", "the kubelet waits 60 s"},
		{"garbage", "garbage", "not JSON"},
		{"version", "version", "its response has credentialprovider.kubelet.k8s.io/v1beta1"},
		{"cachekey", "cacheKeyType", "cacheKeyType"},
		{"unknown", "garbage", "not a valid"},
		{"child", "hangs", "keeps its output open"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			a := ask(t, "lab-provider", tt.mode)
			if a.Failed == nil || a.Failed.Kind != tt.kind || !strings.Contains(a.Failed.Reason, tt.reason) {
				t.Fatalf("got %+v, want %s", a.Failed, tt.kind)
			}
			if text := fmt.Sprintf("%+v %v", a, a.Failed); strings.Contains(text, "hunter2") {
				t.Errorf("its output is visible: %s", text)
			}
			if tt.kind == "exit" && a.Failed.ExitCode != 3 {
				t.Errorf("exit code %d", a.Failed.ExitCode)
			}
		})
	}
	for _, tt := range []struct{ name, kind string }{
		{"absent", "missing"},
		{"text", "notExecutable"},
		{"orphan", "notExecutable"},
		{"locked", "notExecutable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, tt.name, "works"); a.Failed == nil || a.Failed.Kind != tt.kind {
				t.Errorf("got %+v, want %s", a, tt.kind)
			}
		})
	}
	t.Run("huge", func(t *testing.T) {
		if a := ask(t, "lab-provider", "huge"); a.Skipped == "" || a.Failed != nil {
			t.Errorf("got %+v: the kubelet may accept what is too long for pullprobe", a)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := &ProviderRunner{Timeout: time.Minute}
		p := Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{"hangs"}}
		a := r.Run(ctx, ProviderCall{Kubelet: kubelet, Config: config, Provider: p, Repository: "r.example/app"})
		if a.Skipped == "" || a.Failed != nil {
			t.Errorf("got %+v", a)
		}
	})
}

// TestProviderLeavesNoProcess tests that all processes of a provider are killed
// when Ask returns.
func TestProviderLeavesNoProcess(t *testing.T) {
	root := buildProvider(t)
	r := &ProviderRunner{Timeout: 200 * time.Millisecond}
	k := Kubelet{WorkDir: "/", Files: dirFS{root: "/"}}
	for _, mode := range []string{"hangs", "child"} {
		p := Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{mode}}
		c := ProviderConfig{BinDir: filepath.Join(root, "bin")}
		r.Run(t.Context(), ProviderCall{Kubelet: k, Config: c, Provider: p, Repository: "r.example/" + mode})
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
	// They are killed, but the kernel takes a moment to reap an orphan.
	for deadline := time.Now().Add(5 * time.Second); len(running()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still running: %v", running())
		}
	}
}

// TestAnswersAreCached tests that a provider runs once for a registry, and that
// a broken one is not run for every pod that waits.
func TestAnswersAreCached(t *testing.T) {
	root := buildProvider(t)
	bin := filepath.Join(root, "bin")
	r := &ProviderRunner{Timeout: 10 * time.Second}
	k := Kubelet{WorkDir: "/", Environ: []string{"PROVIDER_USER=u"}, Files: dirFS{root: "/"}}
	mode := filepath.Join(root, "mode")
	duration := metav1.Duration{Duration: time.Hour}
	p := Provider{Name: "lab-provider", APIVersion: providerVersions[0], Args: []string{"@" + mode}, DefaultCacheDuration: &duration}
	ask := func(mode, image string) ProviderResult {
		if err := os.WriteFile(filepath.Join(root, "mode"), []byte(mode), 0o644); err != nil {
			t.Fatal(err)
		}
		return r.Run(t.Context(), ProviderCall{Kubelet: k, Config: ProviderConfig{BinDir: bin}, Provider: p, Repository: image})
	}
	// The response has cacheDuration 0, so that the provider runs again.
	if a := ask("works", "r.example/a"); a.Failed != nil {
		t.Fatal(a.Failed)
	}
	if a := ask("exit", "r.example/a"); a.Failed == nil {
		t.Error("an answer that must not be cached was cached")
	}
	if a := ask("works", "r.example/a"); a.Failed == nil {
		t.Error("a failure was not cached")
	}
	if a := ask("works", "r.example/b"); a.Failed != nil {
		t.Error("the failure is cached for another image, too")
	}
}

// TestAnswerCache tests the bounds of the cache.
func TestAnswerCache(t *testing.T) {
	r := &ProviderRunner{}
	r.store("a", ProviderResult{Provider: "a"}, time.Hour)
	if a, ok := r.cached(time.Now(), "x", "a"); !ok || a.Provider != "a" {
		t.Error("not cached")
	}
	r.store("b", ProviderResult{}, 0)
	if _, ok := r.cached(time.Time{}, "b"); ok {
		t.Error("cached although its TTL is 0")
	}
	r.store("failed", ProviderResult{Failed: &ProviderError{}}, time.Hour)
	failed := r.cache["failed"]
	failed.at = failed.at.Add(-2 * minFailureAge)
	r.cache["failed"] = failed
	if _, ok := r.cached(failed.at.Add(-time.Second), "failed"); !ok {
		t.Error("a failure after the request does not count")
	}
	if _, ok := r.cached(time.Now(), "failed"); ok {
		t.Error("a failure before the request counts")
	}
	for i := range 3 * maxCachedAnswers {
		r.store(fmt.Sprint(i), ProviderResult{}, time.Hour)
	}
	if len(r.cache) > maxCachedAnswers {
		t.Errorf("%d are cached", len(r.cache))
	}
}

// TestProviderWithoutChroot tests that without the capability SYS_CHROOT a
// provider is not run, and does not count as failed.
func TestProviderWithoutChroot(t *testing.T) {
	const env = "PULLPROBE_TEST_WITHOUT_CHROOT"
	root := os.Getenv(env)
	if root == "" {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil || os.Geteuid() != 0 {
			t.Skip("needs root and setpriv (package util-linux)")
		}
		cmd := exec.Command(setpriv, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+sys_ptrace",
			os.Args[0], "-test.run=^TestProviderWithoutChroot$")
		cmd.Env = append(os.Environ(), env+"="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile(filepath.Join(root, "provider"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	k := Kubelet{Args: []string{"kubelet"}, WorkDir: "/", Files: dirFS{root: root}, Root: root}
	p := Provider{Name: "provider", APIVersion: providerVersions[0]}
	r := &ProviderRunner{Timeout: time.Second}
	a := r.Run(t.Context(), ProviderCall{Kubelet: k, Config: ProviderConfig{BinDir: "/"}, Provider: p, Repository: "r.example/app"})
	if a.Failed != nil || !strings.Contains(a.Skipped, "pullprobe could not start it: operation not permitted") {
		t.Errorf("failed: %v, skipped: %q", a.Failed, a.Skipped)
	}
}

// TestOnlyRootExecutes tests that a provider counts as executable if root can
// start it and this process cannot.
func TestOnlyRootExecutes(t *testing.T) {
	me := uint32(os.Geteuid())
	for _, tt := range []struct {
		mode fs.FileMode
		uid  uint32
		want bool
	}{
		{0o700, me + 1, true}, {0o710, me + 1, true},
		{0o700, me, false}, {0o600, me + 1, false}, {0o755, me + 1, false},
	} {
		if got := onlyRootExecutes(fileOf{tt.mode, tt.uid}); got != tt.want {
			t.Errorf("%o of %d: %v", tt.mode, tt.uid, got)
		}
	}
}

type fileOf struct {
	mode fs.FileMode
	uid  uint32
}

func (f fileOf) Name() string       { return "provider" }
func (f fileOf) Size() int64        { return 1 }
func (f fileOf) Mode() fs.FileMode  { return f.mode }
func (f fileOf) ModTime() time.Time { return time.Time{} }
func (f fileOf) IsDir() bool        { return false }
func (f fileOf) Sys() any           { return &syscall.Stat_t{Uid: f.uid} }
