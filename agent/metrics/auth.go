package metrics

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// reviewIn is how long the API server has for all that is asked about a token.
	reviewIn = 4 * time.Second

	// How long an answer holds: a token that is good, one that is not, and none.
	goodFor   = time.Minute
	badFor    = 10 * time.Second
	brokenFor = time.Second

	// trustFor is how long a token that was good is reviewed however many others
	// come along, which nobody may crowd out.
	trustFor = 10 * time.Minute

	// maxTokens bounds how many are remembered.
	maxTokens = 256

	// Reviews of other tokens, in which strangers spend the agent's calls to the
	// API server.
	strangerEvery = 500 * time.Millisecond
	strangerBurst = 10
)

// gate lets requests through whose bearer token the API server knows, if it
// allows whom the token is for to get the path /metrics. All requests with one
// token share a review.
type gate struct {
	visitor   func(ctx context.Context, token string) (status int, err error)
	log       *slog.Logger
	strangers *rate.Limiter
	told      rate.Sometimes

	reviews sync.WaitGroup // under way
	done    context.Context
	end     context.CancelFunc // ends done, and so the reviews

	mu    sync.Mutex
	known map[[sha256.Size]byte]*ruling // by the token's sum, so that no token is kept
}

// ruling is what the requests with one token get.
type ruling struct {
	done    chan struct{} // closed when there is a status
	status  int           // http.StatusOK: they are let through
	until   time.Time     // it holds
	trusted time.Time     // until then it is reviewed in any case
}

func newGate(visitor func(context.Context, string) (int, error), log *slog.Logger) *gate {
	done, end := context.WithCancel(context.Background())
	return &gate{
		visitor:   visitor,
		log:       log,
		strangers: rate.NewLimiter(rate.Every(strangerEvery), strangerBurst),
		told:      rate.Sometimes{Interval: time.Minute},
		done:      done,
		end:       end,
		known:     map[[sha256.Size]byte]*ruling{},
	}
}

// stop cancels the reviews that are under way and waits for them. It is called
// when no request is served any more; a request that is left gets no review.
func (g *gate) stop() {
	g.mu.Lock()
	g.end()
	g.mu.Unlock()
	g.reviews.Wait()
}

// before puts the gate before a handler.
func (g *gate) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusUnauthorized
		if token, ok := bearer(r); ok {
			status = g.status(r.Context(), token)
		}
		if status == http.StatusOK {
			next.ServeHTTP(w, r)
			return
		}
		// Who is not let in keeps no connection.
		w.Header().Set("Connection", "close")
		says := "the API server does not answer for this token now"
		switch status {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
			says = "a bearer token of this cluster is needed"
		case http.StatusForbidden:
			says = "this token's user may not get /metrics: bind the ClusterRole pullprobe-metrics-reader"
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "1")
			says = "too many tokens are being reviewed"
		}
		http.Error(w, says, status)
	})
}

// bearer is the request's bearer token.
func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsAny(token, " \t")
}

// status is what a request with this token gets.
func (g *gate) status(ctx context.Context, token string) int {
	r := g.ruling(token)
	if r == nil {
		return http.StatusTooManyRequests
	}
	select {
	case <-r.done:
		return r.status
	case <-ctx.Done():
		return http.StatusServiceUnavailable
	}
}

// ruling gives one that holds or is being made; nil if there are too many.
func (g *gate) ruling(token string) *ruling {
	key := sha256.Sum256([]byte(token))
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	old := g.known[key]
	if old != nil && (old.status == 0 || now.Before(old.until)) {
		return old
	}
	r := &ruling{done: make(chan struct{})}
	if old != nil && now.Before(old.trusted) {
		r.trusted = old.trusted
	} else {
		maps.DeleteFunc(g.known, func(_ [sha256.Size]byte, r *ruling) bool {
			return r.status != 0 && now.After(r.until) && now.After(r.trusted)
		})
		if len(g.known) >= maxTokens || !g.strangers.Allow() {
			return nil
		}
	}
	if g.done.Err() != nil {
		return nil
	}
	g.known[key] = r
	g.reviews.Go(func() { g.review(g.done, token, r) }) // not the request's context: others wait for this review, too
	return r
}

// review asks the API server. What it does not say is no yes.
func (g *gate) review(ctx context.Context, token string, r *ruling) {
	ctx, cancel := context.WithTimeout(ctx, reviewIn)
	defer cancel()
	status, err := g.visitor(ctx, token)
	if err != nil {
		status = http.StatusServiceUnavailable
		g.told.Do(func() { g.log.Warn("nobody gets the metrics whose token was not reviewed", "error", unreviewed(err)) })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch status {
	case http.StatusOK:
		r.until, r.trusted = now.Add(goodFor), now.Add(trustFor)
	case http.StatusServiceUnavailable:
		r.until = now.Add(brokenFor)
	default:
		r.until, r.trusted = now.Add(badFor), time.Time{}
	}
	r.status = status
	close(r.done)
}

// unreviewed is why there was no review, in no words that could be of the token.
func unreviewed(err error) string {
	if apierrors.IsForbidden(err) {
		return "the agent has no right to ask for reviews: apply the component metrics"
	}
	if reason := apierrors.ReasonForError(err); reason != "" {
		return "the API server says " + string(reason)
	}
	return err.Error()
}
