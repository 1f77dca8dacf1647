package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// TestMain runs pullprobe itself if the tests start this program as pullprobe.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PULLPROBE") != "" {
		main()
	}
	os.Exit(hosttest.InOwnMounts(m.Run))
}

// pullprobe returns the command as a user starts it, in a directory of its own.
func pullprobe(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Dir = dir
	cmd.Env = []string{"TEST_AS_PULLPROBE=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TERM=xterm"}
	return cmd
}

// start runs the command and returns what a user sees of it.
func start(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &errs
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// files writes files and returns their directory.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const deployment = `kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      nodeSelector: {kubernetes.io/arch: arm64}
      initContainers: [{name: migrate, image: "r.example/APP:1", imagePullPolicy: IfNotPresent}]
      containers: [{name: app, image: "r.example/Never:1", imagePullPolicy: Never}]
---
kind: Pod
metadata: {name: one}
spec: {containers: [{name: c, image: "r.example/APP:2"}, {name: d, image: "r.example/APP:2"}]}
`

// TestCommandLine starts pullprobe as a user does.
func TestCommandLine(t *testing.T) {
	dir := files(t, map[string]string{
		"web.yaml":                     deployment,
		"service.yaml":                 "kind: Service\n",
		"bad.yaml":                     "kind: Pod\nspec: {containers: [{name: c, image: i}]}\n---\nkind: Pod\nspec: [\n",
		"chart.yaml":                   "kind: Pod\nimage: {{ .Values.image }}\n",
		"arch.yaml":                    "kind: Pod\nspec: {nodeSelector: {kubernetes.io/arch: a/b/c}, containers: [{name: c, image: i}]}\n",
		"hosts":                        "127.0.0.1 r.example\n",
		"resolv.conf":                  "nameserver 127.0.0.1\n",
		".docker/config.json":          `{"auths":{"r.example:1":{"auth":"!hunter2"}},"credsStore":"desktop"}`,
		"elsewhere/config.json":        `{"auths":{}}`,
		".config/containers/auth.json": `{"auths":`,
	})
	type row struct {
		name   string
		args   string
		stdin  string
		env    string
		code   int
		stdout string // parts, separated by |
		stderr string
	}
	for _, tt := range []row{
		{name: "nothing", args: "", code: exitUsage, stderr: "Usage:"},
		{name: "help", args: "--help", stdout: "Commands:|completion"},
		{name: "help of a command", args: "check r.example/APP:1 --help", stdout: "Usage: pullprobe check|Exit codes:|Output:"},
		{name: "mistyped command", args: "chek x", code: exitUsage, stderr: `did you mean "check"?`},
		{name: "mistyped flag", args: "check --no-pul x", code: exitUsage, stderr: "unknown flag --no-pul: did you mean --no-pull?"},
		{name: "one dash", args: "check -timeout=1s x", code: exitUsage, stderr: "use two dashes, --timeout"},
		{name: "no image", args: "check", code: exitUsage, stderr: "missing IMAGE"},
		{name: "a fault", args: "check r.example/APP:1", code: exitFault, stdout: "InvalidReference"},
		{name: "flags after the image", args: "check r.example/APP:1 -o json", code: exitFault, stdout: `"cause": "InvalidReference"`},
		{name: "long output", args: "check r.example/APP:1 --output=json", code: exitFault, stdout: `"cause": "InvalidReference"`},
		{name: "unknown output", args: "check -o yaml x", code: exitUsage, stderr: "--output=yaml: must be text or json"},
		{name: "unknown color", args: "check --color=blue x", code: exitUsage, stderr: "--color=blue: must be auto, always or never"},
		{
			name: "color when asked", args: "check --color=always r.example/APP:1", env: "NO_COLOR=1", code: exitFault,
			stdout: "\x1b[1;31mcluster-config  InvalidReference  (confirmed)\x1b[0m",
		},
		{
			name: "manifest", args: "check -f web.yaml --resolv-conf resolv.conf --etc-hosts hosts", code: exitFault,
			stdout: "  image        r.example/APP:1\n" +
				"  from         web.yaml: deployment/web, container migrate (pull policy\n" +
				"               IfNotPresent: not pulled where it is present) for linux/arm64\n|" +
				"container app (pull policy Never: the|" +
				"from         web.yaml: pod/one, container c\n  from         web.yaml: pod/one, container d",
		},
		{name: "manifest on standard input", args: "check -f -", stdin: deployment, code: exitFault, stdout: "from         pod/one, container c"},
		{name: "manifest without images", args: "check -f service.yaml", code: exitUsage, stderr: "service.yaml: no images: Service"},
		{name: "bad manifest", args: "check -f bad.yaml", code: exitUsage, stderr: "bad.yaml: document 2: not valid YAML"},
		{name: "template", args: "check -f chart.yaml", code: exitUsage, stderr: "chart.yaml: document 1:|helm template"},
		{name: "bad platform", args: "check -f arch.yaml", code: exitUsage, stderr: "arch.yaml: pod/(no name): node selector:"},
		{name: "no such manifest", args: "check -f none.yaml", code: exitUsage, stderr: "--filename: open none.yaml: no such file"},
		{
			name: "docker's logins", args: "check --auth-file docker r.example:1/app", code: exitFault,
			stdout: "PullSecretMalformed|.docker/config.json", stderr: "docker-credential-desktop",
		},
		{
			name: "docker's logins elsewhere", args: "check --auth-file docker r.example/APP:1", env: "DOCKER_CONFIG=elsewhere", code: exitFault,
			stdout: "InvalidReference",
		},
		{
			name: "podman's logins", args: "check --auth-file podman r.example:1/app", code: exitFault,
			stdout: "PullSecretMalformed|containers/auth.json",
		},
		{name: "no logins", args: "check --auth-file podman x", env: "HOME=/nowhere", code: exitUsage, stderr: "run podman login"},
		{name: "explain, flags last", args: "explain pull QPS exceeded -o json", stdout: `"cause":"PullQueueLimited"`},
		{name: "version", args: "version", stdout: "pullprobe dev (commit unknown"},
		{name: "version for scripts", args: "version --output json", stdout: `"version":"dev"`},
		{name: "agent", args: "agent --node-name n --workers=none", code: exitUsage, stderr: "--workers=none: must be a whole number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := pullprobe(t, dir, strings.Fields(tt.args)...)
			cmd.Stdin = strings.NewReader(tt.stdin)
			cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+dir, tt.env)
			code, out, errs := start(t, cmd)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for _, part := range strings.Split(tt.stdout, "|") {
				if !strings.Contains(out, part) {
					t.Errorf("standard output lacks %q", part)
				}
			}
			for _, part := range strings.Split(tt.stderr, "|") {
				if !strings.Contains(errs, part) {
					t.Errorf("standard error lacks %q", part)
				}
			}
			if tt.stderr == "" && errs != "" {
				t.Errorf("standard error %q", errs)
			}
			if strings.Contains(out+errs, "hunter2") {
				t.Error("a password is shown")
			}
			if !strings.Contains(tt.args, "--color=always") && strings.Contains(out+errs, "\x1b") {
				t.Error("a pipe gets decoration")
			}
			if t.Failed() {
				t.Logf("%s\n%s", out, errs)
			}
		})
	}
}

// TestCouldNotTell checks that an image about which nothing is known has an exit code of
// its own, and that a fault of another image is more important.
func TestCouldNotTell(t *testing.T) {
	for _, tt := range []struct {
		verdicts []report.Verdict
		want     int
	}{
		{[]report.Verdict{{Fault: report.FaultNone, Cause: report.Healthy, Confidence: report.Confirmed}}, exitOK},
		{[]report.Verdict{{Fault: report.FaultUndetermined, Cause: report.Undetermined, Confidence: report.ConfidenceUndetermined}}, exitUnknown},
		{[]report.Verdict{{Fault: report.FaultUndetermined, Cause: report.ConnectionTimeout, Confidence: report.Likely}}, exitFault},
		{[]report.Verdict{
			{Fault: report.FaultUndetermined, Cause: report.Undetermined},
			{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely},
			{Fault: report.FaultNone, Cause: report.Healthy},
		}, exitFault},
		{[]report.Verdict{
			{Fault: report.FaultNone, Cause: report.Healthy},
			{Fault: report.FaultUndetermined, Cause: report.Undetermined},
			{Fault: report.FaultNone, Cause: report.Healthy},
		}, exitUnknown},
	} {
		var diagnoses []report.Diagnosis
		var images []*subject
		for _, v := range tt.verdicts {
			diagnoses, images = append(diagnoses, report.Diagnosis{Verdict: v}), append(images, new(subject))
		}
		if got := new(checkOptions).print(process{stdout: io.Discard, stderr: io.Discard}, images, diagnoses, false); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.verdicts, got, tt.want)
		}
	}
}

// terminal returns the two ends of a pseudo-terminal.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	return ours, theirs
}

// onTerminal runs the command with standard output and error on a terminal, and returns
// what it shows.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	ours, theirs := terminal(t)
	cmd.Stdout, cmd.Stderr = theirs, theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	shown, _ := io.ReadAll(ours) // it ends with an error when the command has ended
	_ = cmd.Wait()
	return string(shown)
}

func TestColorsOnATerminal(t *testing.T) {
	const red = "\x1b[1;31mcluster-config"
	dir := t.TempDir()
	if shown := onTerminal(t, pullprobe(t, dir, "check", "r.example/APP:1")); !strings.Contains(shown, red) {
		t.Errorf("%q", shown)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		cmd := pullprobe(t, dir, "check", "r.example/APP:1")
		cmd.Env = append(cmd.Env, env)
		if shown := onTerminal(t, cmd); strings.Contains(shown, "\x1b[1;") || !strings.Contains(shown, "InvalidReference") {
			t.Errorf("%s: %q", env, shown)
		}
	}
	if shown := onTerminal(t, pullprobe(t, dir, "check", "r.example/APP:1", "--color=never")); strings.Contains(shown, "\x1b[1;") {
		t.Errorf("%q", shown)
	}
}

// TestProgress checks a registry that accepts connections and says nothing.
func TestProgress(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	image := silent.Addr().String() + "/app:1"
	args := []string{"check", "--timeout=3s", "-o", "json", image}
	shown := onTerminal(t, pullprobe(t, t.TempDir(), args...))
	if !strings.Contains(shown, "checking: 0 of 1 images done, ") || !strings.Contains(shown, "\r\x1b[K[") {
		t.Errorf("%.400q", shown)
	}
	code, out, errs := start(t, pullprobe(t, t.TempDir(), args...))
	var diagnoses []report.Diagnosis
	if err := json.Unmarshal([]byte(out), &diagnoses); err != nil || errs != "" || code != exitFault && code != exitUnknown {
		t.Errorf("exit %d, %v, standard error %q", code, err, errs)
	}
}

// TestHelpFits checks that every help fits a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	for _, c := range commands() {
		var b strings.Builder
		c.help(&b)
		for line := range strings.Lines(b.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("%s: %d columns: %s", c.name, n, line)
			}
		}
	}
}

// TestCompletion runs bash with the script.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	_, script, _ := start(t, pullprobe(t, t.TempDir(), "completion", "bash"))
	dir := files(t, map[string]string{"completion": script, "a-file": ""})
	for line, want := range map[string]string{
		"pullprobe ch":                 "check",
		"pullprobe help ex":            "explain",
		"pullprobe check --no":         "--no-pull",
		"pullprobe check x --out":      "--output",
		"pullprobe check -o ":          "text json",
		"pullprobe check --color al":   "always",
		"pullprobe check --ca-file a-": "a-file",
		"pullprobe check --timeout ":   "",
		"pullprobe agent --log-level ": "debug info warn error",
		"pullprobe completion ":        "--help bash zsh fish",
	} {
		words := strings.Split(line, " ")
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + w + "'"
		}
		cmd := exec.CommandContext(t.Context(), bash, "-c", fmt.Sprintf(
			`. ./completion; COMP_WORDS=(%s); COMP_CWORD=%d; _pullprobe; echo "${COMPREPLY[*]}"`, strings.Join(quoted, " "), len(words)-1))
		cmd.Dir = dir
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", line, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		code, out, errs := start(t, pullprobe(t, dir, "completion", shell))
		if code != exitOK || !strings.Contains(out, "no-pull") || errs != "" {
			t.Errorf("%s: exit %d, %q %q", shell, code, out, errs)
		}
	}
}
