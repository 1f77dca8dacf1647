package cri

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Sandbox is "runtime/sandbox": the image that pods' sandboxes are made from,
// and whether it is here. Every pod needs it, and the runtime pulls it with
// its own means, without pull secrets: that it is absent is no fault by
// itself. Config may be nil.
func (c *Client) Sandbox(ctx context.Context, config *runtimeconfig.Config) report.Check {
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
	k.Target = report.Clean(image, 200)
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
	k.Duration = report.Millis(time.Since(began))
	return k
}

// sandboxImage asks the running runtime first (containerd 1 tells), then its
// configuration, then its newest sandbox.
func (c *Client) sandboxImage(ctx context.Context, config *runtimeconfig.Config) (image, from string, err error) {
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
		return config.Sandbox, report.Clean(config.Main, 100), nil
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

// MissingSandboxImage is the sandbox image if it is not on this node. Empty
// means that it is here, or unknown.
func (c *Client) MissingSandboxImage(ctx context.Context) (string, error) {
	var config *runtimeconfig.Config
	_ = c.WithRoot(func(p *host.Process, root *host.Root) (err error) { // without it, the runtime may know
		config, err = runtimeconfig.Read(p, root)
		return err
	})
	k := c.Sandbox(ctx, config)
	if k.Outcome == report.Error {
		return "", errors.New(k.Summary)
	}
	if k.Evidence["present"] == "false" {
		return k.Target, nil
	}
	return "", nil
}
