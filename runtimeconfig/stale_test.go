package runtimeconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// startProcess runs a real process with this environment and returns it.
func startProcess(t *testing.T, env ...string) *host.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	cmd.Env = append([]string{"PATH=/bin"}, env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p, err := host.ProcessOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	// Start returns in the middle of exec(2), when the new program has neither
	// command line nor environment yet.
	last := cmd.Env[len(cmd.Env)-1]
	hosttest.Eventually(t, func() bool {
		now, err := p.Environ()
		return err == nil && slices.Contains(now, last)
	}, func() string { return "the process does not begin" })
	return p
}

// afterNow lets a process seem started a little after now, so that what lies on
// disk is older.
func afterNow(p *host.Process) *host.Process { p.Listening = time.Now().Add(time.Second); return p }

// touch changes a file until it is newer than the process, whose start is told
// in ticks.
func touch(t *testing.T, p *host.Process, root *host.Root, name, text string) {
	t.Helper()
	hosttest.Eventually(t, func() bool {
		if err := os.WriteFile(filepath.Join(root.String(), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := root.Changed(name)
		since, err2 := p.Since()
		return err == nil && err2 == nil && at.After(since)
	}, func() string { return name + " does not get newer than the process" })
}

func TestEnvironmentCheck(t *testing.T) {
	unit := "/etc/systemd/system/c.service"
	t.Run("a drop-in that came later", func(t *testing.T) {
		root := rootOf(t, map[string]string{unit: "[Service]\n"})
		p := startProcess(t)
		if err := os.MkdirAll(root.String()+unit+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		p.Listening = time.Now().Add(-time.Minute) // the clock was set back; the start counts
		k := environmentCheck(p, root, "c.service")
		hosttest.Expect(t, k, report.Pass, "unit=c.service", "runs=", "filesSay=", "differs=")

		touch(t, p, root, unit+".d/proxy.conf", "[Service]\nEnvironment=https_proxy=http://u:canary@proxy.lab:3128 NO_PROXY=.lab\n")
		k = environmentCheck(p, root, "c.service")
		hosttest.Expect(
			t,
			k,
			report.Pass,
			"newer=true",
			"differs=HTTPS_PROXY,NO_PROXY",
			"proxyDiffers=true",
			"runs=",
			"filesSay=HTTPS_PROXY=http://proxy.lab:3128 NO_PROXY=.lab",
		)
		if !strings.Contains(k.Evidence["files"], unit+".d/proxy.conf") {
			t.Errorf("files: %v", k.Evidence)
		}
	})
	t.Run("older files, same settings", func(t *testing.T) {
		root := rootOf(t, map[string]string{unit: "[Service]\nEnvironment=HTTPS_PROXY=http://a:b@proxy.lab:3128\n"})
		k := environmentCheck(afterNow(startProcess(t, "HTTPS_PROXY=http://a:b@proxy.lab:3128")), root, "c.service")
		hosttest.Expect(t, k, report.Pass, "newer=", "differs=", "proxyDiffers=", "runs=HTTPS_PROXY=http://proxy.lab:3128")
	})
	t.Run("only the password differs", func(t *testing.T) {
		root := rootOf(t, map[string]string{unit: "[Service]\nEnvironment=HTTPS_PROXY=http://a:canary@proxy.lab:3128\n"})
		k := environmentCheck(startProcess(t, "HTTPS_PROXY=http://a:canary2@proxy.lab:3128"), root, "c.service")
		hosttest.Expect(t, k, report.Pass, "differs=HTTPS_PROXY")
		for name, v := range k.Evidence {
			if strings.Contains(v+k.Summary, "canary") {
				t.Errorf("%s shows the password: %s", name, v)
			}
		}
	})
	t.Run("k3s", func(t *testing.T) {
		root := rootOf(t, map[string]string{
			"/etc/systemd/system/k3s.service":     "[Service]\nEnvironmentFile=-/etc/default/%N\nEnvironmentFile=-/etc/systemd/system/k3s.service.env\n",
			"/etc/systemd/system/k3s.service.env": "HTTPS_PROXY=http://for-k3s.lab\nCONTAINERD_HTTPS_PROXY=http://for-pulls.lab\nNO_PROXY=.lab, .svc\n",
		})
		env := []string{"HTTPS_PROXY=http://for-pulls.lab", "NO_PROXY=.svc,.lab,10.42.0.0/16"}
		hosttest.Expect(
			t,
			environmentCheck(startProcess(t, env...), root, "k3s.service"),
			report.Pass,
			"differs=",
			"filesSay=HTTPS_PROXY=http://for-pulls.lab NO_PROXY=.lab, .svc",
		)
	})
	t.Run("no service", func(t *testing.T) {
		hosttest.Expect(
			t,
			environmentCheck(startProcess(t, "http_proxy=proxy.lab:80", "SSL_CERT_FILE=/x"), nil, ""),
			report.Pass,
			"unit=",
			"runs=HTTP_PROXY=//proxy.lab:80 SSL_CERT_FILE=/x",
		)
	})
	t.Run("gone", func(t *testing.T) {
		p := &host.Process{PID: os.Getpid()} // was another process's once
		hosttest.Expect(t, environmentCheck(p, nil, ""), report.Skipped)
	})
}

func TestWithoutUser(t *testing.T) {
	for in, want := range map[string]string{
		"http://u:canary@p.lab:3128": "http://p.lab:3128", "socks5://p": "socks5://p", "u:canary@p.lab:3128": "//p.lab:3128", "p.lab": "//p.lab",
		"http://u:12/canary@p.lab": "(set)", "http://u:can/ary@p.lab": "(set)", "http://p.lab/x?canary": "http://p.lab",
		"u:canary": "(set)", "": "(set)",
	} {
		if got := withoutUser(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	main := "/etc/containerd/config.toml"
	text := "version = 2\nimports = ['i.toml']\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/a'\n"
	root := rootOf(t, map[string]string{main: text, "/etc/containerd/i.toml": ""})
	p := startProcess(t)
	a, b := "/a", "/b"
	afterNow(p)
	hosttest.Expect(t, ConfigCheck(p, root, readConfig(root, main, ""), nil, &a), report.Pass, "newer=", "filesSay=/a", "runs=/a", "differs=")
	hosttest.Expect(t, ConfigCheck(p, root, readConfig(root, main, ""), nil, &b), report.Pass, "differs=config_path", "runs=/b")

	p.Listening = time.Time{}
	touch(t, p, root, "/etc/containerd/i.toml", "# changed\n")
	k := ConfigCheck(p, root, readConfig(root, main, ""), nil, nil)
	hosttest.Expect(t, k, report.Pass, "newer=true", "runs=")
	if !strings.Contains(k.Evidence["files"], "/etc/containerd/i.toml") {
		t.Errorf("%v", k.Evidence)
	}
	touch(t, p, root, main, "version = 2\n[plugins")
	k = ConfigCheck(p, root, readConfig(root, main, ""), nil, &a)
	hosttest.Expect(t, k, report.Fail, "newer=true", "file="+main)
	if k.Cause != report.RuntimeConfigInvalid || !strings.Contains(k.Summary, "line 2") {
		t.Errorf("%+v", k)
	}
}

// A link that is replaced by one to an older file is a change.
func TestChangedSeesLinks(t *testing.T) {
	root := rootOf(t, map[string]string{"/old": "x", "/older": "y"})
	link := filepath.Join(root.String(), "link")
	if err := os.Symlink("/old", link); err != nil {
		t.Fatal(err)
	}
	target, err := root.Changed("/older")
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, func() bool {
		os.Remove(link)
		if err := os.Symlink("/older", link); err != nil {
			t.Fatal(err)
		}
		at, err := root.Changed("/link")
		return err == nil && at.After(target)
	}, func() string { return "the link's own change does not count" })
}

func TestMadeBy(t *testing.T) {
	for file, want := range map[string]string{
		"/usr/bin/nodeadm": "nodeadm", "/etc/eks/bootstrap.sh": "bootstrap.sh", "/home/kubernetes/bin/kubelet": "GKE",
		"/opt/azure/containers/provision.sh": "AKS", "/etc/x": "",
	} {
		if got := madeBy(rootOf(t, map[string]string{file: ""})); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
