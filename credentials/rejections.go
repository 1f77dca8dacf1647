package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"sync"
	"time"
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
	known map[[sha256.Size]byte]rejection

	whole *RejectionCache // of a view
	since time.Time       // of a view
}

// rejection is one rejected login.
type rejection struct {
	at, until time.Time // until: not sent again before
	retries   int       // how often it was allowed again since
}

// Since returns a view for an examination that was requested at a time. A login that was
// rejected before is allowed again, within limits: the answer must come from the
// registry. What is added to the view is added to the cache.
func (r *RejectionCache) Since(at time.Time) *RejectionCache {
	return &RejectionCache{whole: r, since: at}
}

// Add records that the host rejected this user name and password.
func (r *RejectionCache) Add(host, username, password string) {
	if r.whole != nil {
		r.whole.Add(host, username, password)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.known == nil {
		rand.Read(r.salt[:]) // never fails, see crypto/rand
		r.known = map[[sha256.Size]byte]rejection{}
	}
	maps.DeleteFunc(r.known, func(_ [sha256.Size]byte, old rejection) bool {
		return !now.Before(old.until) && now.Sub(old.at) >= retryInterval
	})
	for len(r.known) >= maxRejections {
		oldest, first := [sha256.Size]byte{}, time.Time{}
		for k, old := range r.known {
			if first.IsZero() || old.at.Before(first) {
				oldest, first = k, old.at
			}
		}
		delete(r.known, oldest)
	}
	key := r.hash(host, username, password)
	retries := r.known[key].retries
	if now.Sub(r.known[key].at) >= retryInterval {
		retries = 0
	}
	r.known[key] = rejection{at: now, until: now.Add(r.TTL()), retries: retries}
}

// Contains reports whether the host has rejected this user name and password,
// and until when they are not sent again.
func (r *RejectionCache) Contains(host, username, password string) (until time.Time, refused bool) {
	if r.whole != nil {
		return r.whole.contains(r.since, host, username, password)
	}
	return r.contains(time.Time{}, host, username, password)
}

// contains is Contains for a view. It forgets a rejection that does not count for it: if
// the login is rejected again, it is added again.
func (r *RejectionCache) contains(since time.Time, host, username, password string) (until time.Time, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		return time.Time{}, false
	}
	key, now := r.hash(host, username, password), time.Now()
	found := r.known[key]
	if !now.Before(found.until) {
		return time.Time{}, false
	}
	if found.at.Before(since) && (found.retries < maxRetries || now.Sub(found.at) >= retryInterval) {
		found.retries++
		found.until = time.Time{}
		r.known[key] = found
		return time.Time{}, false
	}
	return found.until, true
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
