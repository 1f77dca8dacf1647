package cri

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	cleanupTimeout = 10 * time.Second

	// lateArrival is how long after its deadline a pull whose end was not seen may
	// still store its image.
	lateArrival = 90 * time.Second
)

// Why a pulled image stays on the node: evidence "left" and CleanupResult.Left.
const (
	LeftInUse          = "inUse"          // a container uses it
	LeftOtherReference = "otherReference" // it has another name too
	LeftWasPresent     = "wasPresent"     // the node had it before, under another name
	LeftPinned         = "pinned"         // the runtime never removes it
	LeftError          = "error"          // it could not be removed yet
)

var leftReasons = map[string]string{
	LeftInUse:          "a container uses it",
	LeftOtherReference: "it has another name too",
	LeftWasPresent:     "the node had it before, under another name",
	LeftPinned:         "the runtime has pinned it",
	LeftError:          "it could not be removed yet",
}

// CleanupResult is what became of one journal entry.
type CleanupResult struct {
	Image   string // as it was pulled; empty if the entry could not be read
	Removed bool   // the image was removed
	Left    string // why it stays, one of the Left constants
	Pending bool   // the entry is kept for the next Recover
	Err     error
}

// Recover cleans up after test pulls that were interrupted, by a crash, a restart of
// the runtime or a deadline. Call it at the start and about every minute: it goes
// through the journal once and keeps the entries that cannot be finished yet.
//
// An image is removed only if the node did not have its ID before the pull, the pull
// gave it all its names, it is not pinned, and no container uses it: RemoveImage of
// the CRI removes every name of an ID (containerd: internal/cri/server/images, which
// ignores the runtime handler: the image and its snapshots go together). An
// entry is finished when its image was removed, when it stays for one of these
// reasons, or when it has not arrived within 90 seconds of the pull's deadline.
func (p *Puller) Recover(ctx context.Context) []CleanupResult {
	if p.Journal == nil {
		return nil
	}
	entries, errs := p.Journal.pending()
	var out []CleanupResult
	for _, err := range errs {
		out = append(out, CleanupResult{Err: err})
	}
	for _, h := range entries {
		_, s := p.finish(ctx, h, false)
		out = append(out, s)
	}
	return out
}

// finish cleans up after the pull of h and releases h. The entry is removed unless
// the next Recover has to continue. Ended reports that the runtime has finished with
// the pull.
func (p *Puller) finish(ctx context.Context, h *heldEntry, ended bool) (Image, CleanupResult) {
	img, s := p.cleanUp(ctx, h, ended)
	s.Image = h.Image
	if s.Pending {
		h.release()
	} else if err := h.done(); err != nil {
		s.Err = errors.Join(s.Err, err)
	}
	return img, s
}

// cleanUp removes the image if only the pull has put it there and nothing uses it.
func (p *Puller) cleanUp(ctx context.Context, h *heldEntry, ended bool) (Image, CleanupResult) {
	pod := &Pod{Handler: h.Handler}
	img, found, err := p.Client.ImageStatusFor(ctx, h.Image, pod)
	switch {
	case err != nil:
		return img, CleanupResult{Pending: true, Err: err}
	case !found:
		// A clock that was set back must not keep an entry forever.
		age := time.Since(h.Start).Abs()
		return img, CleanupResult{Pending: !ended && age < h.Timeout+lateArrival}
	case slices.Contains(h.Before, img.ID):
		return img, CleanupResult{Left: LeftWasPresent}
	case img.Pinned:
		return img, CleanupResult{Left: LeftPinned}
	case hasOtherNames(img, h.Image):
		return img, CleanupResult{Left: LeftOtherReference}
	}
	// The image arrived after Start, so no older container mounts it. The minute is
	// for a clock that was set back since.
	users, err := p.Client.ContainersUsing(ctx, img, h.Start.Add(-time.Minute))
	switch {
	case err != nil:
		return img, CleanupResult{Left: LeftError, Pending: true, Err: err}
	case len(users) > 0:
		return img, CleanupResult{Left: LeftInUse}
	}
	_, err = p.Client.image.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: pod.spec(img.ID)})
	if err != nil && !isNotFound(err) {
		return img, CleanupResult{Left: LeftError, Pending: true, Err: err}
	}
	return img, CleanupResult{Removed: true}
}

// hasOtherNames reports whether img has a name that pulling ref did not give
// it: a tag other than ref's, or a digest in another repository. (CRI-O lists
// the digests of the index and of the manifest, so there may be two.)
func hasOtherNames(img Image, ref string) bool {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return true // unknown: do not remove it
	}
	for _, tag := range img.Tags {
		if tag != named.String() && !strings.Contains(tag, "<none>") {
			return true
		}
	}
	for _, d := range img.Digests {
		repository, _, _ := strings.Cut(d, "@")
		if repository != named.Name() && repository != "<none>" {
			return true
		}
	}
	return false
}
