//go:build linux

// Versions runs the tests beside several versions of Kubernetes and containerd, one pair
// after another, and writes docs/compatibility.md. A pair that has run at this commit is
// left out; `make versions` calls it in lab/.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/lab"
	"github.com/pullprobe/pullprobe/lab/compatibility"
)

const (
	root    = ".."
	results = "compatibility/results"
	page    = root + "/docs/compatibility.md"
)

// pair is what runs: the end-to-end tests, or without Kubernetes the matrix.
type pair struct{ kubernetes, containerd string }

func pairs() []pair {
	all := []pair{{"1.31", "1.6"}, {"1.33", "1.7"}, {"1.35", "2.1"}, {"1.37", "2.4"}}
	for _, containerd := range []string{"1.6", "1.7", "2.0", "2.1", "2.2", "2.3", "2.4"} {
		all = append(all, pair{"", containerd})
	}
	return all
}

func (p pair) name() string {
	if p.kubernetes == "" {
		return "matrix-" + p.containerd
	}
	return "e2e-" + p.kubernetes + "-" + p.containerd
}

// make returns the arguments of make that choose the versions.
func (p pair) make(target string, more ...string) []string {
	return append([]string{"--no-print-directory", "-C", root, target, "KUBERNETES=" + p.kubernetes, "CONTAINERD=" + p.containerd}, more...)
}

func main() {
	only := flag.String("only", "", "a regular expression: run these only (e2e-1.33-1.7, matrix-2.1, …)")
	again := flag.Bool("again", false, "also run what has run at this commit")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := runAll(ctx, *only, *again); err != nil {
		fmt.Fprintln(os.Stderr, "versions:", err)
		os.Exit(1)
	}
}

// runAll runs every pair whose name matches, and writes the page. Its error names what did
// not run.
func runAll(ctx context.Context, only string, again bool) error {
	wanted, err := regexp.Compile("^(" + cmp.Or(only, ".*") + ")$")
	if err != nil {
		return err
	}
	commit, err := productCommit()
	if err != nil {
		return err
	}
	rules, err := compatibility.RulesDigest(root)
	if err != nil {
		return err
	}
	known, err := compatibility.Read(results)
	if err != nil {
		return err
	}
	var failures []error
	for _, p := range pairs() {
		if !wanted.MatchString(p.name()) || !again && hasRun(known, p, commit) {
			continue
		}
		r, err := p.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", p.name(), err))
			continue
		}
		r.Commit, r.Rules, r.Date = commit, rules, time.Now().UTC().Format(time.DateOnly)
		fmt.Printf("==> %s: %d passed, %d failed, %d skipped\n", r, r.Passed, len(r.Failed), r.Skipped)
		if err := compatibility.Write(results, p.name(), r); err != nil {
			return err
		}
		all, err := compatibility.Read(results)
		if err != nil {
			return err
		}
		if err := os.WriteFile(page, []byte(compatibility.Page(all)), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(failures...)
}

// productCommit returns the last commit that changed more than the results. The tree must
// be clean, so that the commit is what ran.
func productCommit() (string, error) {
	others := []string{"--", ".", ":!lab/" + results, ":!docs/compatibility.md"}
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", append([]string{"-C", root}, append(args, others...)...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return "", err
	}
	if changed != "" {
		return "", fmt.Errorf("commit these files first, the table names the commit that ran:\n%s", changed)
	}
	return git("log", "-1", "--format=%h")
}

func hasRun(known []compatibility.Result, p pair, commit string) bool {
	return slices.ContainsFunc(known, func(r compatibility.Result) bool {
		return r.Commit == commit && strings.HasPrefix(r.Containerd, p.containerd+".") &&
			(p.kubernetes == "" && r.Kubernetes == "" || p.kubernetes != "" && strings.HasPrefix(r.Kubernetes, p.kubernetes+"."))
	})
}

