package examine

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/report"
)

// fakeRuntime has one pod, and a handler whose images cannot be unpacked.
type fakeRuntime struct {
	readyRuntime
	runtimeapi.UnimplementedImageServiceServer

	mu     sync.Mutex
	pulled []*runtimeapi.PullImageRequest
}

func (*fakeRuntime) ListPodSandbox(_ context.Context, r *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	if r.GetFilter().GetLabelSelector()["io.kubernetes.pod.uid"] != "uid" {
		return &runtimeapi.ListPodSandboxResponse{}, nil
	}
	return &runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{
		{Id: "old", Metadata: &runtimeapi.PodSandboxMetadata{Attempt: 1}, CreatedAt: 1, RuntimeHandler: "former"},
		{Id: "new", Metadata: &runtimeapi.PodSandboxMetadata{Attempt: 2}, CreatedAt: 2, RuntimeHandler: "kata"},
	}}, nil
}

func (*fakeRuntime) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{}, nil
}

func (*fakeRuntime) ImageStatus(context.Context, *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return &runtimeapi.ImageStatusResponse{}, nil
}

func (f *fakeRuntime) PullImage(_ context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulled = append(f.pulled, r)
	if r.GetImage().GetRuntimeHandler() == "kata" {
		return nil, status.Error(codes.Unavailable, `failed to prepare extraction snapshot "x": connection error: no such file or directory`)
	}
	return &runtimeapi.PullImageResponse{ImageRef: "sha256:1"}, nil
}

// The test pull is the kubelet's: with the pod's sandbox configuration and the runtime
// handler of its RuntimeClass. An image that is for no pod is pulled without both.
func TestPullOfPod(t *testing.T) {
	fake := &fakeRuntime{}
	client := hangingRuntime(t, func(s *grpc.Server) {
		runtimeapi.RegisterRuntimeServiceServer(s, fake)
		runtimeapi.RegisterImageServiceServer(s, fake)
	})
	e := &Examiner{
		Node: &NodeReader{
			Runtime:       client,
			OwnFiles:      true,
			AllowLoopback: true,
			DiskPath:      t.TempDir(),
		},
		Puller: &cri.Puller{
			Client:  client,
			Journal: cri.NewJournal(t.TempDir()),
			Space:   func() (free, reserve uint64, err error) { return 100 << 30, 1 << 30, nil },
		},
	}
	image := examinetest.StartImages(t).Absent()
	pull := func(pod *cri.Pod, class string) (report.Check, []*runtimeapi.PullImageRequest) {
		t.Helper()
		fake.pulled = nil
		x := e.Examine(t.Context(), Subject{
			Image:        image,
			Pod:          pod,
			RuntimeClass: class,
			Failing:      true,
			Secrets:      func(context.Context) []credentials.SecretLookup { return nil },
		}, nil)
		return report.Find(x.Checks, report.IDPull), fake.pulled
	}

	pod := &cri.Pod{Namespace: "shop", Name: "web", UID: "uid", Annotation: "annotated"}
	check, sent := pull(pod, "kata-class")
	if len(sent) != 1 || check.Outcome == report.Pass || check.Evidence[report.KeyRuntimeHandler] != "kata" {
		t.Fatalf("%d pulls: %+v", len(sent), check)
	}
	sandbox := sent[0].GetSandboxConfig()
	if m := sandbox.GetMetadata(); m.GetName() != "web" || m.GetNamespace() != "shop" || m.GetUid() != "uid" || m.GetAttempt() != 2 {
		t.Errorf("%+v", m)
	}
	const annotation = "io.containerd.cri.runtime-handler"
	if sandbox.GetAnnotations()[annotation] != "annotated" || sent[0].GetImage().GetAnnotations()[annotation] != "annotated" ||
		sandbox.GetLabels()["io.kubernetes.pod.name"] != "web" {
		t.Errorf("%+v", sent[0])
	}
	if pod.Handler != "" {
		t.Error("the caller's pod was changed")
	}
	if check, sent = pull(&cri.Pod{Namespace: "shop", Name: "web", UID: "uid"}, ""); len(sent) != 1 || sent[0].GetImage().GetRuntimeHandler() != "" {
		t.Errorf("without a RuntimeClass: %+v, %v", check, sent)
	}
	if check, sent = pull(&cri.Pod{Namespace: "shop", Name: "gone", UID: "gone"}, "kata-class"); len(sent) != 0 || check.Outcome != report.Skipped {
		t.Errorf("without a sandbox: %+v, %v", check, sent)
	}
	if check, sent = pull(nil, ""); len(sent) != 1 || sent[0].GetSandboxConfig() != nil {
		t.Errorf("for no pod: %+v, %v", check, sent)
	}

	// The kubelet sends a handler only with a feature gate.
	for flags, want := range map[string]string{
		"--v=1": "",
		"--feature-gates=RuntimeClassInImageCriApi=true": "kata",
	} {
		t.Run(flags, func(t *testing.T) {
			kubelet(t, flags)
			if _, sent := pull(pod, "kata-class"); len(sent) != 1 || sent[0].GetImage().GetRuntimeHandler() != want {
				t.Errorf("sent %v, want the handler %q", sent, want)
			}
		})
	}
}
