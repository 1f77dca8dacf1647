package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// maxRefusals bounds what is remembered. Beyond it the oldest go first.
const maxRefusals = 4096

// Refusals remembers which password a registry host has refused, so that it is
// not tried there again and again until somebody's account is locked. Passwords
// are not kept, only a keyed hash that means nothing to another process. It is
// safe for concurrent use.
type Refusals struct {
	// For says how long one that comes now is remembered.
	For func() time.Duration

	mu    sync.Mutex
	salt  [sha256.Size]byte
	until map[[sha256.Size]byte]time.Time
}

// Refuse notes that the host refuses this user and password.
func (r *Refusals) Refuse(host, username, password string) {
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
	for len(r.until) >= maxRefusals {
		oldest, first := [sha256.Size]byte{}, time.Time{}
		for k, at := range r.until {
			if first.IsZero() || at.Before(first) {
				oldest, first = k, at
			}
		}
		delete(r.until, oldest)
	}
	r.until[r.key(host, username, password)] = now.Add(r.For())
}

// Refused reports whether the host is known to refuse this user and password,
// and until when that is not tried again.
func (r *Refusals) Refused(host, username, password string) (until time.Time, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		return time.Time{}, false
	}
	until = r.until[r.key(host, username, password)]
	return until, time.Now().Before(until)
}

// key is a hash of all three; a length before each keeps them apart.
func (r *Refusals) key(parts ...string) (k [sha256.Size]byte) {
	h := hmac.New(sha256.New, r.salt[:])
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write([]byte(p))
	}
	copy(k[:], h.Sum(nil))
	return k
}
