package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// maxRejections bounds the entries of a RejectionCache. Beyond it, the oldest are
// removed first.
const maxRejections = 4096

// Limits of the attempts that users request with a rejected password: some at once, then
// one per interval. Users who may annotate a pod must not lock an account of the node.
const (
	maxRetries    = 3
	retryInterval = time.Minute
)

// RejectionCache remembers which passwords a registry host has rejected, so that none
// is sent there repeatedly until an account is locked. It stores no passwords,
// only a keyed hash that means nothing to another process. It is safe for
// concurrent use.
type RejectionCache struct {
	// TTL returns how long a new entry is kept.
	TTL func() time.Duration

	mu    sync.Mutex
	salt  [sha256.Size]byte
	known map[[sha256.Size]byte]Rejection

	whole *RejectionCache // of a view
	since time.Time       // of a view
}

// Rejection is one rejected login.
type Rejection struct {
	At, Until time.Time // when it was rejected; not sent again before Until
	Answer    Answer

	retries int // how often it was allowed again since
}

// Answer is what a server answered to a rejected login.
type Answer struct {
	About   string // to which request; empty: the rest is unset
	Status  int
	Cause   report.Cause
	Summary string
	Facts   map[string]string
}

// Since returns a view for an examination that was requested at a time. A login that was
// rejected before is allowed again, within limits: the answer must come from the
// registry. What is added to the view is added to the cache.
func (r *RejectionCache) Since(at time.Time) *RejectionCache {
	return &RejectionCache{whole: r, since: at}
}

// Add records that the host rejected this user name and password, and its answer.
func (r *RejectionCache) Add(host, username, password string, a Answer) {
	if r.whole != nil {
		r.whole.Add(host, username, password, a)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.known == nil {
		rand.Read(r.salt[:]) // never fails, see crypto/rand
		r.known = map[[sha256.Size]byte]Rejection{}
	}
	maps.DeleteFunc(r.known, func(_ [sha256.Size]byte, old Rejection) bool {
		return !now.Before(old.Until) && now.Sub(old.At) >= retryInterval
	})
	for len(r.known) >= maxRejections {
		oldest, first := [sha256.Size]byte{}, time.Time{}
		for k, old := range r.known {
			if first.IsZero() || old.At.Before(first) {
				oldest, first = k, old.At
			}
		}
		delete(r.known, oldest)
	}
	key := r.hash(host, username, password)
	retries := r.known[key].retries
	if now.Sub(r.known[key].At) >= retryInterval {
		retries = 0
	}
	r.known[key] = Rejection{At: now, Until: now.Add(r.TTL()), Answer: a, retries: retries}
}

// Find returns the host's rejection of this user name and password, if they must not be
// sent there now.
func (r *RejectionCache) Find(host, username, password string) (found Rejection, rejected bool) {
	if r.whole != nil {
		return r.whole.find(r.since, host, username, password)
	}
	return r.find(time.Time{}, host, username, password)
}

// find is Find for a view. It forgets a rejection that does not count for it: if
// the login is rejected again, it is added again.
func (r *RejectionCache) find(since time.Time, host, username, password string) (Rejection, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		return Rejection{}, false
	}
	key, now := r.hash(host, username, password), time.Now()
	found := r.known[key]
	if !now.Before(found.Until) {
		return Rejection{}, false
	}
	if found.At.Before(since) && (found.retries < maxRetries || now.Sub(found.At) >= retryInterval) {
		found.retries++
		found.Until = time.Time{}
		r.known[key] = found
		return Rejection{}, false
	}
	return found, true
}

// hash returns a keyed hash of the parts. The length before each part keeps
// ("ab", "c") and ("a", "bc") different.
func (r *RejectionCache) hash(parts ...string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, r.salt[:])
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write([]byte(p))
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
