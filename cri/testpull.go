package cri

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/report"
)

const (
	defaultDeadline = 4 * time.Second

	// footprint is what an image takes on disk, in multiples of its compressed
	// size: the layers as they are, and about twice that unpacked.
	footprint = 3

	spacePoll  = 200 * time.Millisecond // how often free space is looked at during a pull
	maxPullMsg = 512                    // bytes of the runtime's message kept as evidence

	// inventoryIn bounds the questions before a pull: what the runtime has.
	inventoryIn = 3 * time.Second

	// telling is the least image, in bytes, whose pull says how fast layers
	// come: a smaller one is mostly round trips.
	telling = 1 << 20
)

// Why a test pull was not made: evidence "skipped".
const (
	skipNotFailing  = "notFailing"         // the pod's own pull has not failed here
	skipPresent     = "present"            // the reference resolves on the node; pulling would move the tag
	skipTooBig      = "tooBig"             // over the size cap
	skipNoSpace     = "noSpace"            // would eat into the reserve of free space
	skipRateLimited = "rateLimited"        // the registry asked to be left alone until later
	skipUnavailable = "runtimeUnavailable" // the runtime does not say what it has
	skipNoJournal   = "noJournal"          // what is pulled could not be remembered, so not cleaned up
	skipBusy        = "busy"               // the caller gave up waiting for another test pull
)

// DefaultPullMaxBytes is the largest image that is test-pulled, compressed,
// unless told otherwise.
const DefaultPullMaxBytes = 2 << 30

// Puller makes test pulls: real pulls by the runtime, with the pod's
// credentials, that leave the node as it was. One is under way at a time. The
// fields are set before first use and not changed.
type Puller struct {
	Client  *Client
	Journal *Journal

	// Space says how many bytes are free on the runtime's image file system
	// and how many must stay free. Without it nothing is pulled.
	Space func() (free, reserve uint64, err error)

	// MaxBytes says which is the largest image that is pulled now, in compressed
	// bytes; 0, or no function, is no cap. Where the size is not known beforehand, the pull is stopped when
	// the disk has lost three times that.
	MaxBytes func() int64

	// Deadline is how long one pull may take, all credentials together; 0 is
	// four seconds.
	Deadline time.Duration

	slot slot
}

// PullRequest is one test pull.
type PullRequest struct {
	Image     string    // fully qualified reference
	Auths     []Auth    // in the kubelet's order; none: anonymous
	Bytes     int64     // compressed size if known, or 0
	Failing   bool      // the pod's own pull of it already fails on this node
	NotBefore time.Time // the registry's Retry-After, if it sent one

	// Wait is how long this pull may wait for another one to end; 0 is as long
	// as the context lasts.
	Wait time.Duration

	// Yields: this pull has poor prospects, its way may be blocked. It stops for
	// one that has better, so that what hangs does not keep the others from
	// their turn.
	Yields bool
}

// Why a pull was stopped: evidence "stopped".
var (
	errDeadline = errors.New("deadline")
	errNoSpace  = errors.New(skipNoSpace)
	errUnseen   = errors.New("spaceUnknown")
	errTooBig   = errors.New(skipTooBig)
	errYielded  = errors.New("yielded")
)

// Pull makes one test pull: the check "pull".
//
// It tries each credential once and in order, as the kubelet does
// (pkg/kubelet/kuberuntime, PullImage), anonymously only if there is none. A
// failure's cause is what [Read] makes of the runtime's words; of several
// failures the first counts and the others add to "could". When it works, the
// image is removed again, unless that could take something from anybody else
// (see [Puller.Recover]).
func (p *Puller) Pull(ctx context.Context, req PullRequest) report.Check {
	began := time.Now()
	k := report.Check{ID: "pull", Kind: report.KindPull, Target: report.Clean(req.Image, 512), Evidence: map[string]string{}}
	if named, err := reference.ParseDockerRef(req.Image); err == nil {
		k.Host = reference.Domain(named)
	}
	p.pull(ctx, req, &k)
	k.Duration = report.Millis(time.Since(began))
	return k
}

