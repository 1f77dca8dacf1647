package examine

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
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// limit is how long an examination may take on a busy machine, whatever hangs.
const limit = VerdictTimeout + 2*time.Second

// hangingRuntime is a runtime that accepts every call and responds only to those that
// are served.
func hangingRuntime(t *testing.T, serve func(*grpc.Server)) *cri.Client {
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

// readyRuntime serves the status of a runtime that is ready.
type readyRuntime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
}

func (readyRuntime) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{RuntimeName: "containerd", RuntimeVersion: "v2.4.2"}, nil
}

func (readyRuntime) Status(context.Context, *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{{Type: runtimeapi.RuntimeReady, Status: true}}},
	}, nil
}

func noSecrets(context.Context) []credentials.SecretLookup { return nil }

// If the runtime, the registry or the API server hangs, an examination ends in time
// and its checks name what hangs.
func TestExaminationOfWhatHangs(t *testing.T) {
	runtime, err := cri.New(examinetest.Silent(t, "unix", filepath.Join(t.TempDir(), "r.sock")).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close() })
	absent, err := cri.New(filepath.Join(t.TempDir(), "absent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { absent.Close() })
	registry := examinetest.Silent(t, "tcp", "127.0.0.1:0").Addr().String()
	working := examinetest.StartImages(t).Absent()
	answers, _, _ := strings.Cut(working, "/")
	for _, tt := range []struct {
		name    string
		runtime *cri.Client
		subject Subject
		check   string
		outcome report.Outcome
	}{
		{
			name:    "runtime",
			runtime: runtime,
			subject: Subject{Image: working, Failing: true, Secrets: noSecrets},
			check:   "runtime",
			outcome: report.Fail,
		},
		{
			name:    "image store, while the registry answers",
			runtime: hangingRuntime(t, func(s *grpc.Server) { runtimeapi.RegisterRuntimeServiceServer(s, readyRuntime{}) }),
			subject: Subject{Image: working, Failing: true, Secrets: noSecrets},
			check:   "manifest/" + answers,
			outcome: report.Fail,
		},
		{
			name:    "runtime, while the registry answers",
			runtime: hangingRuntime(t, func(*grpc.Server) {}),
			subject: Subject{Image: working, Failing: true, Secrets: noSecrets},
			check:   "manifest/" + answers,
			outcome: report.Fail,
		},
		{
			name:    "registry",
			runtime: absent,
			subject: Subject{Image: registry + "/app:1", Failing: true, Secrets: noSecrets},
			check:   "manifest/" + registry,
			outcome: report.Unknown,
		},
		{
			name:    "secrets",
			runtime: absent,
			subject: Subject{Image: working, Failing: true, Secrets: func(ctx context.Context) []credentials.SecretLookup {
				<-ctx.Done()
				return []credentials.SecretLookup{{Namespace: "shop", Name: "login", Err: ctx.Err()}}
			}},
			check:   "credentials",
			outcome: report.Skipped,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := &Examiner{Node: &NodeReader{Runtime: tt.runtime, AllowLoopback: true}}
			began := time.Now()
			x := e.Examine(t.Context(), tt.subject, nil)
			if took := time.Since(began); took > limit {
				t.Errorf("took %v", took)
			}
			if c := report.Find(x.Checks, tt.check); c.Outcome != tt.outcome || c.Summary == "" {
				t.Errorf("%s: %+v", tt.check, c)
			}
		})
	}
}

// A disk that hangs is reported, and few threads wait for it.
func TestHangingDisk(t *testing.T) {
	dir := hangingDisk(t)
	var disks diskProber
	check := func() {
		began := time.Now()
		c := disks.check(imageDisk{name: dir}, 0)
		if c.ID != "disk" || c.Outcome != report.Error || !strings.Contains(c.Summary, "did not answer") ||
			time.Since(began) > callTimeout+time.Second {
			t.Errorf("after %v: %+v", time.Since(began), c)
		}
	}
	var first sync.WaitGroup
	for range maxAbandoned {
		first.Go(check)
	}
	first.Wait()
	for range 10 {
		check()
	}
	if n := disks.calls.abandoned.Load(); n > maxAbandoned {
		t.Errorf("%d calls hang", n)
	}
}

// hangingDisk mounts a file system whose server never responds (FUSE).
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
		_ = unix.Close(fd) // waiting calls get an error now
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