// run builds the versions and runs the tests beside them. What fails is run a second time,
// alone: a busy machine makes some tests late.
func (p pair) run(ctx context.Context) (compatibility.Result, error) {
	r := compatibility.Result{Tests: "matrix"}
	target := "matrix"
	if p.kubernetes != "" {
		r.Tests, target = "end-to-end", "e2e"
	}
	prerequisite := map[string]string{"e2e": "image", "matrix": "build"}[target]
	for _, t := range []string{prerequisite, "lab-build"} {
		if err := stream(ctx, os.Stdout, p.make(t)...); err != nil {
			return r, err
		}
	}
	var err error
	if r.Kubernetes, r.Containerd, err = p.full(); err != nil {
		return r, err
	}
	began := time.Now()
	o, err := p.test(ctx, target)
	if err != nil {
		return r, err
	}
	r.Seconds = int(time.Since(began).Seconds())
	if len(o.Failed) > 0 {
		// make reads $$ as $.
		second, err := p.test(ctx, target, "RUN=^("+strings.Join(topLevel(o.Failed), "|")+")$$", "ROW=("+strings.Join(rowsOf(o.Failed), "|")+")")
		if err != nil {
			return r, err
		}
		for _, name := range o.Failed {
			if second.PassedAll(name) {
				o.Passed = append(o.Passed, name)
				r.Repeated = append(r.Repeated, name)
			} else {
				r.Failed = append(r.Failed, name)
			}
		}
	}
	r.Passed, r.Skipped, r.Differences = len(o.Passed), len(o.Skipped), o.Differences
	return r, nil
}

// full returns the versions that the built programs print.
func (p pair) full() (kubernetes, containerd string, err error) {
	d := lab.DefaultDir()
	number := regexp.MustCompile(`\d+\.\d+\.\d+`)
	out, err := exec.Command(d.Containerd(p.containerd), "--version").Output()
	if err != nil {
		return "", "", err
	}
	// The commit that follows the version may have dots and digits too.
	containerd = string(number.Find(out))
	if p.kubernetes == "" {
		return "", containerd, nil
	}
	out, err = exec.Command(d.Kubelet(p.kubernetes), "--version").Output()
	return string(number.Find(out)), containerd, err
}

// test runs a target of make, shows its output, and reads the results.
func (p pair) test(ctx context.Context, target string, more ...string) (compatibility.Outcome, error) {
	name := "versions-" + p.name() + ".log"
	if len(more) > 0 {
		name = "versions-" + p.name() + "-again.log"
	}
	log := filepath.Join(string(lab.DefaultDir()), name)
	f, err := os.Create(log)
	if err != nil {
		return compatibility.Outcome{}, err
	}
	defer f.Close()
	failed := stream(ctx, io.MultiWriter(os.Stdout, f), p.make(target, append(more, "VERBOSE=1")...)...)
	convert := exec.CommandContext(ctx, "go", "tool", "test2json")
	in, err := os.Open(log)
	if err != nil {
		return compatibility.Outcome{}, err
	}
	defer in.Close()
	convert.Stdin, convert.Stderr = in, os.Stderr
	lines, err := convert.Output()
	if err != nil {
		return compatibility.Outcome{}, err
	}
	o, err := compatibility.ParseOutput(bytes.NewReader(lines))
	if err == nil && failed != nil && len(o.Failed) == 0 {
		err = fmt.Errorf("%w, see %s", failed, log) // a panic, or the lab
	}
	return o, err
}

func stream(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "make", args...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// topLevel returns the tests without their subtests.
func topLevel(names []string) []string {
	return unique(names, func(name string) string { name, _, _ = strings.Cut(name, "/"); return name })
}

// rowsOf returns the rows of the matrix: TestMatrix/rows/NAME.
func rowsOf(names []string) []string {
	return unique(names, func(name string) string { return name[strings.LastIndexByte(name, '/')+1:] })
}

func unique(names []string, of func(string) string) []string {
	var all []string
	for _, name := range names {
		if s := regexp.QuoteMeta(of(name)); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