func (p *Puller) pull(ctx context.Context, req PullRequest, k *report.Check) {
	// What needs nobody's answer first.
	switch {
	case !req.Failing:
		skip(k, skipNotFailing, "not test-pulled: the pod's own pull has not failed on this node")
		return
	case time.Now().Before(req.NotBefore):
		skip(k, skipRateLimited, "not test-pulled: the registry asks to wait until "+req.NotBefore.UTC().Format("15:04:05")+" UTC")
		return
	}
	largest := p.maxBytes()
	if largest > 0 && req.Bytes > largest {
		skip(k, skipTooBig, fmt.Sprintf("not test-pulled: %s is over the cap of %s", size(req.Bytes), size(largest)))
		return
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	unlock, err := p.slot.take(ctx, req.Wait, req.Yields, func() { stop(errYielded) })
	if err != nil {
		skip(k, skipBusy, "not test-pulled: another test pull was under way")
		return
	}
	defer unlock()

	before, present, err := p.inventory(ctx, req.Image)
	if present {
		skip(k, skipPresent, "not test-pulled: the image is on the node, and pulling would move its tag")
		return
	}
	if errors.Is(context.Cause(ctx), errYielded) {
		skip(k, skipBusy, "not test-pulled: another test pull had better prospects")
		return
	}
	if err != nil {
		k.Evidence["code"] = status.Code(err).String()
		skip(k, skipUnavailable, "not test-pulled: the runtime does not say which images it has")
		return
	}
	free, err := p.room(req)
	if err != nil {
		skip(k, skipNoSpace, "not test-pulled: "+err.Error())
		return
	}
	e := entry{Image: req.Image, Start: time.Now().UTC(), Timeout: p.deadline()}
	for _, i := range before {
		e.Before = append(e.Before, i.ID)
	}
	if p.Journal == nil {
		skip(k, skipNoJournal, "not test-pulled: no journal to remember it by")
		return
	}
	held, err := p.Journal.begin(e)
	if err != nil {
		skip(k, skipNoJournal, "not test-pulled: cannot write the journal: "+report.Clean(err.Error(), 200))
		return
	}

	r := p.run(ctx, req, free)
	r.tell(k, req)

	// Clean up even if the caller has gone meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	came := time.Now()
	img, s := p.settle(ctx, held, r.ended())
	if s.Removed {
		// While it was there, every pod of the node could use it.
		k.Evidence["presentMs"] = strconv.FormatInt(time.Since(came).Milliseconds(), 10)
	}
	r.tellCleanUp(k, img, s)
}

func skip(k *report.Check, why, summary string) {
	k.Outcome, k.Summary = report.Skipped, summary
	k.Evidence["skipped"] = why
}

// inventory is what the runtime has before the pull, and whether the image is
// part of it.
func (p *Puller) inventory(ctx context.Context, image string) (all []Image, present bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, inventoryIn)
	defer cancel()
	if all, err = p.Client.Images(ctx); err != nil {
		return nil, false, err
	}
	_, present, err = p.Client.ImageStatus(ctx, image)
	return all, present, err
}

func (p *Puller) deadline() time.Duration {
	if p.Deadline > 0 {
		return p.Deadline
	}
	return defaultDeadline
}

// room says how many bytes are free, or why that is not enough.
func (p *Puller) room(req PullRequest) (uint64, error) {
	if p.Space == nil {
		return 0, errors.New("free space on the image file system is unknown")
	}
	free, reserve, err := p.Space()
	if err != nil {
		return 0, fmt.Errorf("free space on the image file system is unknown: %s", report.Clean(err.Error(), 200))
	}
	need := uint64(max(req.Bytes, 0)) * footprint
	if free < reserve || free-reserve < need {
		return 0, fmt.Errorf("%s free, %s needed, %s kept in reserve", size(free), size(need), size(reserve))
	}
	return free, nil
}

// result is how a pull went.
type result struct {
	ok      bool
	errs    []error // one for each credential tried
	used    []Auth  // those credentials; empty: anonymous
	stopped error   // why we stopped it ourselves
	took    time.Duration
}

// ended reports whether the runtime itself has finished with the pull: it may
// go on with one whose client has gone.
func (r result) ended() bool {
	if r.ok {
		return true
	}
	if r.stopped != nil || len(r.errs) == 0 {
		return false
	}
	code := status.Code(r.errs[len(r.errs)-1])
	return code != codes.Unavailable && code != codes.Canceled
}

