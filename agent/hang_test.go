package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/report"
)

// limit is what an examination may take, whatever hangs, on a busy machine.
const limit = verdictIn + 2*time.Second

// silent accepts connections and never says a word.
func silent(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l
}

// mute is a runtime that takes every call and answers none but those served.
func mute(t *testing.T, serve func(*grpc.Server)) *cri.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "mute.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, call grpc.ServerStream) error {
		<-call.Context().Done()
		return call.Context().Err()
	}))
	serve(s)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	c, err := cri.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// readyRuntime is the part of a runtime that says so.
type readyRuntime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
}

func (readyRuntime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "containerd", RuntimeVersion: "v2.4.2"}, nil
}

func (readyRuntime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{{Type: runtimeapi.RuntimeReady, Status: true}}}}, nil
}

func noSecrets(context.Context) []credentials.Found { return nil }

// A runtime, a registry and secrets that hang cost an examination its time and
// no more, and what hangs is said.
func TestExaminationOfWhatHangs(t *testing.T) {
	runtime, err := cri.New(silent(t, "unix", filepath.Join(t.TempDir(), "r.sock")).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close() })
	absent, err := cri.New(filepath.Join(t.TempDir(), "absent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { absent.Close() })
	registry := silent(t, "tcp", "127.0.0.1:0").Addr().String()
	working := startImages(t).absent()
	answers, _, _ := strings.Cut(working, "/")
	for _, tt := range []struct {
		name    string
		runtime *cri.Client
		subject Subject
		check   string
		outcome report.Outcome
	}{
		{"runtime", runtime, Subject{Image: working, Failing: true, Secrets: noSecrets}, "runtime", report.Fail},
		{"image store, while the registry answers", mute(t, func(s *grpc.Server) { runtimeapi.RegisterRuntimeServiceServer(s, readyRuntime{}) }), Subject{Image: working, Failing: true, Secrets: noSecrets}, "manifest/" + answers, report.Fail},
		{"runtime, while the registry answers", mute(t, func(*grpc.Server) {}), Subject{Image: working, Failing: true, Secrets: noSecrets}, "manifest/" + answers, report.Fail},
		{"registry", absent, Subject{Image: registry + "/app:1", Failing: true, Secrets: noSecrets}, "manifest/" + registry, report.Unknown},
		{"secrets", absent, Subject{Image: working, Failing: true, Secrets: func(ctx context.Context) []credentials.Found {
			<-ctx.Done()
			return []credentials.Found{{Namespace: "shop", Name: "login", Err: ctx.Err()}}
		}}, "credentials", report.Skipped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := &Examiner{Runtime: tt.runtime, AllowLoopback: true}
			began := time.Now()
			x := e.Examine(t.Context(), tt.subject, nil)
			if took := time.Since(began); took > limit {
				t.Errorf("took %v", took)
			}
			if c := find(x.Checks, tt.check); c.Outcome != tt.outcome || c.Summary == "" {
				t.Errorf("%s: %+v", tt.check, c)
			}
		})
	}
}

// A disk that hangs is an answer too, and the threads that wait for it are few.
func TestHangingDisk(t *testing.T) {
	dir := hangingDisk(t)
	e := &Examiner{}
	v := vantage{diskName: dir}
	look := func() {
		began := time.Now()
		c := e.diskCheck(v, 0)
		if c.ID != "disk" || c.Outcome != report.Error || !strings.Contains(c.Summary, "did not answer") || time.Since(began) > choreIn+time.Second {
			t.Errorf("after %v: %+v", time.Since(began), c)
		}
	}
	var first sync.WaitGroup
	for range maxHung {
		first.Go(look)
	}
	first.Wait()
	for range 10 {
		look()
	}
	if n := e.disks.hung.Load(); n > maxHung {
		t.Errorf("%d calls hang", n)
	}
}

// hangingDisk is a file system whose server never answers (FUSE).
func hangingDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no /dev/fuse: ", err)
	}
	dir, err := os.MkdirTemp("", "agent-hang")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := unix.Mount("agent-hang", dir, "fuse", 0, "rootmode=40000,user_id=0,group_id=0,fd="+strconv.Itoa(fd)); err != nil {
		_ = unix.Close(fd)
		t.Skip("cannot mount FUSE here: ", err)
	}
	t.Cleanup(func() {
		_ = unix.Close(fd) // whoever waits gets an error now
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
