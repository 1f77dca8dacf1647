package endpoint

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
	// reviewTimeout limits all requests to the API server about one token.
	reviewTimeout = 4 * time.Second

	// How long a decision is valid.
	allowedTTL = time.Minute
	deniedTTL  = 10 * time.Second
	errorTTL   = time.Second // the API server did not decide

	// trustTTL is how long a token that was allowed is reviewed again regardless of
	// how many others there are: unknown tokens must not crowd it out.
	trustTTL = 10 * time.Minute

	// maxTokens limits the decisions that are kept.
	maxTokens = 256

	// Limits of the reviews of unknown tokens: strangers must not use up the agent's
	// requests to the API server.
	unknownInterval = 500 * time.Millisecond
	unknownBurst    = 10
)

// authenticator serves requests whose bearer token the API server authenticates, if
// the token's user may get the path /metrics. Requests with the same token share a
// review.
type authenticator struct {
	authorize     func(ctx context.Context, token string) (status int, err error)
	log           *slog.Logger
	unknownTokens *rate.Limiter
	logLimit      rate.Sometimes

	reviews sync.WaitGroup // in progress
	done    context.Context
	end     context.CancelFunc // ends done, and so the reviews

	mu        sync.Mutex
	decisions map[[sha256.Size]byte]*decision // by the token's sum, so that no token is kept
}

// decision is the response to all requests with one token.
type decision struct {
	done    chan struct{} // closed when there is a status
	status  int           // http.StatusOK: they are served
	until   time.Time     // end of its validity
	trusted time.Time     // until then the token is reviewed regardless of the limits
}

func newAuthenticator(authorize func(context.Context, string) (int, error), log *slog.Logger) *authenticator {
	done, end := context.WithCancel(context.Background())
	return &authenticator{
		authorize:     authorize,
		log:           log,
		unknownTokens: rate.NewLimiter(rate.Every(unknownInterval), unknownBurst),
		logLimit:      rate.Sometimes{Interval: time.Minute},
		done:          done,
		end:           end,
		decisions:     map[[sha256.Size]byte]*decision{},
	}
}

// stop cancels the reviews that are in progress and waits for them. It is called when
// the port is closed; a request that is left gets no review.
func (a *authenticator) stop() {
	a.mu.Lock()
	a.end()
	a.mu.Unlock()
	a.reviews.Wait()
}

// wrap returns a handler that serves authorized requests only.
func (a *authenticator) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusUnauthorized
		if token, ok := bearer(r); ok {
			status = a.status(r.Context(), token)
		}
		if status == http.StatusOK {
			next.ServeHTTP(w, r)
			return
		}
		// A rejected caller keeps no connection.
		w.Header().Set("Connection", "close")
		message := "the API server did not review this token"
		switch status {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
			message = "a bearer token of this cluster is required"
		case http.StatusForbidden:
			message = "this token's user may not get /metrics: bind the ClusterRole pullprobe-metrics-reader"
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "1")
			message = "too many unknown tokens"
		}
		http.Error(w, message, status)
	})
}

// bearer returns the request's bearer token.
func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsAny(token, " \t")
}

// status returns the status for requests with this token.
func (a *authenticator) status(ctx context.Context, token string) int {
	r := a.decide(token)
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

// decide returns a decision that is valid or in progress; nil if there are too many
// unknown tokens.
func (a *authenticator) decide(token string) *decision {
	key := sha256.Sum256([]byte(token))
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	old := a.decisions[key]
	if old != nil && (old.status == 0 || now.Before(old.until)) {
		return old
	}
	r := &decision{done: make(chan struct{})}
	if old != nil && now.Before(old.trusted) {
		r.trusted = old.trusted
	} else {
		maps.DeleteFunc(a.decisions, func(_ [sha256.Size]byte, r *decision) bool {
			return r.status != 0 && now.After(r.until) && now.After(r.trusted)
		})
		if len(a.decisions) >= maxTokens || !a.unknownTokens.Allow() {
			return nil
		}
	}
	if a.done.Err() != nil {
		return nil
	}
	a.decisions[key] = r
	a.reviews.Go(func() { a.review(a.done, token, r) }) // not the request's context: other requests share this review
	return r
}

// review asks the API server. Without an answer the request is denied.
func (a *authenticator) review(ctx context.Context, token string, r *decision) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	status, err := a.authorize(ctx, token)
	if err != nil {
		status = http.StatusServiceUnavailable
		a.logLimit.Do(func() { a.log.Warn("metrics requests denied: token review failed", "error", reviewError(err)) })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
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

// reviewError returns why there was no review, without the API server's message, which
// may quote the token.
func reviewError(err error) string {
	if apierrors.IsForbidden(err) {
		return "the agent may not create reviews: apply manifests/components/metrics"
	}
	if reason := apierrors.ReasonForError(err); reason != "" {
		return "the API server reported " + string(reason)
	}
	return err.Error()
}
