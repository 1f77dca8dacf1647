package host

import (
	"errors"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report/readable"
)

// RuntimeSocket is where the runtime of this node's kubelet listens.
type RuntimeSocket struct {
	Path string // as the host names it
	Dial string // how this process reaches it: Path itself, or Path below the host's root
	From string // what names it, in plain words
}

// NoRuntimeSocketError is that no socket was found.
type NoRuntimeSocketError struct{ Looked []string }

func (e *NoRuntimeSocketError) Error() string {
	return "no container runtime was found (looked for " + strings.Join(e.Looked, ", ") +
		"): set --runtime-endpoint, or PULLPROBE_RUNTIME_ENDPOINT, to the kubelet's containerRuntimeEndpoint"
}

const (
	defaultSocket  = "/run/containerd/containerd.sock" // of the kubelet (pkg/kubelet/apis/config/v1beta1/defaults.go)
	k3sSocket      = "/run/k3s/containerd/containerd.sock"
	microk8sSocket = "/var/snap/microk8s/common/run/containerd.sock"
	k0sSocket      = "/run/k0s/containerd.sock"
)

// knownSockets are tried if no kubelet is seen. Those that only a distribution of
// Kubernetes has come first: the default one may belong to Docker. Sockets of a second
// runtime, such as Bottlerocket's host-containers, are not among them.
var knownSockets = []string{k3sSocket, microk8sSocket, k0sSocket, defaultSocket}

// socketFinder finds the runtime's socket. Its fields are this host's, or those of a test.
type socketFinder struct {
	kubelet func() (RuntimeSocket, error) // the socket that the kubelet is set to
	exists  func(name string) bool        // as this process names it
	listens func(name string) bool        // a process listens on the socket
	root    string                        // the host's root directory, as this process names it
}

// FindRuntimeSocket returns the socket of the runtime that this node's kubelet uses: the
// one that the kubelet is set to, else the first known one that exists. A kubelet's own
// setting counts also if the socket is not there yet. The error is a
// [*NoRuntimeSocketError], or about the kubelet's setting.
func FindRuntimeSocket() (RuntimeSocket, error) {
	exists := func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.Mode()&os.ModeSocket != 0
	}
	listens := func(name string) bool {
		conn, err := net.DialTimeout("unix", name, time.Second) //nolint:noctx // a local socket, and a second
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	return socketFinder{kubelet: kubeletSocket, exists: exists, listens: listens, root: "/proc/1/root"}.find()
}

func (f socketFinder) find() (RuntimeSocket, error) {
	s, err := f.kubelet()
	if wrong, ok := errors.AsType[*endpointError](err); ok {
		return RuntimeSocket{}, wrong
	}
	if err == nil {
		return f.reach(s), nil
	}
	// What is left of a distribution that was removed must not hide the one that runs.
	for _, usable := range []func(string) bool{f.listens, f.exists} {
		for _, name := range knownSockets {
			s := f.reach(RuntimeSocket{Path: name, From: "the socket exists, and no kubelet is seen here"})
			if usable(s.Dial) {
				return s, nil
			}
		}
	}
	return RuntimeSocket{}, &NoRuntimeSocketError{Looked: append([]string{"the kubelet's setting"}, knownSockets...)}
}

// reach sets how this process can reach a socket.
func (f socketFinder) reach(s RuntimeSocket) RuntimeSocket {
	s.Dial = s.Path
	if below := f.root + s.Path; !f.exists(s.Path) && f.exists(below) {
		s.Dial = below
	}
	return s
}

// kubeletSocket returns the socket that this host's kubelet is set to. The kubelet has
// the mounts of the host's first process: a process in a container may have any name.
func kubeletSocket() (RuntimeSocket, error) {
	first, err := ProcessOf(1)
	if err != nil {
		return RuntimeSocket{}, err
	}
	p, err := FindKubelet(first)
	if err != nil {
		return RuntimeSocket{}, err
	}
	root, err := p.Root()
	if err != nil {
		return RuntimeSocket{}, err
	}
	defer root.Close()
	if isK3s(p.comm()) {
		settings, err := readK3s(root, p.Service())
		if err != nil && !errors.Is(err, errHiddenFlags) {
			return RuntimeSocket{}, &endpointError{err.Error() + ", so the socket of k3s's runtime is unknown: set --runtime-endpoint"}
		}
		return settings.socket()
	}
	args, dir, err := p.KubeletArgs(root)
	if err != nil {
		return RuntimeSocket{}, err
	}
	return kubeletEndpoint(root, args, dir)
}

// kubeletEndpoint returns the socket by a kubelet's command line and its files. The
// flag overrides these (cmd/kubelet/app/server.go, kubeletConfigFlagPrecedence).
func kubeletEndpoint(root Files, args []string, dir string) (RuntimeSocket, error) {
	flags := ParseFlags(args, "container-runtime-endpoint")
	paths := parseEvictionFlags(args, dir)
	config, _, _, err := readKubeletConfig(root, paths.config, paths.configDir)
	if err != nil {
		return RuntimeSocket{}, err
	}
	if flag, ok := flags.Last("container-runtime-endpoint"); ok && flag != "" {
		return socketOf(flag, "the kubelet's flag --container-runtime-endpoint")
	}
	if config.Endpoint != "" {
		return socketOf(config.Endpoint, "containerRuntimeEndpoint of the kubelet's configuration")
	}
	return RuntimeSocket{Path: defaultSocket, From: "the kubelet's default"}, nil
}

// socket returns the socket of k3s's runtime.
func (s k3sSettings) socket() (RuntimeSocket, error) {
	switch {
	case s.Endpoint != "":
		return socketOf(s.Endpoint, "container-runtime-endpoint of k3s")
	case s.Docker:
		return RuntimeSocket{Path: "/run/k3s/cri-dockerd/cri-dockerd.sock", From: "docker of k3s"}, nil
	}
	return RuntimeSocket{Path: k3sSocket, From: "the default of k3s"}, nil
}

// endpointError is a kubelet's setting that names no usable socket.
type endpointError struct{ reason string }

func (e *endpointError) Error() string { return e.reason }

// socketOf returns the socket that an endpoint names, "unix:///path" or "/path".
func socketOf(endpoint, from string) (RuntimeSocket, error) {
	name := strings.TrimPrefix(endpoint, "unix://")
	if !path.IsAbs(name) {
		return RuntimeSocket{}, &endpointError{from + " is " + readable.Clean(endpoint, 80) + ", which is no unix socket: set --runtime-endpoint"}
	}
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, "/var/run/"); ok { // a link to /run that leads elsewhere from a container
		name = "/run/" + rest
	}
	return RuntimeSocket{Path: name, From: from}, nil
}
