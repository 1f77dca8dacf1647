package credentials

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRejections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := RejectionCache{TTL: func() time.Duration { return 5 * time.Minute }}
		rejected := func(host, user, password string) bool {
			_, ok := r.Find(host, user, password)
			return ok
		}
		if rejected("r.example", "u", "p") {
			t.Error("rejected before any request")
		}
		r.Add("r.example", "u", "p", Answer{})
		for _, other := range [][3]string{
			{"mirror.example", "u", "p"},
			{"r.example", "v", "p"},
			{"r.example", "u", "new"},
			{"r.example", "up", ""},
		} {
			if rejected(other[0], other[1], other[2]) {
				t.Errorf("%v counts as rejected because another is", other)
			}
		}
		time.Sleep(5*time.Minute - time.Second)
		if !rejected("r.example", "u", "p") {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Second)
		if rejected("r.example", "u", "p") {
			t.Error("kept too long")
		}
		for i := range 2 * maxRejections {
			r.Add("r.example", "u", time.Duration(i).String(), Answer{})
		}
		if len(r.known) > maxRejections {
			t.Errorf("%d entries", len(r.known))
		}
	})
}

// A requested examination tries a rejected login again, which is remembered again. The
// number of such attempts is limited.
func TestRejectionsOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &RejectionCache{TTL: func() time.Duration { return 15 * time.Minute }}
		refused := func(r *RejectionCache) bool {
			_, refused := r.Find("r.example", "u", "p")
			return refused
		}
		r.Add("r.example", "u", "p", Answer{})
		sent := 0
		for range 10 {
			time.Sleep(time.Second)
			view := r.Since(time.Now())
			if refused(view) {
				continue
			}
			sent++
			view.Add("r.example", "u", "p", Answer{})
			if !refused(view) || !refused(r) {
				t.Fatal("not remembered again")
			}
		}
		if sent != maxRetries {
			t.Errorf("%d attempts by ten requests", sent)
		}
		time.Sleep(retryInterval)
		if refused(r.Since(time.Now())) {
			t.Error("a request after a minute is not answered by the registry")
		}
		if refused(r) {
			t.Error("the old rejection still counts after the login was tried again and not rejected")
		}
		r.Add("r.example", "u", "p", Answer{})
		if !refused(r.Since(time.Now().Add(-time.Second))) {
			t.Error("a rejection after the request does not count")
		}
	})
}
