package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Lab is a running lab. Its methods may be called concurrently.
type Lab struct {
	dir Dir
}

// ErrNotRunning is Open's error when there is no lab or only part of one.
var ErrNotRunning = errors.New("the lab is not running: start it with `lab up`")

// Open returns the lab that Up has started.
func Open(d Dir) (*Lab, error) {
	if _, err := os.Stat(d.Run("ready")); err != nil {
		return nil, ErrNotRunning
	}
	l := &Lab{dir: d}
	for _, s := range l.Spaces() {
		if _, err := l.initOf(s); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// NodeNames returns the names of the nodes that are started, in the order of Nodes.
func (l *Lab) NodeNames() []string {
	return slices.DeleteFunc(allNodeNames(), func(n string) bool { return !l.started(n) })
}

// Spaces returns infra and the names of the nodes that are started.
func (l *Lab) Spaces() []string { return append([]string{Infra}, l.NodeNames()...) }

// started reports whether a node was started, and not removed since.
func (l *Lab) started(node string) bool { return exists(l.dir.Run(node + ".pid")) }

// Dir returns the lab's state directory.
func (l *Lab) Dir() Dir { return l.dir }

// initOf returns the first process of a node or of infra.
func (l *Lab) initOf(space string) (process, error) {
	if !slices.Contains(spaceNames(), space) {
		return process{}, fmt.Errorf("unknown namespace %q: the namespaces are %s", space, strings.Join(spaceNames(), ", "))
	}
	p, err := readPIDFile(l.dir.Run(space + ".pid"))
	if errors.Is(err, os.ErrNotExist) {
		return process{}, fmt.Errorf("%s is not started: start it with `lab add %s`", space, space)
	}
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", space, err)
	}
	if !p.alive() {
		return process{}, fmt.Errorf("%s is dead; clean up with `lab down`", space)
	}
	return p, nil
}

// Path returns the path by which processes outside can use a file of a node or infra.
func (l *Lab) Path(space, path string) (string, error) {
	p, err := l.initOf(space)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/root%s", p.PID, path), nil
}

// ReadFile reads a file of a node.
func (l *Lab) ReadFile(node, path string) ([]byte, error) {
	p, err := l.Path(node, path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(p)
}

// WriteFile writes a file of a node, in place if it exists, with its parent directories.
func (l *Lab) WriteFile(node, path string, data []byte) error {
	p, err := l.Path(node, path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p[:strings.LastIndexByte(p, '/')], 0o755); err != nil {
		return err
	}
	return os.WriteFile(p, data, 0o644)
}

// RemoveFile removes a file or directory of a node. It is no error if it does not exist.
func (l *Lab) RemoveFile(node, path string) error {
	p, err := l.Path(node, path)
	if err != nil {
		return err
	}
	return os.RemoveAll(p)
}

// In runs f on a thread inside all namespaces of a node or of infra: f uses the node's
// sockets, files and processes. Goroutines that f starts do not, and neither do those of
// the standard library (name resolution, dials to names).
func (l *Lab) In(space string, f func() error) error {
	p, err := l.initOf(space)
	if err != nil {
		return err
	}
	return inNamespacesOf(p.PID, f)
}

// Dial connects from inside a node's or infra's network. It can serve as DialContext of
// HTTP transports and of client-go. addr must be an IP address and a port.
func (l *Lab) Dial(ctx context.Context, space, network, addr string) (net.Conn, error) {
	return dialInNetns(ctx, netns(space), network, addr)
}

// Start starts cmd inside a node or infra. The caller waits for it with cmd.Wait. If
// cmd.Env is empty, cmd gets the lab's environment: bin/ in PATH, nothing of the
// caller's.
func (l *Lab) Start(space string, cmd *exec.Cmd) error {
	if len(cmd.Env) == 0 {
		cmd.Env = environment(l.dir)
	}
	// A name without slash was looked up in the caller's PATH, not in the lab's.
	if !strings.Contains(cmd.Args[0], "/") {
		for _, dir := range searchPath(l.dir) {
			if path := filepath.Join(dir, cmd.Args[0]); exists(path) {
				cmd.Path, cmd.Err = path, nil
				break
			}
		}
	}
	return l.In(space, cmd.Start)
}

// Exec runs a program inside a node or infra and returns what it prints. On
// failure the error holds its standard error.
func (l *Lab) Exec(ctx context.Context, space string, args ...string) ([]byte, error) {
	return l.execInput(ctx, space, nil, args...)
}

func (l *Lab) execInput(ctx context.Context, space string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := l.Start(space, cmd); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	return stdout.Bytes(), commandError(args[0], args[1:], stderr.Bytes(), err)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// KubeconfigPath returns the path of an administrator's kubeconfig. Its server is
// reachable from inside the lab only: run programs there, or connect with Dial.
func (l *Lab) KubeconfigPath() string { return l.dir.PKI("admin.kubeconfig") }

// KubectlCommand returns kubectl, ready to run. It keeps the caller's files and working
// directory, and enters only the lab's network, at Start.
func (l *Lab) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.dir.program("kubectl"), args...)
	cmd.Env = append(environment(l.dir), "KUBECONFIG="+l.KubeconfigPath(), "KUBECACHEDIR="+l.dir.Run("kubectl-cache"))
	return cmd
}

// Kubectl runs kubectl as administrator and returns what it prints.
func (l *Lab) Kubectl(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := l.KubectlCommand(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := inNetns(netns(Infra), cmd.Start); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	return stdout.Bytes(), commandError("kubectl", args, stderr.Bytes(), err)
}

// RunInfraNetwork runs a command in infra's network, with the host's files.
func (l *Lab) RunInfraNetwork(cmd *exec.Cmd) error {
	if err := inNetns(netns(Infra), cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}

// PIDs returns the processes of a node with this name (the base name of their first
// argument), those of its containers included. The pids are the host's.
func (l *Lab) PIDs(space, name string) ([]int, error) {
	p, err := l.initOf(space)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, pid := range descendants(p.PID) {
		if processName(pid) == name {
			found = append(found, pid)
		}
	}
	return found, nil
}

// Services returns the status of the services of a node or of infra.
func (l *Lab) Services(ctx context.Context, space string) ([]ServiceStatus, error) {
	var s []ServiceStatus
	err := control(ctx, l.dir, space, http.MethodGet, "/services", nil, &s)
	return s, err
}

// StartService starts a stopped service and waits until it is ready:
// containerd or kubelet of a node, k3s-agent or rke2-agent of one with such a layout; of infra etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, registry-open, registry-auth,
// registry-token. Readiness is known of containerd and kube-apiserver.
func (l *Lab) StartService(ctx context.Context, space, service string) error {
	if err := l.controlService(ctx, space, service, "start"); err != nil {
		return err
	}
	return l.waitService(ctx, space, service)
}

// StopService stops a service and waits until it has ended. It stays stopped.
func (l *Lab) StopService(ctx context.Context, space, service string) error {
	return l.controlService(ctx, space, service, "stop")
}

// KillService kills a service with SIGKILL and waits until it has ended. The init
// starts it again.
func (l *Lab) KillService(ctx context.Context, space, service string) error {
	return l.controlService(ctx, space, service, "kill")
}

// RestartService calls StopService and StartService.
func (l *Lab) RestartService(ctx context.Context, space, service string) error {
	if err := l.StopService(ctx, space, service); err != nil {
		return err
	}
	return l.StartService(ctx, space, service)
}

func (l *Lab) controlService(ctx context.Context, space, service, verb string) error {
	return control(ctx, l.dir, space, http.MethodPost, "/services/"+url.PathEscape(service)+"/"+verb, nil, nil)
}

func (l *Lab) waitService(ctx context.Context, space, service string) error {
	if service == "kube-apiserver" {
		return l.waitAPIServer(ctx)
	}
	if layout, err := layoutOf(space); err == nil && service == layout.runtime {
		return l.WaitContainerd(ctx, space)
	}
	return nil
}

// RestartContainerd restarts a node's containerd and waits until it is ready.
func (l *Lab) RestartContainerd(ctx context.Context, node string) error {
	layout, err := layoutOf(node)
	if err != nil {
		return err
	}
	return l.RestartService(ctx, node, layout.runtime)
}

// RestartKubelet restarts a node's kubelet; on k3s and RKE2 containerd, too.
func (l *Lab) RestartKubelet(ctx context.Context, node string) error {
	layout, err := layoutOf(node)
	if err != nil {
		return err
	}
	return l.RestartService(ctx, node, layout.kubelet)
}

// StopAPIServer stops the API server.
func (l *Lab) StopAPIServer(ctx context.Context) error {
	return l.StopService(ctx, Infra, "kube-apiserver")
}

// StartAPIServer starts the API server and waits until it is ready.
func (l *Lab) StartAPIServer(ctx context.Context) error {
	return l.StartService(ctx, Infra, "kube-apiserver")
}

// SetDNS sets the answer of a resolver (one of the Resolver constants) for name, from
// the next query on.
func (l *Lab) SetDNS(ctx context.Context, resolver, name string, a Answer) error {
	return control(ctx, l.dir, Infra, http.MethodPut, "/dns/"+resolver+"/"+url.PathEscape(name), a, nil)
}

// UnsetDNS undoes SetDNS for one name.
func (l *Lab) UnsetDNS(ctx context.Context, resolver, name string) error {
	return control(ctx, l.dir, Infra, http.MethodDelete, "/dns/"+resolver+"/"+url.PathEscape(name), nil, nil)
}

// ResetDNS undoes every SetDNS.
func (l *Lab) ResetDNS(ctx context.Context) error {
	return control(ctx, l.dir, Infra, http.MethodDelete, "/dns", nil, nil)
}

// DNSOverrides returns the answers set by SetDNS, by resolver and name.
func (l *Lab) DNSOverrides(ctx context.Context) (map[string]map[string]Answer, error) {
	var set map[string]map[string]Answer
	err := control(ctx, l.dir, Infra, http.MethodGet, "/dns", nil, &set)
	return set, err
}

// RegistryMark returns the current end of the access log.
func (l *Lab) RegistryMark() (Mark, error) { return endMark(l.dir.Log("access")) }

// RegistryLog returns the requests to a host of the zone that ended after a mark. An
// empty host means all.
func (l *Lab) RegistryLog(host string, since Mark) ([]Request, error) {
	return readJSONLog(l.dir.Log("access"), since, func(r Request) bool { return host == "" || r.Host == host })
}

// DNSMark returns the current end of the DNS log.
func (l *Lab) DNSMark() (Mark, error) { return endMark(l.dir.Log("dns")) }

// DNSLog returns the queries for a name that came after a mark. An empty name means
// all.
func (l *Lab) DNSLog(name string, since Mark) ([]Query, error) {
	return readJSONLog(l.dir.Log("dns"), since, func(q Query) bool { return name == "" || q.Name == canonicalName(name) })
}

// waitAPIServer returns when the API server reports that it is ready.
func (l *Lab) waitAPIServer(ctx context.Context) error {
	return waitUntil(ctx, time.Minute, "kube-apiserver", func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return l.checkAPIReady(ctx)
	})
}
