package cri

import (
	"fmt"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// A pod's sandbox is found from its creation until it is stopped, and no other pod's.
func TestReadySandbox(t *testing.T) {
	reg := startRegistry(t)
	pause := reg.push("pause:1", map[string][]byte{"pause": pauseBinary(t)})
	n := startNode(t, pause)
	n.pull(pause)
	before := time.Now().Add(-time.Second)
	n.run(pause) // uid-1
	since, ok, err := n.ReadySandbox(t.Context(), "uid-1")
	if err != nil || !ok || since.Before(before) || since.After(time.Now().Add(time.Second)) {
		t.Errorf("since %v, %v, %v", since, ok, err)
	}
	if _, ok, err := n.ReadySandbox(t.Context(), "uid-2"); ok || err != nil {
		t.Errorf("another pod's sandbox: %v, %v", ok, err)
	}
	list, err := n.runtime.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.GetItems() {
		if _, err := n.runtime.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			t.Fatal(err)
		}
	}
	// containerd notes the end of a sandbox a moment after it has said so.
	hosttest.Eventually(t, func() bool { _, ok, err = n.ReadySandbox(t.Context(), "uid-1"); return !ok && err == nil },
		func() string { return fmt.Sprintf("a stopped sandbox: %v, %v", ok, err) })
}
