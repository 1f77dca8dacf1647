package cri

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// handlers configures two runtime handlers with snapshotters of their own: one whose
// snapshotter has gone, and one that works.
const handlers = `
[plugins."io.containerd.cri.v1.images".runtime_platforms.broken]
  snapshotter = "gone"
[plugins."io.containerd.cri.v1.images".runtime_platforms.copying]
  snapshotter = "native"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.broken]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.copying]
  runtime_type = "io.containerd.runc.v2"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "overlayfs"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "gone"
[proxy_plugins.gone]
  type = "snapshot"
  address = %q
`

// A test pull is the kubelet's pull: with the handler of the pod's RuntimeClass, whose
// snapshotter may be broken where the default one works.
func TestPullWithRuntimeHandler(t *testing.T) {
	reg := startRegistry(t)
	pause := reg.push("pause:1", map[string][]byte{"pause": pauseBinary(t)})
	n := startNode(t, pause)
	n.configure(fmt.Sprintf(handlers, n.dir+"/gone.sock"))
	n.restart()
	n.pull(pause)
	image := reg.push("app:1", file("content"))
	pull := func(pod *Pod) report.Check {
		t.Helper()
		dir := t.TempDir()
		k := newPuller(n, dir).Pull(t.Context(), PullRequest{Image: image, Pod: pod, Failing: true})
		if _, found := n.has(image); found {
			t.Errorf("the image stays: %+v", k)
		}
		// The code of a dead snapshotter is that of a dead runtime, so Recover checks again.
		if left := entries(t, dir); len(left) != 0 && k.Evidence["code"] != "Unavailable" {
			t.Errorf("%d entries stay in the journal: %+v", len(left), k)
		}
		return k
	}
	recovered := func(k report.Check) bool {
		pod := report.Check{ID: report.IDPod, Kind: report.KindPod, Outcome: report.Fail, Cause: report.Undetermined}
		return diagnosis.Diagnose([]report.Check{pod, n.Status(t.Context()), k}).Cause == report.Recovered
	}
	k := pull(nil)
	want(t, k, report.Pass, map[string]string{"removed": "true", "runtimeHandler": ""})
	if !recovered(k) {
		t.Error("a pull that succeeds does not show that the image can be pulled now")
	}
	want(t, pull(n.podWith("uid-default", "")), report.Pass, map[string]string{"removed": "true", "runtimeHandler": ""})
	k = pull(n.podWith("uid-broken", "broken"))
	want(t, k, report.Fail, map[string]string{"runtimeHandler": "broken"})
	if recovered(k) || !strings.Contains(k.Evidence["message"], "gone.sock") {
		t.Errorf("a broken snapshotter of the pod's handler: %+v", k)
	}
	want(t, pull(&Pod{Annotation: "broken"}), report.Fail, map[string]string{"runtimeHandler": "broken"})

	// Its snapshots go together with the image.
	k = pull(n.podWith("uid-copying", "copying"))
	want(t, k, report.Pass, map[string]string{"removed": "true", "runtimeHandler": "copying"})
	snapshots := n.dir + "/root/io.containerd.snapshotter.v1.native/snapshots"
	hosttest.Eventually(t, func() bool {
		list, err := os.ReadDir(snapshots)
		return err == nil && len(list) == 0
	}, func() string {
		list, err := os.ReadDir(snapshots)
		return fmt.Sprintf("snapshots of the handler: %v, %v", list, err)
	})

	// The cleanup after a crash removes it, too.
	dir := t.TempDir()
	held, err := NewJournal(dir).begin(entry{Image: image, Start: time.Now(), Timeout: time.Second, Handler: "copying"})
	if err != nil {
		t.Fatal(err)
	}
	held.release()
	n.pull(image)
	if s := newPuller(n, dir).Recover(t.Context()); len(s) != 1 || !s[0].Removed {
		t.Errorf("%+v", s)
	}
}

// podWith starts the sandbox of a pod with a handler, and returns the pod as the runtime
// reports it.
func (n *node) podWith(uid, handler string) *Pod {
	n.t.Helper()
	want := &Pod{Namespace: "shop", Name: uid, UID: uid, Attempt: 3}
	config := want.config()
	config.Linux = &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
	}}
	ctx := n.t.Context()
	r, err := n.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		n.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: r.GetPodSandboxId()})
		n.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: r.GetPodSandboxId()})
	}()
	got := &Pod{Namespace: "shop", Name: uid, UID: uid}
	var found bool
	got.Attempt, got.Handler, found, err = n.PodSandbox(ctx, uid)
	if err != nil || !found || got.Attempt != 3 || got.Handler != handler {
		n.t.Fatalf("%+v, %v, %v", got, found, err)
	}
	if _, _, found, err := n.PodSandbox(ctx, "another"); found || err != nil {
		n.t.Errorf("a pod without a sandbox: %v, %v", found, err)
	}
	return got
}