func (p *Puller) run(ctx context.Context, req PullRequest, free uint64) result {
	began := time.Now()
	// Stopped by hand rather than by a deadline of the context: that would
	// travel to the runtime, and its answer could not be told from ours.
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

	var r result
	for i := range max(len(req.Auths), 1) {
		ask := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: req.Image}}
		if len(req.Auths) > 0 {
			r.used = append(r.used, req.Auths[i])
			ask.Auth = req.Auths[i].config()
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

// watch stops the pull when the disk runs low or the image turns out too big.
// Others write to the same disk, so it errs on the side of stopping.
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

func (p *Puller) maxBytes() int64 {
	if p.MaxBytes == nil {
		return 0
	}
	return p.MaxBytes()
}

// tell writes how the pull went into k.
func (r result) tell(k *report.Check, req PullRequest) {
	seconds := strconv.FormatFloat(r.took.Seconds(), 'f', 3, 64)
	k.Evidence["seconds"] = seconds
	k.Evidence["auth"] = "anonymous"
	if n := len(r.used); n > 0 {
		k.Evidence["auth"] = r.used[n-1].source()
		k.Evidence["attempts"] = strconv.Itoa(n)
	}
	if r.ok {
		k.Outcome = report.Pass
		k.Summary = "the runtime pulled it in " + duration(r.took)
		return
	}
	if r.stopped != nil {
		r.tellStopped(k)
		return
	}

	said := status.Convert(r.errs[0]).Message()
	reading := classify.Message(said) // of the words as they are: a password may be a word
	for _, err := range r.errs[1:] {
		reading.Candidates = classify.Merge(reading.Candidates, classify.Message(status.Convert(err).Message()).Candidates)
	}
	k.Evidence["code"] = status.Code(r.errs[0]).String()
	k.Evidence["message"] = report.Clean(classify.WithoutSecrets(r.hide(said)), maxPullMsg)
	if len(r.used) > 0 {
		k.Evidence["auth"] = r.used[0].source() // whose failure this is
	}
	for key, value := range map[string]string{"could": join(reading.Candidates), "host": r.hide(reading.Host), "address": reading.Address, "resolver": reading.Resolver, "step": reading.Step} {
		if value != "" {
			k.Evidence[key] = value
		}
	}
	if status.Code(r.errs[0]) == codes.Unavailable && reading.Cause == report.RuntimeUnavailable {
		k.Outcome, k.Summary = report.Error, "the runtime went away during the pull"
		return
	}
	k.Outcome, k.Cause = report.Fail, reading.Cause
	what := r.hide(reading.Clause)
	if what == "" {
		what = report.Truncate(k.Evidence["message"], classify.MaxClause)
	}
	k.Summary = "the runtime's own pull failed after " + duration(r.took) + ": " + what
}

func (r result) tellStopped(k *report.Check) {
	k.Outcome = report.Error
	switch {
	case errors.Is(r.stopped, errDeadline), errors.Is(r.stopped, context.DeadlineExceeded): // ours, or the caller's
		k.Evidence["timedOut"] = "true"
		k.Summary = "the runtime had not finished after " + duration(r.took)
	case errors.Is(r.stopped, errNoSpace):
		k.Evidence["stopped"] = skipNoSpace
		k.Summary = "stopped the pull after " + duration(r.took) + ": free space on the image file system ran low"
	case errors.Is(r.stopped, errUnseen):
		k.Evidence["stopped"] = errUnseen.Error()
		k.Summary = "stopped the pull after " + duration(r.took) + ": the free space on the image file system could not be watched any more"
	case errors.Is(r.stopped, errTooBig):
		k.Evidence["stopped"] = skipTooBig
		k.Summary = "stopped the pull after " + duration(r.took) + ": more was written than the size cap allows"
	case errors.Is(r.stopped, errYielded):
		k.Evidence["stopped"] = "yielded"
		k.Summary = "stopped the pull after " + duration(r.took) + " to let one with better prospects have its turn"
	default:
		k.Evidence["stopped"] = "cancelled"
		k.Summary = "gave up on the pull after " + duration(r.took) + ": cancelled"
	}
}

// hide takes the secrets of every credential tried out of text.
func (r result) hide(text string) string {
	for _, a := range r.used {
		text = a.hide(text)
	}
	return text
}

// tellCleanUp writes into k what became of the pulled image.
func (r result) tellCleanUp(k *report.Check, img Image, s Settled) {
	if r.ok && img.ID != "" {
		k.Evidence["imageID"] = report.Clean(img.ID, 128)
		k.Evidence["bytes"] = strconv.FormatInt(img.Size, 10)
		k.Summary += " (" + size(img.Size) + ")"
		if r.took > 0 && img.Size >= telling {
			k.Evidence["throughput"] = strconv.FormatInt(int64(float64(img.Size)/r.took.Seconds()), 10)
		}
	}
	switch {
	case s.Removed:
		k.Evidence["removed"] = "true"
		k.Summary += "; the image was removed again"
	case s.Left != "":
		k.Evidence["left"] = s.Left
		k.Summary += "; the image stays on the node: " + leftWords[s.Left]
	case s.Pending:
		k.Evidence["cleanUp"] = "pending"
	}
}

func join(list []report.Cause) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = string(c)
	}
	return strings.Join(words, ",")
}

func duration(d time.Duration) string {
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
}

// size prints bytes for people.
func size[N int64 | uint64](n N) string {
	if n < 1<<20 {
		return strconv.FormatFloat(float64(n)/(1<<10), 'f', 1, 64) + " KiB"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
}
