package main

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var platforms = []string{"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64", "windows-amd64", "windows-arm64"}

// TestManifest checks that krew's validation accepts the manifest, and that krew installs the
// archive of each platform.
func TestManifest(t *testing.T) {
	dir := t.TempDir()
	var archives []string
	for _, p := range platforms {
		archives = append(archives, archive(t, dir, p))
	}
	check(t, dir, archives)
}

// TestRelease does the same for the manifest and the archives of dist/, if they were made.
func TestRelease(t *testing.T) {
	archives, err := filepath.Glob("../../dist/kubectl-pullprobe-*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Skip("no dist/: make release")
	}
	if len(archives) != len(platforms) {
		t.Errorf("dist/ has %d archives, want %d", len(archives), len(platforms))
	}
	check(t, t.TempDir(), archives)
	sums := run(t, "../../dist", nil, "sha256sum", "--check", "SHA256SUMS")
	for _, a := range append(archives, "pullprobe.yaml") {
		if !strings.Contains(sums, filepath.Base(a)+": OK") {
			t.Errorf("SHA256SUMS has no %s", filepath.Base(a))
		}
	}
}

// check writes the manifest of archives, and validates and installs it with krew.
func check(t *testing.T, dir string, archives []string) {
	t.Helper()
	manifest := filepath.Join(dir, "pullprobe.yaml")
	f, err := os.Create(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(f, "v1.2.3", archives); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, ".", nil, "go", "tool", "validate-krew-manifest", "-skip-install", "-manifest", manifest)
	for _, a := range archives {
		parts := strings.Split(strings.TrimSuffix(filepath.Base(a), ".tar.gz"), "-")
		root := filepath.Join(dir, parts[2]+parts[3])
		env := []string{"KREW_ROOT=" + root, "KREW_OS=" + parts[2], "KREW_ARCH=" + parts[3], "KREW_NO_UPGRADE_CHECK=1"}
		run(t, ".", env, "go", "tool", "krew", "install", "--manifest="+manifest, "--archive="+a)
		for _, name := range []string{"LICENSE", "kubectl_complete-pullprobe"} {
			if _, err := os.Stat(filepath.Join(root, "store/pullprobe/v1.2.3", name)); err != nil {
				t.Error(err)
			}
		}
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// archive makes an archive as a release has it.
func archive(t *testing.T, dir, platform string) string {
	t.Helper()
	name := filepath.Join(dir, "kubectl-pullprobe-"+platform+".tar.gz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(f)
	w := tar.NewWriter(zip)
	bin := "kubectl-pullprobe"
	if strings.HasPrefix(platform, "windows") {
		bin += ".exe"
	}
	for _, file := range []string{"LICENSE", bin, "kubectl_complete-pullprobe"} {
		if err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o755, Size: int64(len(file)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(file)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []interface{ Close() error }{w, zip, f} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return name
}
