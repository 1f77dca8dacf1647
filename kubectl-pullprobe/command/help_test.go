package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report"
)

// each calls f for a command and all below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// TestHelp checks that each command has examples, and that its help fits the screen.
func TestHelp(t *testing.T) {
	app := func() *App {
		return NewApp(testVersion, os.Getenv, strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	}
	each(newRoot(app()), func(c *cobra.Command) {
		if c.Name() == "options" {
			return
		}
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		a := app()
		out, ok := a.Out.(*strings.Builder)
		args := append(strings.Fields(c.CommandPath())[2:], "--help")
		if code := Run(t.Context(), a, args); code != 0 || !ok {
			t.Errorf("%q: exit code %d", args, code)
		}
		for line := range strings.SplitSeq(out.String(), "\n") {
			if n := len([]rune(line)); n > screen.Width {
				t.Errorf("%q: a line has %d columns: %s", args, n, line)
			}
		}
	})
}

// TestExamples runs every example of every help through kubectl, as a person does. None may be a
// usage error, and none may say that it could not be done.
func TestExamples(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "shop")
	rs := w.deployment(t, ns, "web")
	p := w.pod(t, ns, "web-abc-1", "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound), ownedBy(rs))
	d := missingTag(p, report.Confirmed)
	p = w.pod(t, ns, "web-0", "node-a", "registry.example/web:v9", waitingFor("ErrImagePull", notFound))
	w.agent(t, ns)
	hosts := map[string]report.HostState{"registry.example": report.Reachable, "registry.example:5000": report.Unreachable}
	w.write(t, "node-a", hosts, missingTag(p, report.Confirmed), d)
	dir := t.TempDir()
	w.answering(t, ns, wellExcept(mismatch))
	for name, text := range map[string]string{
		"deploy.yaml": chart, "manifests/web.yaml": chart, "helm": "#!/bin/sh\ncat <<'EOF'\n" + chart + "EOF\n", // the real one has no cluster here
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	self := made[string](t)(os.Executable())
	if err := os.Symlink(self, filepath.Join(dir, "kubectl-pullprobe")); err != nil {
		t.Fatal(err)
	}
	var examples []string
	each(newRoot(NewApp(testVersion, os.Getenv, nil, nil, nil)), func(c *cobra.Command) {
		examples = append(examples, commandsOf(c.Example)...)
	})
	if len(examples) < 18 {
		t.Errorf("only %d examples", len(examples))
	}
	// What an example ends with, if that is neither 0 nor 1.
	want := map[string]int{"kubectl pullprobe doctor --pullprobe-namespace monitoring": int(ExitFault)}
	for _, line := range examples {
		w.write(t, "node-a", hosts, missingTag(p, report.Confirmed), d) // the answer to ask has less
		t.Run(line, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			c := exec.CommandContext(ctx, "sh", "-c", line)
			c.Dir, c.WaitDelay = dir, time.Second
			c.Env = []string{"PATH=" + dir + ":" + w.bin + ":" + os.Getenv("PATH"), "KUBECONFIG=" + w.kubeconfig("admin"), "HOME=" + dir, "TERM=dumb"}
			out, err := c.CombinedOutput()
			code := c.ProcessState.ExitCode()
			wants := []int{0, 1}
			if n, ok := want[line]; ok {
				wants = []int{n}
			}
			if !slices.Contains(wants, code) || strings.Contains(string(out), "error:") {
				t.Errorf("exit code %d, %v\n%s", code, err, out)
			}
		})
	}
}

// commandsOf returns the commands of examples: lines that are no comment, joined where they are
// continued.
func commandsOf(examples string) (out []string) {
	continued := ""
	for line := range strings.SplitSeq(examples, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, "|"):
			continued += line + " "
		default:
			out = append(out, continued+line)
			continued = ""
		}
	}
	return out
}

// TestCompletion checks what each command completes.
func TestCompletion(t *testing.T) {
	w := newWorld(t)
	w.node(t, "node-a")
	ns := w.namespace(t, "completion")
	rs := w.deployment(t, ns, "web")
	w.pod(t, ns, "web-abc-1", "node-a", "registry.example/web:v9", running, ownedBy(rs))
	w.write(t, "node-a", map[string]report.HostState{"registry.example": report.Reachable})
	for _, c := range []struct{ line, want string }{
		{"web", "web-abc-1"}, {"ask we", "web-abc-1"}, {"wait deployment/", "deployment/web"}, {"deployment/w", "deployment/web"},
		{"node n", "node-a"}, {"registry r", "registry.example"}, {"--namespace comp", "completion"}, {"--context o", "other"},
		{"nodes -o ", "wide"}, {"--color a", "always"}, {"doc", "doctor"},
	} {
		args := append([]string{"__complete", "-n", ns}, strings.Split(c.line, " ")...)
		last := len(args) - 1
		// cobra wants the word to complete last
		args = append(args[:last:last], "--kubeconfig="+w.kubeconfig("admin"), args[last])
		if strings.HasPrefix(c.line, "--") { // the word is the value of the flag before it
			args = []string{"__complete", "--kubeconfig=" + w.kubeconfig("admin"), strings.Split(c.line, " ")[0], strings.Split(c.line, " ")[1]}
		}
		if strings.HasSuffix(c.line, "-o ") {
			args = []string{"__complete", "nodes", "-o", ""}
		}
		var out strings.Builder
		Run(t.Context(), NewApp(testVersion, func(string) string { return "" }, nil, &out, &strings.Builder{}), args)
		if !slices.ContainsFunc(strings.Split(out.String(), "\n"), func(l string) bool {
			name, _, _ := strings.Cut(l, "\t")
			return name == c.want
		}) {
			t.Errorf("%q: no %q in %s", args, c.want, fmt.Sprint(out.String()))
		}
	}
}
