package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// maxRejections bounds the entries of a RejectionCache. Beyond it, the oldest are
// removed first.
const maxRejections = 4096

// RejectionCache remembers which passwords a registry host has rejected, so that none
// is sent there repeatedly until an account is locked. It stores no passwords,
// only a keyed hash that means nothing to another process. It is safe for
// concurrent use.
type RejectionCache struct {
	// For returns how long a new entry is kept.
	TTL func() time.Duration

	mu    sync.Mutex
	salt  [sha256.Size]byte
	until map[[sha256.Size]byte]time.Time
}

// Add records that the host rejected this user name and password.
func (r *RejectionCache) Add(host, username, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.until == nil {
		rand.Read(r.salt[:]) // never fails, see crypto/rand
		r.until = map[[sha256.Size]byte]time.Time{}
	}
	for k, at := range r.until {
		if !now.Before(at) {
			delete(r.until, k)
		}
	}
	for len(r.until) >= maxRejections {
		oldest, first := [sha256.Size]byte{}, time.Time{}
		for k, at := range r.until {
			if first.IsZero() || at.Before(first) {
				oldest, first = k, at
			}
		}
		delete(r.until, oldest)
	}
	r.until[r.hash(host, username, password)] = now.Add(r.TTL())
}

// Contains reports whether the host has rejected this user name and password,
// and until when they are not sent again.
func (r *RejectionCache) Contains(host, username, password string) (until time.Time, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		return time.Time{}, false
	}
	until = r.until[r.hash(host, username, password)]
	return until, time.Now().Before(until)
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
