package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
)

// What one diagnosis may cost the registries, over all hosts.
const (
	maxBytes     = 48 << 10 // of answers, headers and bodies; without handshakes and bytes in flight
	maxManifests = 2        // manifest GETs: an index and its child
	maxGuesses   = 4        // HEADs for guessed names
)

// budget is what remains of that.
type budget struct {
	bytes     atomic.Int64
	manifests atomic.Int64
	guesses   atomic.Int64
	limited   sync.Map // hosts that answered 429: they get no other request
}

func newBudget() *budget {
	b := new(budget)
	b.bytes.Store(maxBytes)
	b.manifests.Store(maxManifests)
	b.guesses.Store(maxGuesses)
	return b
}

// takeManifest takes one manifest GET out of the budget, if there is one left.
func (b *budget) takeManifest() bool { return b.manifests.Add(-1) >= 0 }

// takeGuess takes one HEAD for a guessed name out of the budget, if there is one
// left.
func (b *budget) takeGuess() bool { return b.guesses.Add(-1) >= 0 }

// exhausted returns why host gets no other request; nil if it may get one.
func (b *budget) exhausted(host string) *connect.BlockedError {
	if _, ok := b.limited.Load(host); ok {
		return &connect.BlockedError{Reason: host + " is rate-limiting this node (429) and gets no other request", Cause: report.RateLimited}
	}
	if b.bytes.Load() <= 0 {
		return &connect.BlockedError{Reason: "this diagnosis has read the 48 KiB that it may read from registries"}
	}
	return nil
}

// spend takes an answer's header out of the budget and remembers a 429.
func (b *budget) spend(resp *http.Response, host string) {
	n := 0
	for k, values := range resp.Header {
		for _, v := range values {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	b.bytes.Add(int64(-n))
	if resp.StatusCode == http.StatusTooManyRequests {
		b.limited.Store(host, true)
	}
}

// read reads at most limit bytes, and no more than the budget has left. It does
// not wait for another byte, so that cut may also mean that the body ends just
// there.
func (b *budget) read(body io.Reader, limit int64) (data []byte, cut bool, err error) {
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
func (b *budget) reserve(n int64) int64 {
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
func (r *reply) decode(limit int64) {
	switch encoding := strings.ToLower(strings.TrimSpace(r.header.Get("Content-Encoding"))); {
	case encoding == "", encoding == "identity", len(r.body) == 0:
	case encoding == "gzip" && !r.cut:
		z, err := gzip.NewReader(bytes.NewReader(r.body))
		if err != nil {
			r.encoded = encoding
			return
		}
		var plain bytes.Buffer
		n, err := io.Copy(&plain, io.LimitReader(z, limit))
		if err != nil && !errors.Is(err, io.EOF) {
			r.encoded = encoding
			return
		}
		r.body, r.cut = plain.Bytes(), n == limit
	default:
		r.encoded = encoding
	}
}
