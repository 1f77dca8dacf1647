package pods

import (
	"testing"
	"time"
)

// The kubelet's back-off doubles from 10 s to 5 min, so that the time that has passed
// since its first attempt has the next one.
func TestNextPull(t *testing.T) {
	since := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	for passed, want := range map[time.Duration]time.Duration{
		0: 10 * time.Second, 10 * time.Second: 20 * time.Second, 30 * time.Second: 40 * time.Second,
		150 * time.Second: 160 * time.Second, 310 * time.Second: 5 * time.Minute, time.Hour: 5 * time.Minute,
	} {
		w := PendingImage{Failing: true, Since: since, FailedAt: since.Add(passed)}
		if got := w.NextPull().Sub(w.FailedAt); got != want {
			t.Errorf("%v after the first attempt: the next in %v, want %v", passed, got, want)
		}
	}
	if w := (PendingImage{Since: since}); !w.NextPull().IsZero() {
		t.Error("nothing has failed")
	}
}
