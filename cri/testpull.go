package cri

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

const (
	// DefaultPullMaxBytes is the default limit for the compressed size of an image
	// that is test-pulled.
	DefaultPullMaxBytes = 2 << 30

	defaultDeadline = 4 * time.Second

	// footprint is what an image needs on disk, in multiples of its compressed
	// size: the layers as they are, and about twice that unpacked.
	footprint = 3

	// spacePoll is how often free space is read during a pull.
	spacePoll = 200 * time.Millisecond

	// inventoryTimeout limits the calls before a pull: what the runtime has.
	inventoryTimeout = 3 * time.Second
)

// Why a test pull was not made: evidence "skipped".
const (
	skipNotFailing  = "notFailing"         // the pod's own pull has not failed here
	skipPresent     = "present"            // the reference resolves on the node; a pull would move the tag
	skipTooBig      = "tooBig"             // over the size limit
	skipNoSpace     = "noSpace"            // it would use the reserve of free space
	skipRateLimited = "rateLimited"        // the registry asked to wait
	skipUnavailable = "runtimeUnavailable" // the runtime did not list its images
	skipNoJournal   = "noJournal"          // it could not be recorded, so not cleaned up
	skipBusy        = "busy"               // another test pull did not end in time
)

// Why a pull was stopped: evidence "stopped".
var (
	errDeadline = errors.New("deadline")
	errNoSpace  = errors.New(skipNoSpace)
	errUnseen   = errors.New("spaceUnknown")
	errTooBig   = errors.New(skipTooBig)
	errYielded  = errors.New("yielded")
)

// Puller makes test pulls: real pulls by the runtime, with the pod's
// credentials, that leave the node as it was. One runs at a time. The fields are
// set before the first use and not changed.
type Puller struct {
	Client  *Client
	Journal *Journal

	// Space returns how many bytes are free on the runtime's image file system and
	// how many must stay free. Without it there are no pulls.
	Space func() (free, reserve uint64, err error)

	// MaxBytes returns the current limit for an image, in compressed bytes; 0, or no
	// function, is no limit. If the size is not known before, the pull is stopped
	// when the disk has lost three times that.
	MaxBytes func() int64

	// Deadline limits one pull, all credentials together; 0 is four seconds.
	Deadline time.Duration

	slot slot
}

// PullRequest is one test pull.
type PullRequest struct {
	Image       string                   // fully qualified reference
	Pod         *Pod                     // that needs it; nil: none
	Credentials []credentials.Credential // in the kubelet's order; none: anonymous
	Bytes       int64                    // compressed size, 0 if unknown
	Failing     bool                     // the pod's own pull of it already fails on this node
	NotBefore   time.Time                // end of the registry's Retry-After, if it sent one

	// Wait is how long this pull may wait for another one to end; 0 is as long as
	// the context lasts.
	Wait time.Duration

	// Yields marks a pull that is unlikely to succeed because its path may be
	// blocked. It stops for one that does not yield, so that a host that does not
	// answer cannot keep the others waiting.
	Yields bool
}

// Pull makes one test pull: the check "pull".
//
// It tries each credential once and in order, as the kubelet does
// (pkg/kubelet/kuberuntime, PullImage), anonymously only if there is none. The
// cause of a failure is that of the runtime's message, see [classify.Message]; of
// several failures the first counts and the others add to "could". If the pull
// succeeds, the image is removed again, unless that could take something from
// another user of the node (see [Puller.Recover]).
func (p *Puller) Pull(ctx context.Context, req PullRequest) report.Check {
	began := time.Now()
	k := report.Check{
		ID:       report.IDPull,
		Kind:     report.KindPull,
		Target:   readable.Clean(req.Image, 512),
		Evidence: map[string]string{},
	}
	if named, err := reference.ParseDockerRef(req.Image); err == nil {
		k.Host = reference.Domain(named)
	}
	if handler := req.Pod.handler(); handler != "" {
		k.Evidence[report.KeyRuntimeHandler] = readable.Clean(handler, 64)
	}
	p.pull(ctx, req, &k)
	k.Duration = report.Millis(time.Since(began))
	return k
}

