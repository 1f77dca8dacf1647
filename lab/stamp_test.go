package lab

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStampFollowsWhatTheBinaryIsMadeFrom(t *testing.T) {
	src := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module x\n")
	write("go.sum", "")
	write("cmd/x/main.go", "package main\n")
	base := target{name: "x", dir: ".", packages: []string{"./cmd/x"}, sources: []string{"cmd/x/*.go"}, binaries: []string{"x"}}
	stampOf := func(tt target, goVersion string) string {
		t.Helper()
		s, err := tt.computeStamp(src, goVersion)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := stampOf(base, "go1.26")
	same := func(what string, want bool, got string) {
		t.Helper()
		if (got == first) != want {
			t.Errorf("%s: same stamp is %v, want %v", what, got == first, want)
		}
	}

	same("nothing changed", true, stampOf(base, "go1.26"))
	same("another compiler", false, stampOf(base, "go1.27"))
	flags := base
	flags.tags = "seccomp"
	same("another flag", false, stampOf(flags, "go1.26"))
	write("cmd/x/main_test.go", "package main\n")
	write("README.md", "text")
	same("a test and a text", true, stampOf(base, "go1.26"))
	write("go.sum", "something\n")
	same("another go.sum", false, stampOf(base, "go1.26"))
	write("go.sum", "")
	write("cmd/x/main.go", "package main // changed\n")
	same("another source", false, stampOf(base, "go1.26"))

	if _, err := (target{name: "y", dir: "nowhere"}).computeStamp(src, "go1.26"); err == nil {
		t.Error("a module without go.mod has a stamp")
	}
}

// The sources of every target exist: a stamp of no files would never change.
func TestTargetsHaveTheirSources(t *testing.T) {
	all := commonTargets()
	for _, v := range []Versions{{}, {"1.31", "1.7"}, {"1.33", "2.0"}, {"1.37", "2.1"}} {
		versioned, err := versionTargets(".", v.orDefault())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, versioned...)
	}
	for _, tt := range all {
		if _, err := tt.computeStamp(".", "go"); err != nil {
			t.Error(err)
		}
		for _, glob := range tt.sources {
			if found, err := filepath.Glob(glob); err != nil || len(found) == 0 {
				t.Errorf("%s: nothing at %s", tt.name, glob)
			}
		}
	}
}
