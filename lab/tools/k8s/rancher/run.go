package rancher

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// socket is where the containerd of both programs listens.
const socket = "/run/k3s/containerd/containerd.sock"

// FlagsEnv is the variable with the flags of the service, one a line. k3s hides its command
// line (gspt.SetProcTitle), so the lab does not give them there.
const FlagsEnv = "LAB_SERVICE_FLAGS"

// program is k3s or RKE2, run as an agent.
type program struct {
	name             string
	dataDir          string
	cniBin, cniConf  string
	extraKubeletArgs []string
	ownKubelet       bool // the kubelet is a part of the process
}

func programs() []program {
	return []program{
		{
			name: "k3s", dataDir: "/var/lib/rancher/k3s", ownKubelet: true,
			cniBin: "/var/lib/rancher/k3s/data/cni", cniConf: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
		},
		{
			name: "rke2", dataDir: "/var/lib/rancher/rke2", cniBin: "/usr/lib/cni", cniConf: "/etc/cni/net.d",
			// pkg/executor/staticpod/staticpod.go, Kubelet.
			extraKubeletArgs: []string{
				"--volume-plugin-dir=/var/lib/kubelet/volumeplugins", "--file-check-frequency=5s", "--sync-frequency=30s",
			},
		},
	}
}

func find(name string) (program, error) {
	for _, p := range programs() {
		if name == p.name+" agent" {
			return p, nil
		}
	}
	return program{}, fmt.Errorf("%q is not k3s or rke2", name)
}

// data returns a path below the data directory.
func (p program) data(elem ...string) string {
	return filepath.Join(append([]string{p.dataDir}, elem...)...)
}

// etc returns the path of a file that people write.
func (p program) etc(name string) string { return filepath.Join("/etc/rancher", p.name, name) }

// settings are those of config.yaml and flags that matter here.
type settings struct {
	NodeName   string   `json:"node-name"`
	NodeIP     string   `json:"node-ip"`
	PauseImage string   `json:"pause-image"`
	NodeLabel  []string `json:"node-label"`
	KubeletArg []string `json:"kubelet-arg"`
}

// readSettings reads config.yaml. A flag overrides it: all values of a list.
func (p program) readSettings(flags []string) (s settings, err error) {
	text, err := os.ReadFile(p.etc("config.yaml"))
	if err == nil {
		err = yaml.UnmarshalStrict(text, &s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	var args []string
	for _, flag := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		switch name {
		case "node-name":
			s.NodeName = value
		case "node-ip":
			s.NodeIP = value
		case "pause-image":
			s.PauseImage = value
		case "kubelet-arg":
			args = append(args, value)
		default:
			return s, fmt.Errorf("unknown flag --%s", name)
		}
	}
	if args != nil {
		s.KubeletArg = args
	}
	return s, nil
}

// Run runs the agent of the program whose process has this name. It ends with containerd.
// kubelet runs a kubelet in this process.
func Run(name string, kubelet func(args []string) error) error {
	p, err := find(name)
	if err != nil {
		return err
	}
	s, err := p.readSettings(strings.Fields(os.Getenv(FlagsEnv)))
	if err != nil {
		return err
	}
	os.Unsetenv(FlagsEnv)
	os.Setenv("PATH", p.data("data/current/bin")+":"+os.Getenv("PATH"))
	if err := p.writeContainerdFiles(s); err != nil {
		return err
	}
	if err := p.writeKubeletDefaults(); err != nil {
		return err
	}
	go func() {
		err := run(p.environment(), "containerd", "-c", p.data("agent/etc/containerd/config.toml"), "-a", socket,
			"--state", filepath.Dir(socket), "--root", p.data("agent/containerd"))
		fmt.Fprintln(os.Stderr, "containerd:", err)
		os.Exit(1)
	}()
	waitForSocket()
	if p.ownKubelet {
		return kubelet(p.kubeletArgs(s))
	}
	for {
		fmt.Fprintln(os.Stderr, "kubelet exited:", run(os.Environ(), "kubelet", p.kubeletArgs(s)...))
		time.Sleep(5 * time.Second)
	}
}

// environment returns that of containerd: CONTAINERD_X becomes X
// (pkg/agent/containerd/containerd.go, Run).
func (p program) environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		env = append(env, strings.TrimPrefix(pair, "CONTAINERD_"))
	}
	return env
}

// run runs a program, which dies with this one.
func run(env []string, name string, args ...string) error {
	runtime.LockOSThread() // the signal is sent when the thread ends that started the program
	defer runtime.UnlockOSThread()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

func waitForSocket() {
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
