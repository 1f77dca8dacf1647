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

	// settleTime is how long after its deadline a pull that nobody saw the end
	// of may still bring its image.
	lateArrival = 90 * time.Second
)

// Why a pulled image stays on the node: evidence "left", and Settled.Left.
const (
	LeftInUse          = "inUse"          // a container uses it
	LeftOtherReference = "otherReference" // it has another name too
	LeftWasPresent     = "wasPresent"     // the node had it before, under another name
	LeftPinned         = "pinned"         // the runtime keeps it on purpose
	LeftError          = "error"          // it could not be removed yet
)

var leftReasons = map[string]string{
	LeftInUse:          "a container uses it",
	LeftOtherReference: "it has another name too",
	LeftWasPresent:     "it was there before, under another name",
	LeftPinned:         "the runtime has pinned it",
	LeftError:          "it could not be removed yet",
}

// Settled is what became of one journal entry.
type CleanupResult struct {
	Image   string // as it was pulled; empty if the entry could not be read
	Removed bool   // the image was removed
	Left    string // why it stays, one of the Left constants
	Pending bool   // to be looked at again: the entry is kept
	Err     error  // what went wrong, if anything
}

// Recover cleans up after test pulls that were cut short, by a crash, a
// restart of the runtime or a deadline. Call it at start and every minute or
// so: it makes one pass over the journal and keeps what cannot be settled yet.
//
// An image is removed only if the node did not have its ID before the pull, it
// has no name that the pull did not give it, it is not pinned, and no container
// uses it, for RemoveImage of the CRI takes away every name of an ID
// (containerd: internal/cri/server/images). An entry is done with when its
// image was removed or left for one of these reasons, or has not come within
// 90 seconds of the pull's deadline.
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

// settle cleans up after the pull of h, and gives h up: off the disk if that
// is done, else for the next Recover. ended says that the runtime has finished
// with the pull.
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

func (p *Puller) cleanUp(ctx context.Context, h *heldEntry, ended bool) (Image, CleanupResult) {
	img, found, err := p.Client.ImageStatus(ctx, h.Image)
	switch {
	case err != nil:
		return img, CleanupResult{Pending: true, Err: err}
	case !found:
		// A clock that was set back must not keep an entry for ever.
		age := time.Since(h.Start).Abs()
		return img, CleanupResult{Pending: !ended && age < h.Timeout+lateArrival}
	case slices.Contains(h.Before, img.ID):
		return img, CleanupResult{Left: LeftWasPresent}
	case img.Pinned:
		return img, CleanupResult{Left: LeftPinned}
	case hasOtherNames(img, h.Image):
		return img, CleanupResult{Left: LeftOtherReference}
	}
	// The image came after Start, so no older container mounts it; a minute of
	// slack is for a clock that was set back meanwhile.
	users, err := p.Client.ContainersUsing(ctx, img, h.Start.Add(-time.Minute))
	switch {
	case err != nil:
		return img, CleanupResult{Left: LeftError, Pending: true, Err: err}
	case len(users) > 0:
		return img, CleanupResult{Left: LeftInUse}
	}
	_, err = p.Client.image.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: img.ID}})
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
		return true // nobody can say
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
