package cri

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

const (
	// maxPullMessage limits the runtime's message that is kept as evidence, in
	// bytes.
	maxPullMessage = 512

	// minMeasurable is the size in bytes of the smallest image whose pull shows how
	// fast layers arrive: with a smaller one most of the time is round trips.
	minMeasurable = 1 << 20
)

// pullResult is how a pull went.
type pullResult struct {
	ok         bool
	errs       []error                  // one for each credential tried
	used       []credentials.Credential // those credentials; empty: anonymous
	stopped    error                    // why the puller stopped it
	took       time.Duration
	presentFor time.Duration // how long the image was on the node, if it was removed
}

// ended reports whether the runtime itself has finished with the pull: it may
// continue one whose client has gone.
func (r pullResult) ended() bool {
	if r.ok {
		return true
	}
	if r.stopped != nil || len(r.errs) == 0 {
		return false
	}
	code := status.Code(r.errs[len(r.errs)-1])
	return code != codes.Unavailable && code != codes.Canceled
}

// record writes the result into k.
func (r pullResult) record(k *report.Check) {
	k.Evidence[report.KeySeconds] = strconv.FormatFloat(r.took.Seconds(), 'f', 3, 64)
	k.Evidence[report.KeyAuth] = "anonymous"
	if n := len(r.used); n > 0 {
		k.Evidence[report.KeyAuth] = sourceOf(r.used[n-1])
		k.Evidence[report.KeyAttempts] = strconv.Itoa(n)
	}
	switch {
	case r.ok:
		k.Outcome, k.Summary = report.Pass, "the runtime pulled the image in "+readable.Duration(r.took)
	case r.stopped != nil:
		r.recordStop(k)
	default:
		r.recordFailure(k)
	}
}

// recordFailure writes the runtime's error into k.
func (r pullResult) recordFailure(k *report.Check) {
	message := status.Convert(r.errs[0]).Message()
	result := classify.Message(message) // before secrets are removed: a password may be a word of it
	for _, err := range r.errs[1:] {
		result.Candidates = classify.Merge(result.Candidates, classify.Message(status.Convert(err).Message()).Candidates)
	}
	code, redactor := status.Code(r.errs[0]), r.redactor()
	k.Evidence[report.KeyCode] = code.String()
	k.Evidence[report.KeyMessage] = readable.Clean(classify.WithoutSecrets(redactor.Text(message, 0)), maxPullMessage)
	if len(r.used) > 0 {
		k.Evidence[report.KeyAuth] = sourceOf(r.used[0]) // whose failure this is
	}
	for key, value := range map[string]string{
		report.KeyCould:    join(result.Candidates),
		report.KeyHost:     redactor.Text(result.Host, 0),
		report.KeyAddress:  result.Address,
		report.KeyResolver: result.Resolver,
		report.KeyStep:     result.Step,
	} {
		if value != "" {
			k.Evidence[key] = value
		}
	}
	if code == codes.Unavailable && result.Cause == report.RuntimeUnavailable {
		k.Outcome, k.Summary = report.Error, "the runtime stopped during the pull"
		return
	}
	k.Outcome, k.Cause = report.Fail, result.Cause
	why := cmp.Or(redactor.Text(result.Clause, 0), readable.Truncate(k.Evidence[report.KeyMessage], classify.MaxClause))
	k.Summary = "the test pull failed after " + readable.Duration(r.took) + ": " + why
}

// recordStop writes into k why the puller stopped the pull.
func (r pullResult) recordStop(k *report.Check) {
	k.Outcome = report.Error
	after := readable.Duration(r.took)
	switch {
	case errors.Is(r.stopped, errDeadline), errors.Is(r.stopped, context.DeadlineExceeded): // ours, or the caller's
		k.Evidence[report.KeyTimedOut] = report.True
		k.Summary = "the test pull did not finish within " + after
	case errors.Is(r.stopped, errNoSpace):
		k.Evidence[report.KeyStopped] = skipNoSpace
		k.Summary = "test pull stopped after " + after + ": free space on the image file system ran low"
	case errors.Is(r.stopped, errUnseen):
		k.Evidence[report.KeyStopped] = errUnseen.Error()
		k.Summary = "test pull stopped after " + after + ": the free space on the image file system could no longer be read"
	case errors.Is(r.stopped, errTooBig):
		k.Evidence[report.KeyStopped] = skipTooBig
		k.Summary = "test pull stopped after " + after + ": the image is larger than the size limit allows"
	case errors.Is(r.stopped, errYielded):
		k.Evidence[report.KeyStopped] = errYielded.Error()
		k.Summary = "test pull stopped after " + after + " in favor of another"
	default:
		k.Evidence[report.KeyStopped] = "cancelled"
		k.Summary = "test pull cancelled after " + after
	}
}

// recordCleanUp writes into k what became of the pulled image.
func (r pullResult) recordCleanUp(k *report.Check, img Image, s CleanupResult) {
	if r.ok && img.ID != "" {
		k.Evidence[report.KeyImageID] = readable.Clean(img.ID, 128)
		k.Evidence[report.KeyBytes] = strconv.FormatInt(img.Size, 10)
		k.Summary += " (" + readable.Bytes(img.Size) + ")"
		if r.took > 0 && img.Size >= minMeasurable {
			k.Evidence[report.KeyThroughput] = strconv.FormatInt(int64(float64(img.Size)/r.took.Seconds()), 10)
		}
	}
	switch {
	case s.Removed:
		k.Evidence[report.KeyRemoved] = report.True
		k.Evidence[report.KeyPresentMs] = strconv.FormatInt(r.presentFor.Milliseconds(), 10) // any pod of the node could use it
		k.Summary += "; the image was removed again"
	case s.Left != "":
		k.Evidence[report.KeyLeft] = s.Left
		k.Summary += "; the image stays on the node: " + leftReasons[s.Left]
	case s.Pending:
		k.Evidence[report.KeyCleanUp] = "pending"
	}
}

// redactor returns a redactor that knows the secrets of every credential tried.
func (r pullResult) redactor() redact.Redactor {
	out := redact.New()
	for _, c := range r.used {
		out = out.WithLogin(c.Username, c.Password)
	}
	return out
}

// sourceOf returns where a credential is from; it is never secret.
func sourceOf(c credentials.Credential) string {
	return cmp.Or(readable.Clean(c.Source, 200), "an unnamed source")
}

func join(list []report.Cause) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = string(c)
	}
	return strings.Join(words, ",")
}