func (p *Puller) pull(ctx context.Context, req PullRequest, k *report.Check) {
	if why, summary := p.refuse(req); why != "" {
		skip(k, why, summary)
		return
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	unlock, err := p.slot.take(ctx, req.Wait, req.Yields, func() { stop(errYielded) })
	if err != nil {
		skip(k, skipBusy, "another test pull was running")
		return
	}
	defer unlock()
	held, free, ok := p.prepare(ctx, req, k)
	if !ok {
		return
	}
	r := p.run(ctx, req, free)
	r.record(k)

	// The cleanup runs even if the caller has stopped waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	arrived := time.Now()
	img, s := p.finish(ctx, held, r.ended())
	if s.Removed {
		r.presentFor = time.Since(arrived)
	}
	r.recordCleanUp(k, img, s)
}

// refuse returns why there is no pull, as far as that depends on neither the
// runtime nor the disk; empty if there may be one.
func (p *Puller) refuse(req PullRequest) (why, summary string) {
	largest := p.maxBytes()
	switch {
	case !req.Failing:
		return skipNotFailing, "the pod's own pull has not failed on this node"
	case time.Now().Before(req.NotBefore):
		return skipRateLimited, "the registry accepts no request before " + readable.Time(req.NotBefore)
	case largest > 0 && req.Bytes > largest:
		return skipTooBig, "the image has " + readable.Bytes(req.Bytes) + ", and the limit is " + readable.Bytes(largest)
	}
	return "", ""
}

// prepare checks images and disk, and writes the journal. It returns the journal's
// entry and the free bytes. If the pull must not be made, ok is false and k has
// the reason.
func (p *Puller) prepare(ctx context.Context, req PullRequest, k *report.Check) (held *heldEntry, free uint64, ok bool) {
	before, present, err := p.inventory(ctx, req)
	switch {
	case present:
		skip(k, skipPresent, "the image is on the node, and a pull would move its tag")
		return nil, 0, false
	case errors.Is(context.Cause(ctx), errYielded):
		skip(k, skipBusy, "another test pull went first: it was more likely to succeed")
		return nil, 0, false
	case err != nil:
		k.Evidence[report.KeyCode] = status.Code(err).String()
		skip(k, skipUnavailable, "the runtime did not list its images")
		return nil, 0, false
	}
	free, err = p.room(req, before)
	if err != nil {
		skip(k, skipNoSpace, err.Error())
		return nil, 0, false
	}
	e := entry{Image: req.Image, Start: time.Now().UTC(), Timeout: p.deadline()}
	if req.Pod != nil {
		e.Handler = req.Pod.Handler
	}
	for _, i := range before {
		e.Before = append(e.Before, i.ID)
	}
	if p.Journal == nil {
		skip(k, skipNoJournal, "there is no journal to record it in")
		return nil, 0, false
	}
	held, err = p.Journal.begin(e)
	if err != nil {
		skip(k, skipNoJournal, "cannot write the journal: "+readable.Clean(err.Error(), 200))
		return nil, 0, false
	}
	return held, free, true
}

func skip(k *report.Check, why, summary string) {
	k.Outcome, k.Summary = report.Skipped, "no test pull: "+summary
	k.Evidence[report.KeySkipped] = why
}

// inventory returns the runtime's images before the pull, and whether the image
// is one of them.
func (p *Puller) inventory(ctx context.Context, req PullRequest) (all []Image, present bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, inventoryTimeout)
	defer cancel()
	if all, err = p.Client.Images(ctx); err != nil {
		return nil, false, err
	}
	_, present, err = p.Client.ImageStatusFor(ctx, req.Image, req.Pod)
	return all, present, err
}

func (p *Puller) deadline() time.Duration {
	if p.Deadline > 0 {
		return p.Deadline
	}
	return defaultDeadline
}

func (p *Puller) maxBytes() int64 {
	if p.MaxBytes == nil {
		return 0
	}
	return p.MaxBytes()
}

// room returns how many bytes are free, or why that is not enough for what the image
// certainly needs beside these images: layers that it shares with them are not pulled
// again. A pull that needs more is stopped when the free space runs low.
func (p *Puller) room(req PullRequest, images []Image) (uint64, error) {
	if p.Space == nil {
		return 0, errors.New("free space on the image file system is unknown")
	}
	free, reserve, err := p.Space()
	if err != nil {
		return 0, fmt.Errorf("free space on the image file system is unknown: %s", readable.Clean(err.Error(), 200))
	}
	var shared int64
	if named, err := reference.ParseDockerRef(req.Image); err == nil {
		shared = LargestOf(images, named.Name())
	}
	need := uint64(max(req.Bytes-shared, 0)) * footprint
	if free < reserve || free-reserve < need {
		return 0, fmt.Errorf("%s free, %s needed, %s kept in reserve", readable.Bytes(free), readable.Bytes(need), readable.Bytes(reserve))
	}
	return free, nil
}

// run makes the pull with one credential after the other.
func (p *Puller) run(ctx context.Context, req PullRequest, free uint64) pullResult {
	began := time.Now()
	// A deadline of the context would travel to the runtime, and its answer could
	// not be distinguished from ours. So the pull is stopped by its cause.
	pulling, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
	timer := time.AfterFunc(p.deadline(), func() { stop(errDeadline) })
	defer timer.Stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.watch(pulling, stop, free)
	}()

	var r pullResult
	for i := range max(len(req.Credentials), 1) {
		ask := &runtimeapi.PullImageRequest{Image: req.Pod.spec(req.Image), SandboxConfig: req.Pod.config()}
		if len(req.Credentials) > 0 {
			c := req.Credentials[i]
			r.used = append(r.used, c)
			ask.Auth = &runtimeapi.AuthConfig{Username: c.Username, Password: c.Password} // pull secrets have no more
		}
		_, err := p.Client.image.PullImage(pulling, ask)
		if r.ok = err == nil; r.ok {
			break
		}
		r.stopped = context.Cause(pulling)
		r.errs = append(r.errs, err)
		if r.stopped != nil || classify.Message(status.Convert(err).Message()).Cause == report.RateLimited {
			break
		}
	}
	r.took = time.Since(began)
	stop(nil)
	<-watched
	return r
}

// watch stops the pull when the disk runs low or the image turns out too large.
// Other processes write to the same disk, so it may stop a pull for nothing.
func (p *Puller) watch(ctx context.Context, stop context.CancelCauseFunc, before uint64) {
	largest := p.maxBytes()
	tick := time.NewTicker(spacePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		free, reserve, err := p.Space()
		switch {
		case err != nil:
			stop(errUnseen)
		case free < reserve:
			stop(errNoSpace)
		case largest > 0 && before > free && before-free > footprint*uint64(largest):
			stop(errTooBig)
		}
	}
}
