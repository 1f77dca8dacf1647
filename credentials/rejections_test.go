package credentials

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Refusals{For: func() time.Duration { return 5 * time.Minute }}
		refused := func(host, user, password string) bool {
			_, ok := r.Refused(host, user, password)
			return ok
		}
		if refused("r.example", "u", "p") {
			t.Error("refused before anybody asked")
		}
		r.Refuse("r.example", "u", "p")
		for _, other := range [][3]string{{"mirror.example", "u", "p"}, {"r.example", "v", "p"}, {"r.example", "u", "new"}, {"r.example", "up", ""}} {
			if refused(other[0], other[1], other[2]) {
				t.Errorf("%v is refused for what another is", other)
			}
		}
		time.Sleep(5*time.Minute - time.Second)
		if !refused("r.example", "u", "p") {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Second)
		if refused("r.example", "u", "p") {
			t.Error("never tried again")
		}
		for i := range 2 * maxRefusals {
			r.Refuse("r.example", "u", time.Duration(i).String())
		}
		if len(r.until) > maxRefusals {
			t.Errorf("remembers %d", len(r.until))
		}
	})
}
