package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// reviewer reviews made-up tokens: a token begins with its status.
type reviewer struct {
	asked atomic.Int32
	away  atomic.Bool
	takes time.Duration
}

func (r *reviewer) authorize(ctx context.Context, token string) (status int, err error) {
	r.asked.Add(1)
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(r.takes):
	}
	if r.away.Load() {
		return 0, errors.New("no answer")
	}
	_, err = fmt.Sscanf(token, "%d", &status)
	return status, err
}

func (r *reviewer) authenticator() *authenticator {
	return newAuthenticator(r.authorize, slog.New(slog.DiscardHandler))
}

// expect checks the status of a request, and how many reviews it caused.
func (r *reviewer) expect(t *testing.T, g *authenticator, what, token string, want, reviews int) {
	t.Helper()
	before := r.asked.Load()
	if got := g.status(t.Context(), token); got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
	if n := int(r.asked.Load() - before); n != reviews {
		t.Errorf("%s: %d reviews, want %d", what, n, reviews)
	}
}

func TestDecisionsAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reviewer
		g := r.authenticator()
		for token, holds := range map[string]time.Duration{"200 a": allowedTTL, "401 a": deniedTTL, "403 a": deniedTTL} {
			var want int
			_, _ = fmt.Sscanf(token, "%d", &want)
			r.expect(t, g, "first", token, want, 1)
			time.Sleep(holds - time.Second)
			r.expect(t, g, "while it holds", token, want, 0)
			time.Sleep(2 * time.Second)
			r.expect(t, g, "after that", token, want, 1)
			r.expect(t, g, "again", token, want, 0)
		}
		r.expect(t, g, "another token", "200 b", http.StatusOK, 1)
	})
}

// TestNoReview checks that without a review no new token is allowed, and that valid
// decisions still hold.
func TestNoReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reviewer
		g := r.authenticator()
		r.expect(t, g, "good", "200", http.StatusOK, 1)
		r.away.Store(true)
		r.expect(t, g, "held", "200", http.StatusOK, 0)
		time.Sleep(allowedTTL)
		r.expect(t, g, "held no more", "200", http.StatusServiceUnavailable, 1)
		r.expect(t, g, "at once again", "200", http.StatusServiceUnavailable, 0)
		r.away.Store(false)
		time.Sleep(errorTTL)
		r.expect(t, g, "it is back", "200", http.StatusOK, 1)

		r.takes = time.Hour
		began := time.Now()
		r.expect(t, g, "no answer ever", "200 other", http.StatusServiceUnavailable, 1)
		if took := time.Since(began); took != reviewTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// TestSharedReview checks that requests with one token share a review, which continues
// when the first request ends.
func TestSharedReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reviewer{takes: time.Second}
		g := r.authenticator()
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if got := g.status(first, "200"); got != http.StatusServiceUnavailable {
				t.Errorf("who left gets %d", got)
			}
		})
		synctest.Wait()
		for range 20 {
			all.Go(func() {
				if got := g.status(t.Context(), "200"); got != http.StatusOK {
					t.Errorf("%d", got)
				}
			})
		}
		leave()
		all.Wait()
		if n := r.asked.Load(); n != 1 {
			t.Errorf("%d reviews", n)
		}
	})
}

// TestUnknownTokens checks that unknown tokens use a limited number of reviews and of
// memory, and do not lock out tokens that were allowed before.
func TestUnknownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reviewer
		g := r.authenticator()
		r.expect(t, g, "good", "200", http.StatusOK, 1)
		limited := 0
		for i := range 20 * 60 * 15 { // a quarter of an hour
			if g.status(t.Context(), fmt.Sprintf("401 %d", i)) == http.StatusTooManyRequests {
				limited++
			}
			if i%100 == 0 {
				if got := g.status(t.Context(), "200"); got != http.StatusOK {
					t.Fatalf("the good one gets %d", got)
				}
			}
			if n := len(g.decisions); n > maxTokens {
				t.Fatalf("%d are remembered", n)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := r.asked.Load(); n > 15*60*2+unknownBurst+20 || limited == 0 {
			t.Errorf("%d reviews, %d refused", n, limited)
		}
		// No longer when the token is not valid any more.
		time.Sleep(trustTTL + allowedTTL)
		for i := range 20 {
			g.status(t.Context(), fmt.Sprintf("401 late %d", i))
		}
		if got := g.status(t.Context(), "200"); got != http.StatusTooManyRequests {
			t.Errorf("trusted for ever: %d", got)
		}
	})
}

// TestManyTokens checks that no more tokens are accepted when there are too many that
// were allowed.
func TestManyTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reviewer
		g := r.authenticator()
		for i := range 2 * maxTokens {
			g.status(t.Context(), fmt.Sprintf("200 %d", i))
			time.Sleep(unknownInterval)
		}
		if n := len(g.decisions); n != maxTokens {
			t.Errorf("%d are remembered", n)
		}
		time.Sleep(trustTTL + allowedTTL)
		r.expect(t, g, "later", "200 late", http.StatusOK, 1)
		if n := len(g.decisions); n != 1 {
			t.Errorf("%d are remembered still", n)
		}
	})
}

// TestBearer checks that exactly one bearer token is accepted.
func TestBearer(t *testing.T) {
	var r reviewer
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metrics") })
	h := r.authenticator().wrap(served)
	for _, tt := range []struct {
		name  string
		token []string
		want  int
	}{
		{"none", nil, http.StatusUnauthorized},
		{"empty", []string{"Bearer "}, http.StatusUnauthorized},
		{"no scheme", []string{"200"}, http.StatusUnauthorized},
		{"a password", []string{"Basic 200"}, http.StatusUnauthorized},
		{"two", []string{"Bearer 200", "Bearer 200"}, http.StatusUnauthorized},
		{"with more behind", []string{"Bearer 200 200"}, http.StatusUnauthorized},
		{"good", []string{"Bearer 200"}, http.StatusOK},
		{"in small letters", []string{"bearer 200"}, http.StatusOK},
		{"not allowed", []string{"Bearer 403"}, http.StatusForbidden},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		req.Header["Authorization"] = tt.token
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		in := tt.want == http.StatusOK
		if w.Code != tt.want || (w.Header().Get("WWW-Authenticate") == "Bearer") != (tt.want == http.StatusUnauthorized) ||
			strings.Contains(w.Body.String(), "metrics") && !in &&
				tt.want != http.StatusForbidden || (w.Header().Get("Connection") == "close") == in {
			t.Errorf("%s: %d %v %q", tt.name, w.Code, w.Header(), w.Body)
		}
	}
	if n := r.asked.Load(); n != 2 {
		t.Errorf("%d reviews of 2 tokens", n)
	}
}

// TestStop checks that stop cancels a review in progress and waits for it, and that there
// is none after it.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reviewer{takes: time.Hour}
		a := r.authenticator()
		got := make(chan int, 1)
		go func() { got <- a.status(t.Context(), "200 a") }()
		synctest.Wait()
		began := time.Now()
		a.stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("stopped after %v", took)
		}
		if status := <-got; status != http.StatusServiceUnavailable {
			t.Errorf("in progress: %d", status)
		}
		before := r.asked.Load()
		if status := a.status(t.Context(), "200 b"); status != http.StatusTooManyRequests || r.asked.Load() != before {
			t.Errorf("after the stop: %d, %d reviews", status, r.asked.Load()-before)
		}
	})
}
