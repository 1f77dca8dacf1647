package agent

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/examine/examinetest"
)

// TestEventOutlivesItsTTL checks that a stuck pod has one Event at every moment, although
// the API server drops Events soon, across a restart of the agent and of the API server.
// PULLPROBE_EVENT_TEST=10m runs it so long, with an --event-ttl of a fifth.
func TestEventOutlivesItsTTL(t *testing.T) {
	lasts := 40 * time.Second
	if s := os.Getenv("PULLPROBE_EVENT_TEST"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	ttl := lasts / 5
	if testing.Short() {
		t.Skip("starts a kube-apiserver")
	}
	shared, err := sharedAPI()
	if errors.Is(err, errNoAPIServer) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	api, err := shared.beside("--event-ttl="+ttl.String(), "--lease-reuse-duration-seconds=1")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldAt(t, api)
	w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
	renew := func(a *Agent) {
		s := a.live.Get()
		s.EventRenewal = ttl / 3
		a.live.Set(s)
	}
	stop := w.agent(renew)
	w.until("its Event", 10*time.Second, func() bool { return len(w.events("stuck")) == 1 })
	first := w.events("stuck")[0]
	began := time.Now()
	agentRestarted, apiRestarted := false, false
	for time.Since(began) < lasts {
		if e := w.events("stuck"); len(e) != 1 || e[0].Name != first.Name {
			t.Fatalf("%d Events after %v", len(e), time.Since(began))
		}
		switch {
		case !agentRestarted && time.Since(began) > lasts/3:
			stop()
			stop, agentRestarted = w.agent(renew), true
		case !apiRestarted && time.Since(began) > lasts/2:
			if err := api.restart(); err != nil {
				t.Fatal(err)
			}
			apiRestarted = true
		}
		time.Sleep(200 * time.Millisecond)
	}
	last := w.events("stuck")[0]
	t.Logf("--event-ttl %v, renewed every %v, %v long: one Event, count %d, first %v, last %v", ttl, ttl/3, lasts,
		last.Count, last.FirstTimestamp.Time.Format(time.TimeOnly), last.LastTimestamp.Time.Format(time.TimeOnly))
	if !last.FirstTimestamp.Equal(&first.FirstTimestamp) || last.Count < 3 {
		t.Errorf("first %v, then %v; count %d", first.FirstTimestamp, last.FirstTimestamp, last.Count)
	}
}
