package cri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

func TestNew(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:///run/containerd/containerd.sock": "/run/containerd/containerd.sock",
		"/run/crio/crio.sock":                    "/run/crio/crio.sock",
		"/run//x/../crio.sock":                   "/run/crio.sock",
		"":                                       "",
		"unix://":                                "",
		"unix://run/x.sock":                      "",
		"tcp://127.0.0.1:1":                      "",
		"npipe:////./pipe/containerd":            "",
		"containerd.sock":                        "",
	} {
		c, err := New(endpoint)
		var at host.RuntimeSocket
		if err == nil {
			at, _ = c.Socket()
		}
		switch {
		case err != nil && want != "":
			t.Errorf("%q: %v", endpoint, err)
		case err == nil && at.Path != want:
			t.Errorf("%q: socket %q, want %q", endpoint, at.Path, want)
		case err == nil:
			c.Close()
		}
	}
}

// fakeRuntime is a CRI server that says only who it is.
type fakeRuntime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	name  string
	ready bool
}

func (f fakeRuntime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: f.name, RuntimeVersion: "v1\x1b[31m"}, nil
}

func (f fakeRuntime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: f.ready, Reason: "Because", Message: "of reasons"},
		{Type: runtimeapi.NetworkReady, Status: false},
	}}}, nil
}

// serve answers on path, with nothing but what services registers.
func serve(t *testing.T, path string, services func(*grpc.Server)) *grpc.Server {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that is killed
	s := grpc.NewServer()
	services(s)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return s
}

func runtimeNamed(name string, ready bool) func(*grpc.Server) {
	return func(s *grpc.Server) {
		runtimeapi.RegisterRuntimeServiceServer(s, fakeRuntime{name: name, ready: ready})
	}
}

