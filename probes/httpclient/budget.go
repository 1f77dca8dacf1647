package httpclient

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
)

// What one diagnosis may cost the registries, over all hosts.
const (
	MaxBytes     = 48 << 10 // of answers, headers and bodies; without handshakes and bytes in flight
	maxManifests = 2        // manifest GETs: an index and its child
	MaxGuesses   = 4        // HEADs for guessed names

	maxGlanceBytes = 12 << 10 // of answers about another image

	maxRequests  = 16 // to one host: beyond them no question is sent
	minRemaining = 8  // requests that a host must say it still allows for a question
)

// Budget is what remains of what a diagnosis may cost the registries.
type Budget struct {
	bytes     atomic.Int64
	manifests atomic.Int64
	guesses   atomic.Int64
	limited   sync.Map // hosts that answered 429: true if only to a question
	short     sync.Map // hosts whose quota is nearly used up: they get no question
	requests  sync.Map // *atomic.Int64 by host
}

// NewBudget returns a budget of which nothing is spent.
func NewBudget() *Budget {
	b := new(Budget)
	b.bytes.Store(MaxBytes)
	b.manifests.Store(maxManifests)
	b.guesses.Store(MaxGuesses)
	return b
}

// NewGlanceBudget returns a budget for the request about another image than the one of the
// diagnosis: a few headers, no GET of a manifest, and no guesses.
func NewGlanceBudget() *Budget {
	b := new(Budget)
	b.bytes.Store(maxGlanceBytes)
	return b
}

// TakeManifest takes one manifest GET out of the budget, if there is one left.
func (b *Budget) TakeManifest() bool { return b.manifests.Add(-1) >= 0 }

// TakeGuess takes one HEAD for a guessed name out of the budget, if there is one
// left.
func (b *Budget) TakeGuess() bool { return b.guesses.Add(-1) >= 0 }

// exhausted returns why host gets no other request; nil if it may get one. A limit that
// only a question met is no finding: the runtime does not send questions.
func (b *Budget) exhausted(host string, question bool) *connect.BlockedError {
	if byQuestion, ok := b.limited.Load(host); ok {
		blocked := &connect.BlockedError{Reason: host + " is rate-limiting this node (429) and gets no other request"}
		if byQuestion == false {
			blocked.Cause = report.RateLimited
		}
		return blocked
	}
	if b.bytes.Load() <= 0 {
		return &connect.BlockedError{Reason: "this diagnosis has read the 48 KiB that it may read from registries"}
	}
	if _, ok := b.short.Load(host); question && (ok || b.sentTo(host).Load() >= maxRequests) {
		return &connect.BlockedError{Reason: host + " allows few other requests, which are left to the runtime"}
	}
	return nil
}

// LimitOf returns what is known of a host's limit: "429", "few left", or nothing.
func (b *Budget) LimitOf(host string) string {
	if _, ok := b.limited.Load(host); ok {
		return "429"
	}
	if _, ok := b.short.Load(host); ok {
		return "few left"
	}
	return ""
}

// sentTo counts the requests to a host.
func (b *Budget) sentTo(host string) *atomic.Int64 {
	n, _ := b.requests.LoadOrStore(host, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// spend takes an answer's header out of the budget and remembers what it says of the
// host's limit.
func (b *Budget) spend(resp *http.Response, host string, question bool) {
	n := 0
	for k, values := range resp.Header {
		for _, v := range values {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	b.bytes.Add(int64(-n))
	b.sentTo(host).Add(1)
	if resp.StatusCode == http.StatusTooManyRequests {
		if _, known := b.limited.LoadOrStore(host, question); known && !question {
			b.limited.Store(host, false)
		}
	}
	if left, ok := remaining(resp.Header); ok && left < minRemaining {
		b.short.Store(host, true)
	}
}

// remaining returns how many requests a host says it still allows: "76;w=21600" at
// Docker Hub.
func remaining(h http.Header) (int, bool) {
	text, _, _ := strings.Cut(cmp.Or(h.Get("RateLimit-Remaining"), h.Get("X-RateLimit-Remaining")), ";")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil
}

// read reads at most limit bytes, and no more than the budget has left. It does
// not wait for another byte, so that cut may also mean that the body ends just
// there.
func (b *Budget) read(body io.Reader, limit int64) (data []byte, cut bool, err error) {
	chunk := make([]byte, min(limit, 4<<10))
	for int64(len(data)) < limit {
		// In small steps, so that several readers share the rest.
		room := b.reserve(min(limit-int64(len(data)), int64(len(chunk))))
		if room == 0 {
			return data, true, nil
		}
		n, err := body.Read(chunk[:room])
		b.bytes.Add(room - int64(n))
		data = append(data, chunk[:n]...)
		if errors.Is(err, io.EOF) {
			return data, false, nil
		}
		if err != nil {
			return data, false, err
		}
	}
	return data, true, nil
}

// reserve takes up to n bytes out of the budget: several hosts read at once.
func (b *Budget) reserve(n int64) int64 {
	for {
		left := b.bytes.Load()
		take := min(n, max(left, 0))
		if b.bytes.CompareAndSwap(left, left-take) {
			return take
		}
	}
}

// decode undoes the Content-Encoding gzip, up to limit bytes. containerd accepts
// zstd, gzip and deflate for manifests; the probes accept none, but some servers
// ignore that.
func (r *Reply) decode(limit int64) {
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); {
	case encoding == "", encoding == "identity", len(r.Body) == 0:
	case encoding == "gzip" && !r.Cut:
		z, err := gzip.NewReader(bytes.NewReader(r.Body))
		if err != nil {
			r.Encoded = encoding
			return
		}
		var plain bytes.Buffer
		n, err := io.Copy(&plain, io.LimitReader(z, limit))
		if err != nil && !errors.Is(err, io.EOF) {
			r.Encoded = encoding
			return
		}
		r.Body, r.Cut = plain.Bytes(), n == limit
	default:
		r.Encoded = encoding
	}
}
