package cri

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/report"
)

// sandboxLabel is what the kubelet marks a pod's sandbox with
// (k8s.io/kubelet/pkg/types, KubernetesPodUIDLabel).
const sandboxLabel = "io.kubernetes.pod.uid"

// Sandbox is "runtime/sandbox": the image that pods' sandboxes are made from,
// and whether it is here. Every pod needs it, and the runtime pulls it with
// its own means, without pull secrets: that it is absent is no fault by
// itself. Config may be nil. With the UID of a pod the evidence "pod" says
// whether that has a sandbox, "ready", "notReady" or "none"; the check fails
// where a pod without one meets a node without the image.
func (c *Client) Sandbox(ctx context.Context, config *Config, pod string) report.Check {
	began := time.Now()
	k := report.Check{ID: "runtime/sandbox", Kind: report.KindRuntime, Outcome: report.Skipped}
	image, from, err := c.sandboxImage(ctx, config)
	k.Duration = report.Millis(time.Since(began))
	if err != nil {
		k.Outcome, k.Summary = report.Error, "the runtime did not say which image it makes pod sandboxes from"
		return k
	}
	if image == "" {
		k.Summary = "which image the runtime makes pod sandboxes from is unknown: it is not configured, and there is no sandbox to tell"
		return k
	}
	k.Target = clean(image, 200)
	_, present, err := c.ImageStatus(ctx, image)
	if err != nil {
		k.Outcome, k.Summary = report.Error, "the runtime did not say whether its sandbox image is here"
		return k
	}
	k.Outcome = report.Pass
	k.Evidence = map[string]string{"image": k.Target, "from": from, "present": "false"}
	k.Summary = "the runtime's sandbox image " + k.Target + " is not on this node; it is pulled with the next pod"
	if present {
		k.Evidence["present"] = "true"
		k.Summary = "the runtime's sandbox image " + k.Target + " is on this node"
	}
	if pod != "" {
		if state, err := c.podSandbox(ctx, pod); err == nil {
			k.Evidence["pod"] = state
			if state == "none" && !present {
				k.Outcome, k.Cause = report.Fail, report.SandboxImageUnavailable
				k.Summary = "the pod has no sandbox yet, and the runtime's sandbox image " + k.Target + " is not on this node"
			}
		}
	}
	k.Duration = report.Millis(time.Since(began))
	return k
}

// sandboxImage asks the running runtime first (containerd 1 tells), then its
// configuration, then its newest sandbox.
func (c *Client) sandboxImage(ctx context.Context, config *Config) (image, from string, err error) {
	st, err := c.runtime.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return "", "", err
	}
	var running struct {
		SandboxImage string `json:"sandboxImage"`
	}
	if json.Unmarshal([]byte(st.GetInfo()["config"]), &running) == nil && running.SandboxImage != "" {
		return running.SandboxImage, "the runtime", nil
	}
	if config != nil && config.Sandbox != "" {
		return config.Sandbox, clean(config.Main, 100), nil
	}
	image, err = c.newestSandboxImage(ctx)
	return image, "the newest sandbox", err
}

func (c *Client) newestSandboxImage(ctx context.Context) (string, error) {
	r, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(r.GetItems()) == 0 {
		return "", err
	}
	newest := slices.MaxFunc(r.GetItems(), func(a, b *runtimeapi.PodSandbox) int { return cmp.Compare(a.GetCreatedAt(), b.GetCreatedAt()) })
	s, err := c.runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: newest.GetId(), Verbose: true})
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var info struct {
		Image string `json:"image"`
	}
	if err := json.Unmarshal([]byte(s.GetInfo()["info"]), &info); err != nil {
		return "", nil // another runtime's own format
	}
	return info.Image, nil
}

// podSandbox says whether the pod with this UID has a sandbox.
func (c *Client) podSandbox(ctx context.Context, uid string) (string, error) {
	r, err := c.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{sandboxLabel: uid}},
	})
	if err != nil {
		return "", err
	}
	state := "none"
	for _, s := range r.GetItems() {
		if s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY {
			return "ready", nil
		}
		state = "notReady"
	}
	return state, nil
}

// MissingSandboxImage is the sandbox image if it is not on this node and the
// pod with this UID waits without a sandbox: then that image, and none of the
// pod's own, is what stands in the way. Empty means that it is not so, or
// unknown.
func (c *Client) MissingSandboxImage(ctx context.Context, pod string) (string, error) {
	var config *Config
	if p, err := c.Process(); err == nil {
		if root, err := p.Root(); err == nil {
			config, _ = p.ReadConfig(root)
			root.Close()
		}
	}
	k := c.Sandbox(ctx, config, pod)
	if k.Outcome == report.Error {
		return "", errors.New(k.Summary)
	}
	if k.Evidence["present"] == "false" && k.Evidence["pod"] == "none" {
		return k.Target, nil
	}
	return "", nil
}
