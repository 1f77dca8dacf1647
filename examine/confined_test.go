package examine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/cri/critest"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// startContainerd starts a real containerd, which reads hosts.toml beside its socket, and
// returns that socket.
func startContainerd(t *testing.T) (socket string) {
	t.Helper()
	n := critest.New(t, "")
	n.Configure(fmt.Sprintf("[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = %q\n", n.Dir+"/certs.d"))
	c, err := cri.New(n.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.Start(func() (problem string) {
		if c := c.Status(t.Context()); c.Outcome != report.Pass {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	return n.Socket()
}

// startKubelet starts a program named kubelet in its own mount namespace, so that no
// other test finds it as the node's.
func startKubelet(t *testing.T) {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	program := filepath.Join(t.TempDir(), "kubelet")
	text, err := os.ReadFile(sleep)
	if err == nil {
		err = os.WriteFile(program, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	examinetest.Executed(t, cmd.Process.Pid)
}

// seenFrom is what a process with some of root's capabilities sees.
type seenFrom struct{ Checks []report.Check }

func (s seenFrom) with(o report.Outcome) (ids []string) {
	for _, c := range s.Checks {
		if c.Outcome == o {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// confinedEnv makes the test binary examine an image and print the checks.
const confinedEnv = "PULLPROBE_TEST_CONFINED"

// examineConfined runs the test binary again as root with a few capabilities, as the
// component hardened does.
func examineConfined(t *testing.T, socket, image string, capabilities ...string) seenFrom {
	t.Helper()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("no setpriv (package util-linux)")
	}
	bounding := "-all"
	for _, c := range capabilities {
		bounding += ",+" + c
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, setpriv, "--no-new-privs", "--inh-caps=-all", "--bounding-set="+bounding,
		os.Args[0], "-test.run=^TestConfinedHelper$")
	cmd.Env = append(os.Environ(), confinedEnv+"="+socket+" "+image)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, answer, _ := strings.Cut(string(out), "answer: ")
	var seen seenFrom
	if err := json.NewDecoder(strings.NewReader(answer)).Decode(&seen); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return seen
}

// TestConfinedHelper is the program that examineConfined runs.
func TestConfinedHelper(t *testing.T) {
	socket, image, ok := strings.Cut(os.Getenv(confinedEnv), " ")
	if !ok {
		t.Skip("for other tests")
	}
	c, err := cri.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	node := &NodeReader{Runtime: c, AllowLoopback: true}
	e := &Examiner{Node: node, Puller: &cri.Puller{
		Client:   c,
		Journal:  cri.NewJournal(t.TempDir()),
		MaxBytes: func() int64 { return cri.DefaultPullMaxBytes },
		Space:    node.Space,
		Deadline: PullTimeout,
	}}
	none := func(context.Context) []credentials.SecretLookup { return nil }
	x := e.Examine(t.Context(), Subject{Image: image, Secrets: none, Failing: true}, func(Result) {})
	runtime, disk := node.State(t.Context())
	runtime.ID, disk.ID = "state/"+runtime.ID, "state/"+disk.ID
	out, err := json.Marshal(seenFrom{append(x.Checks, runtime, disk)})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("answer: " + string(out))
}

// A real containerd, examined with the capabilities of the component hardened and
// with none: what cannot be read is skipped, and the verdict blames no one for it.
func TestConfined(t *testing.T) {
	socket := startContainerd(t)
	images := examinetest.StartImages(t)
	if resp, err := http.Get(images.URL + "/v2/"); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	whole := examineConfined(t, socket, images.Absent(), "chown", "dac_override", "dac_read_search", "sys_ptrace", "sys_chroot", "sys_admin")
	hardened := examineConfined(t, socket, images.Absent(), "sys_ptrace")
	for _, o := range []report.Outcome{report.Pass, report.Fail, report.Skipped, report.Error} {
		if !slices.Equal(whole.with(o), hardened.with(o)) {
			t.Errorf("%s with SYS_PTRACE alone: %q, with more %q", o, hardened.with(o), whole.with(o))
		}
	}
	if slices.Contains(hardened.with(report.Skipped), "pull") {
		t.Errorf("no test pull with SYS_PTRACE: %+v", hardened.Checks)
	}

	// Without DAC_OVERRIDE root cannot read files of other owners. containerd can.
	dir := strings.TrimPrefix(images.URL, "http://")
	hosts := filepath.Join(filepath.Dir(socket), "certs.d", dir, "hosts.toml")
	if err := os.MkdirAll(filepath.Dir(hosts), 0o755); err != nil {
		t.Fatal(err)
	}
	hosttest.Write(t, hosts, "server = "+strconv.Quote(images.URL)+"\n")
	if err := errors.Join(os.Chown(hosts, 65534, 65534), os.Chmod(hosts, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		seen seenFrom
		want report.Outcome
	}{
		{examineConfined(t, socket, images.Absent(), "dac_override", "sys_ptrace"), report.Pass},
		{examineConfined(t, socket, images.Absent(), "sys_ptrace"), report.Skipped},
	} {
		if c := report.Find(f.seen.Checks, "hosts/"+dir); c.Outcome != f.want || c.Cause != "" {
			t.Errorf("hosts.toml of another owner: %s %s %q, want %s", c.Outcome, c.Cause, c.Summary, f.want)
		}
	}

	startKubelet(t)
	without := examineConfined(t, socket, images.Absent())
	if c := report.Find(without.Checks, "credentials/node"); !strings.Contains(c.Summary, host.ErrKubeletClosed.Error()) {
		t.Errorf("a kubelet that may not be inspected: %s %q", c.Outcome, c.Summary)
	}
	for _, id := range []string{
		"runtime/process", "disk", "state/disk", "credentials/node", "pull", "runtime/ca", "runtime/resolv.conf", "runtime/proxy",
	} {
		c := report.Find(without.Checks, id)
		if c.Outcome != report.Skipped || c.Cause != "" || c.Summary == "" {
			t.Errorf("without any capability %s is %s %s %q", id, c.Outcome, c.Cause, c.Summary)
		}
	}
	for _, c := range without.Checks {
		if c.Outcome == report.Fail && !strings.HasPrefix(c.ID, "manifest/") || c.Outcome == report.Error {
			t.Errorf("without any capability %s is %s %s: %s", c.ID, c.Outcome, c.Cause, c.Summary)
		}
	}
	if v := diagnosis.Diagnose(without.Checks); v.Fault == report.FaultNode || v.Confidence == report.Confirmed {
		t.Errorf("the verdict without any capability: %+v", v)
	}
}
