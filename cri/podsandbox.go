package cri

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podUIDLabel is the kubelet's label of a pod's sandbox
// (pkg/kubelet/types/labels.go).
const podUIDLabel = "io.kubernetes.pod.uid"

// ReadySandbox returns when the pod's current sandbox was created, including its
// network. Before, the kubelet pulls none of the pod's images
// (kuberuntime_manager.go, SyncPod): the pod waits for a volume, its network or the
// sandbox image.
func (c *Client) ReadySandbox(ctx context.Context, podUID string) (since time.Time, ok bool, err error) {
	r, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
		State:         &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
		LabelSelector: map[string]string{podUIDLabel: podUID},
	}})
	if err != nil {
		return time.Time{}, false, err
	}
	for _, s := range r.GetItems() {
		if at := time.Unix(0, s.GetCreatedAt()); !ok || at.After(since) {
			since, ok = at, true
		}
	}
	return since, ok, nil
}