func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // short: the paths of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func client(t *testing.T, path string) *Client {
	t.Helper()
	c, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestStatus(t *testing.T) {
	for name, test := range map[string]struct {
		serve   func(t *testing.T, path string)
		outcome report.Outcome
		cause   report.Cause
		why     string
	}{
		"ready": {func(t *testing.T, path string) { serve(t, path, runtimeNamed("containerd", true)) }, report.Pass, "", ""},
		"not ready": {
			func(t *testing.T, path string) { serve(t, path, runtimeNamed("containerd", false)) },
			report.Fail, report.RuntimeUnavailable, "notReady",
		},
		"no CRI": {
			func(t *testing.T, path string) { serve(t, path, func(*grpc.Server) {}) },
			report.Fail, report.RuntimeUnavailable, "unimplemented",
		},
		"absent": {func(*testing.T, string) {}, report.Fail, report.RuntimeUnavailable, "absent"},
		"refused": {func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, report.Fail, report.RuntimeUnavailable, "refused"},
		"hung": {func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, report.Fail, report.RuntimeUnavailable, "hung"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(socketDir(t), "s")
			test.serve(t, path)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			k := client(t, path).Status(ctx)
			if k.ID != "runtime" || k.Outcome != test.outcome || k.Cause != test.cause || k.Evidence["why"] != test.why ||
				k.Evidence["socket"] != path ||
				k.Summary == "" {
				t.Errorf("got %+v", k)
			}
			if k.Outcome == report.Pass &&
				(k.Evidence["name"] != "containerd" || k.Evidence["version"] != "v1[31m" || k.Evidence["ready"] != "true") {
				t.Errorf("got %+v", k)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if k := client(t, "/absent").Status(ctx); k.Outcome != report.Error || k.Cause != "" {
			t.Errorf("got %+v", k)
		}
	})
}

func TestSocketFault(t *testing.T) {
	for err, want := range map[error]SocketFault{
		syscall.ENOENT:       SocketAbsent,
		syscall.EACCES:       SocketPermission,
		syscall.EPERM:        SocketPermission,
		syscall.ECONNREFUSED: SocketRefused,
		syscall.EAGAIN:       SocketTimeout,
		syscall.EPROTOTYPE:   SocketFailed,
	} {
		wrapped := &SocketError{
			Path:  "/s",
			Fault: socketFault(&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", err)}),
			Err:   err,
		}
		if wrapped.Fault != want || !errors.Is(wrapped, err) || wrapped.Error() == "" {
			t.Errorf("%v: %s, want %s", err, wrapped.Fault, want)
		}
	}
}

func TestReconnect(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	c := client(t, path)
	name := func() (string, error) {
		r, err := c.runtime.Version(t.Context(), &runtimeapi.VersionRequest{})
		return r.GetRuntimeName(), err
	}
	becomes := func(want string) {
		t.Helper()
		var got string
		var err error
		hosttest.Eventually(
			t,
			func() bool { got, err = name(); return err == nil && got == want },
			func() string { return got + ": " + err.Error() },
		)
	}
	first := serve(t, path, runtimeNamed("first", true))
	becomes("first")

	first.Stop()
	var err error
	hosttest.Eventually(t, func() bool { _, err = name(); return err != nil }, func() string { return "still answers" })
	if status.Code(err) != codes.Unavailable {
		t.Errorf("while away: %v", err)
	}
	os.Remove(path)
	serve(t, path, runtimeNamed("second", true))
	becomes("second")

	// Replaced, while the old server lives on.
	os.Remove(path)
	serve(t, path, runtimeNamed("third", true))
	becomes("third")
}

func TestUses(t *testing.T) {
	img := Image{
		ID:      "sha256:aa",
		Tags:    []string{"docker.io/library/nginx:latest", "registry.lab/app:1"},
		Digests: []string{"registry.lab/app@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},
	}
	for name, test := range map[string]struct {
		k    Container
		want bool
	}{
		"by image ID":       {Container{ImageID: "sha256:aa"}, true},
		"by image ref":      {Container{ImageID: "sha256:cc", ImageRef: "sha256:aa"}, true},
		"by digest":         {Container{ImageRef: img.Digests[0]}, true},
		"by tag":            {Container{Image: "registry.lab/app:1"}, true},
		"by short name":     {Container{Asked: "nginx"}, true},
		"by tag and digest": {Container{Asked: "registry.lab/app:9@sha256:" + img.Digests[0][len("registry.lab/app@sha256:"):]}, true},
		"as a volume":       {Container{ImageID: "sha256:cc", Volumes: []string{"sha256:aa"}}, true},
		"another":           {Container{ImageID: "sha256:cc", ImageRef: "sha256:cc", Image: "registry.lab/app:2", Asked: "busybox"}, false},
		"nothing known":     {Container{}, false},
	} {
		if got := test.k.Uses(img); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (Container{}).Uses(Image{}) {
		t.Error("two unknowns are not the same image")
	}
}

func TestProcessAbsentSocket(t *testing.T) {
	_, err := client(t, filepath.Join(t.TempDir(), "s")).Process()
	var sock *SocketError
	if !errors.As(err, &sock) || sock.Fault != SocketAbsent {
		t.Errorf("got %v", err)
	}
}

// A client that finds its runtime needs no restart when the runtime appears, or appears
// elsewhere; before, it says what to set.
func TestFindAgain(t *testing.T) {
	dir := socketDir(t)
	var mu sync.Mutex
	var at host.RuntimeSocket
	set := func(path string) {
		mu.Lock()
		defer mu.Unlock()
		at = host.RuntimeSocket{Path: path, Dial: path, From: "a test"}
	}
	c, err := Find(func() (host.RuntimeSocket, error) {
		mu.Lock()
		defer mu.Unlock()
		if at.Path == "" {
			return at, &host.NoRuntimeSocketError{Looked: []string{"/x.sock"}}
		}
		return at, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := c.Status(t.Context())
	if k.Outcome != report.Error || k.Cause != "" || k.Evidence["why"] != "unknown" || !strings.Contains(k.Summary, "--runtime-endpoint") {
		t.Errorf("%+v", k)
	}
	for _, name := range []string{"first", "second"} {
		path := dir + "/" + name
		s := serve(t, path, runtimeNamed(name, true))
		set(path)
		hosttest.Eventually(t, func() bool { k = c.Status(t.Context()); return k.Outcome == report.Pass },
			func() string { return fmt.Sprintf("%+v", k) })
		if k.Target != path || k.Evidence["from"] != "a test" || k.Evidence["name"] != name {
			t.Errorf("%+v", k)
		}
		s.Stop()
		os.Remove(path)
	}
}
