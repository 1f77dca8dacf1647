package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildFlags are the flags of all builds, here and in the Makefile. Any change
// rebuilds everything.
const buildFlags = "-mod=readonly -buildvcs=false -modcacherw -trimpath -gcflags=all=-dwarf=false"

// Versions of the third-party programs, as the go.mod files below tools/ require them.
const (
	containerdVersion = "v2.4.2"
	kubernetesVersion = "v1.36.3"
	helmVersion       = "v3.22.0"
)

// target is one `go build`.
type target struct {
	name     string
	dir      string   // module, or package for the lab's own, relative to the lab's source
	module   string   // module file in dir; empty: go.mod
	out      string   // directory below bin/ of the results; empty: bin/
	packages []string // in dir
	tags     string
	ldflags  string
	cgo      bool
	binaries []string // results
	links    []string // symbolic links to binaries[0]
	sources  []string // globs relative to the lab's source that make up the stamp; go.mod and go.sum of dir always do
}

// commonTargets returns what every lab has, whatever its versions.
func commonTargets() []target {
	// The version of Kubernetes that helm template and helm lint assume.
	helm := "-s -w -X helm.sh/helm/v3/internal/version.version=" + helmVersion
	for _, pkg := range []string{"chartutil", "lint/rules"} {
		helm += fmt.Sprintf(" -X helm.sh/helm/v3/pkg/%[1]s.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/%[1]s.k8sVersionMinor=36", pkg)
	}
	return []target{
		{
			name: "lab", dir: ".", packages: []string{"./cmd/lab"}, ldflags: "-s -w", binaries: []string{"lab"},
			sources: []string{"*.go", "config/*", "cmd/lab/*.go"},
		},
		{
			name: "sleeper", dir: ".", packages: []string{"./cmd/sleeper"}, ldflags: "-s -w", binaries: []string{"sleeper"},
			sources: []string{"cmd/sleeper/*.go"},
		},
		{
			name: "credential provider", dir: ".", packages: []string{"./cmd/credential-provider"}, ldflags: "-s -w",
			binaries: []string{"credential-provider"}, sources: []string{"cmd/credential-provider/*.go"},
		},
		{
			name: "registry", dir: "tools/registry", ldflags: "-s -w", binaries: []string{"registry"},
			packages: []string{"github.com/distribution/distribution/v3/cmd/registry"},
		},
		{
			name: "helm " + helmVersion, dir: "tools/helm", ldflags: helm, binaries: []string{"helm"},
			packages: []string{"helm.sh/helm/v3/cmd/helm"},
		},
		{
			name: "runc", dir: "tools/runc", tags: "seccomp", cgo: true, ldflags: "-s -w", binaries: []string{"runc"},
			packages: []string{"github.com/opencontainers/runc"},
		},
	}
}

// Build completes bin/ for a lab of these versions: it installs the missing Debian
// packages, then builds each binary whose stamp shows that its sources or flags have
// changed.
func Build(ctx context.Context, d Dir, v Versions, p *Progress) error {
	src, err := findSource(d)
	if err != nil {
		return err
	}
	v = v.orDefault()
	if err := v.check(src); err != nil {
		return err
	}
	if err := installPackages(ctx, p); err != nil {
		return err
	}
	if err := os.MkdirAll(d.Bin(".stamps"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(d.Bin(".source"), []byte(src), 0o644); err != nil {
		return err
	}
	goVersion, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return fmt.Errorf("go env GOVERSION: %w", err)
	}
	all, err := versionTargets(src, v)
	if err != nil {
		return err
	}
	all = append(commonTargets(), all...)
	for i, t := range all {
		stamp, err := t.computeStamp(src, string(goVersion))
		if err != nil {
			return err
		}
		stampFile := d.Bin(filepath.Join(".stamps", t.out, t.binaries[0]))
		if old, err := os.ReadFile(stampFile); err == nil && string(old) == stamp && t.built(d) {
			continue
		}
		what := fmt.Sprintf("building %s (%d of %d)", t.name, i+1, len(all))
		if err := p.Do(what, func(note func(string)) error { return t.build(ctx, d, src, note) }); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(stampFile), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(stampFile, []byte(stamp), 0o644); err != nil {
			return err
		}
	}
	if v.Containerd == debianContainerd {
		return p.Do("getting containerd "+debianContainerd, func(func(string)) error { return UnpackDebianContainerd(ctx, d) })
	}
	return nil
}

// path returns the path of one of the results.
func (t target) path(d Dir, name string) string { return d.Bin(filepath.Join(t.out, name)) }

func (t target) built(d Dir) bool {
	for _, name := range append(t.binaries, t.links...) {
		if _, err := os.Stat(t.path(d, name)); err != nil {
			return false
		}
	}
	return true
}

// build runs go build into a directory beside bin/ and moves the results. So a
// running binary is replaced, not written to.
func (t target) build(ctx context.Context, d Dir, src string, note func(string)) error {
	tmp := d.Bin(".new")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(t.path(d, ""), 0o755); err != nil {
		return err
	}
	args := []string{"build", "-v", "-ldflags", t.ldflags, "-o", tmp + "/"}
	if t.module != "" {
		args = append(args, "-modfile="+t.module)
	}
	if t.tags != "" {
		args = append(args, "-tags", t.tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, t.packages...)...)
	cmd.Dir = filepath.Join(src, t.dir)
	cmd.Env = t.env()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	output := followBuild(stderr, note)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", t.name, err, output)
	}
	for _, b := range t.binaries {
		if err := os.Rename(filepath.Join(tmp, b), t.path(d, b)); err != nil {
			return err
		}
	}
	for _, l := range t.links {
		if err := os.Remove(t.path(d, l)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(t.binaries[0], t.path(d, l)); err != nil {
			return err
		}
	}
	return nil
}

func (t target) env() []string {
	cgo := "CGO_ENABLED=0"
	if t.cgo {
		cgo = "CGO_ENABLED=1"
	}
	return append(os.Environ(), "GOFLAGS="+buildFlags, cgo, "GOWORK=off")
}

// followBuild reads the output of `go build -v`, one package a line, and
// returns its end for the error message.
func followBuild(r io.Reader, note func(string)) string {
	var last []string
	packages := 0
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if last = append(last, line); len(last) > 40 {
			last = last[1:]
		}
		switch {
		case strings.HasPrefix(line, "go: downloading"):
			note(strings.TrimPrefix(line, "go: "))
		case !strings.ContainsAny(line, " :"):
			packages++
			note(fmt.Sprintf("%d packages, now %s", packages, line))
		}
	}
	return strings.Join(last, "\n")
}

// findSource returns the directory of the lab's source: $PULLPROBE_LAB_SRC, else the
// working directory or one above it, else where the last build found it.
func findSource(d Dir) (string, error) {
	const mark = "tools/k8s/go.mod"
	is := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, mark))
		return err == nil
	}
	if s := os.Getenv("PULLPROBE_LAB_SRC"); s != "" {
		if !is(s) {
			return "", fmt.Errorf("PULLPROBE_LAB_SRC=%s: it has no %s", s, mark)
		}
		return s, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "lab")} {
			if is(candidate) {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if b, err := os.ReadFile(d.Bin(".source")); err == nil && is(string(bytes.TrimSpace(b))) {
		return string(bytes.TrimSpace(b)), nil
	}
	return "", errors.New("cannot find the lab's source: run this inside the repository, or set PULLPROBE_LAB_SRC to its lab/")
}
