package cri

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Sandbox returns the check "runtime/sandbox": which image pod sandboxes are made
// from, and whether it is on the node. Every pod needs it, and the runtime pulls it
// without pull secrets when it needs it, so that it is absent is not a fault. Config
// may be nil.
func (c *Client) Sandbox(ctx context.Context, config *runtimeconfig.Config) report.Check {
	began := time.Now()
	k := report.Check{ID: report.IDRuntimeSandbox, Kind: report.KindRuntime, Outcome: report.Skipped}
	image, from, err := c.sandboxImage(ctx, config)
	k.Duration = report.Millis(time.Since(began))
	if err != nil {
		k.Outcome, k.Summary = report.Error, "the runtime did not report its sandbox image"
		return k
	}
	if image == "" {
		k.Summary = "the runtime's sandbox image is unknown: it is not configured, and there is no sandbox"
		return k
	}
	k.Target = readable.Clean(image, 200)
	_, present, err := c.ImageStatus(ctx, image)
	if err != nil {
		k.Outcome, k.Summary = report.Error, "the runtime did not report whether its sandbox image is on this node"
		return k
	}
	k.Outcome = report.Pass
	k.Evidence = map[string]string{
		report.KeyImage:   k.Target,
		report.KeyFrom:    from,
		report.KeyPresent: strconv.FormatBool(present),
	}
	k.Summary = "the runtime's sandbox image " + k.Target + " is not on this node; it is pulled with the next pod"
	if present {
		k.Summary = "the runtime's sandbox image " + k.Target + " is on this node"
	}
	k.Duration = report.Millis(time.Since(began))
	return k
}

// sandboxImage returns the image and its source: the running runtime (containerd 1
// reports it), else its configuration, else its newest sandbox.
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
		return config.Sandbox, readable.Clean(config.Main, 100), nil
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
		return "", nil // the format of another runtime
	}
	return info.Image, nil
}

// MissingSandboxImage returns the sandbox image if it is not on this node; empty if
// it is, or if it is unknown.
func (c *Client) MissingSandboxImage(ctx context.Context) (string, error) {
	var config *runtimeconfig.Config
	_ = c.WithRoot(func(p *host.Process, root *host.Root) (err error) { // without it the runtime may still report the image
		config, err = runtimeconfig.Read(p, root, c.Version(ctx))
		return err
	})
	k := c.Sandbox(ctx, config)
	if k.Outcome == report.Error {
		return "", errors.New(k.Summary)
	}
	if k.Evidence[report.KeyPresent] == "false" {
		return k.Target, nil
	}
	return "", nil
}
