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
	reviewTimeout = 4 * time.Second

	// How long an answer holds: a token that is good, one that is not, and none.
	allowedTTL = time.Minute
	deniedTTL  = 10 * time.Second
	errorTTL   = time.Second

	// trustFor is how long a token that was good is reviewed however many others
	// come along, which nobody may crowd out.
	trustTTL = 10 * time.Minute

	// maxTokens bounds how many are remembered.
	maxTokens = 256

	// Reviews of other tokens, in which strangers spend the agent's calls to the
	// API server.
	unknownInterval = 500 * time.Millisecond
	unknownBurst    = 10
)

// gate lets requests through whose bearer token the API server knows, if it
// allows whom the token is for to get the path /metrics. All requests with one
// token share a review.
type authenticator struct {
	authorize     func(ctx context.Context, token string) (status int, err error)
	log           *slog.Logger
	unknownTokens *rate.Limiter
	logLimit      rate.Sometimes

	reviews sync.WaitGroup // under way
	done    context.Context
	end     context.CancelFunc // ends done, and so the reviews

	mu        sync.Mutex
	decisions map[[sha256.Size]byte]*decision // by the token's sum, so that no token is kept
}

// ruling is what the requests with one token get.
type decision struct {
	done    chan struct{} // closed when there is a status
	status  int           // http.StatusOK: they are let through
	until   time.Time     // it holds
	trusted time.Time     // until then it is reviewed in any case
}

func newAuthenticator(visitor func(context.Context, string) (int, error), log *slog.Logger) *authenticator {
	done, end := context.WithCancel(context.Background())
	return &authenticator{
		authorize:     visitor,
		log:           log,
		unknownTokens: rate.NewLimiter(rate.Every(unknownInterval), unknownBurst),
		logLimit:      rate.Sometimes{Interval: time.Minute},
		done:          done,
		end:           end,
		decisions:     map[[sha256.Size]byte]*decision{},
	}
}

// stop cancels the reviews that are under way and waits for them. It is called
// when no request is served any more; a request that is left gets no review.
func (g *authenticator) stop() {
	g.mu.Lock()
	g.end()
	g.mu.Unlock()
	g.reviews.Wait()
}

// before puts the gate before a handler.
func (g *authenticator) wrap(next http.Handler) http.Handler {
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
func (g *authenticator) status(ctx context.Context, token string) int {
	r := g.decide(token)
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
func (g *authenticator) decide(token string) *decision {
	key := sha256.Sum256([]byte(token))
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	old := g.decisions[key]
	if old != nil && (old.status == 0 || now.Before(old.until)) {
		return old
	}
	r := &decision{done: make(chan struct{})}
	if old != nil && now.Before(old.trusted) {
		r.trusted = old.trusted
	} else {
		maps.DeleteFunc(g.decisions, func(_ [sha256.Size]byte, r *decision) bool {
			return r.status != 0 && now.After(r.until) && now.After(r.trusted)
		})
		if len(g.decisions) >= maxTokens || !g.unknownTokens.Allow() {
			return nil
		}
	}
	if g.done.Err() != nil {
		return nil
	}
	g.decisions[key] = r
	g.reviews.Go(func() { g.review(g.done, token, r) }) // not the request's context: others wait for this review, too
	return r
}

// review asks the API server. What it does not say is no yes.
func (g *authenticator) review(ctx context.Context, token string, r *decision) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	status, err := g.authorize(ctx, token)
	if err != nil {
		status = http.StatusServiceUnavailable
		g.logLimit.Do(func() { g.log.Warn("nobody gets the metrics whose token was not reviewed", "error", reviewError(err)) })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch status {
	case http.StatusOK:
		r.until, r.trusted = now.Add(allowedTTL), now.Add(trustTTL)
	case http.StatusServiceUnavailable:
		r.until = now.Add(errorTTL)
	default:
		r.until, r.trusted = now.Add(deniedTTL), time.Time{}
	}
	r.status = status
	close(r.done)
}

// unreviewed is why there was no review, in no words that could be of the token.
func reviewError(err error) string {
	if apierrors.IsForbidden(err) {
		return "the agent has no right to ask for reviews: apply the component metrics"
	}
	if reason := apierrors.ReasonForError(err); reason != "" {
		return "the API server says " + string(reason)
	}
	return err.Error()
}
