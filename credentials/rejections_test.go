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
			_, ok := r.Contains(host, user, password)
			return ok
		}
		if rejected("r.example", "u", "p") {
			t.Error("rejected before any request")
		}
		r.Add("r.example", "u", "p")
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
			r.Add("r.example", "u", time.Duration(i).String())
		}
		if len(r.until) > maxRejections {
			t.Errorf("%d entries", len(r.until))
		}
	})
}
