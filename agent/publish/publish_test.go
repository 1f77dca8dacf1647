package publish

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/report"
)

// TestHeartbeatIsLive checks that a shorter heartbeat does not wait for the end of the
// longer one before it.
func TestHeartbeatIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writes := 0
		s := config.Defaults()
		s.Heartbeat = time.Hour
		settings := config.NewLive(s)
		stop := publishInBackground(t, settings, func(r *http.Request) {
			if r.Method == http.MethodPatch {
				writes++
			}
		}, nil)
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if writes > 2 { // the first heartbeat comes at random
			t.Errorf("%d writes in a sixth of a heartbeat", writes)
		}
		s.Heartbeat = time.Minute
		settings.Set(s)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if writes < 9 {
			t.Errorf("%d writes in ten heartbeats", writes)
		}
	})
}

// TestEventsAreWrittenOnce checks that each queued Event is written once, those about the
// Node too, whose UID is added as they are written.
func TestEventsAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []string
		defer publishInBackground(t, config.NewLive(config.Defaults()), func(r *http.Request) {
			if _, name, ok := strings.Cut(r.URL.Path, "/events/"); ok {
				written = append(written, name)
			}
			if len(written) > 100 {
				time.Sleep(time.Hour) // the test has failed: do not write for ever
			}
		}, func(p *Publisher) {
			for _, e := range []kube.Event{{Name: "a", Node: true}, {Name: "b", Pod: "pod"}, {Name: "c", Node: true}} {
				e.Namespace = "default"
				p.EnqueueEvent(e)
			}
		})()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := strings.Join(written, " "); got != "a b c" {
			t.Errorf("written: %s", got)
		}
	})
}

// publishInBackground runs a publisher with an API server that accepts everything, until
// the function that it returns is called. seen is called for each request.
func publishInBackground(
	t *testing.T, settings *config.LiveSettings, seen func(*http.Request), before func(*Publisher),
) (stop context.CancelFunc) {
	t.Helper()
	answer := roundTrip(func(r *http.Request) (*http.Response, error) {
		seen(r)
		return &http.Response{
			StatusCode: http.StatusOK,
			Header:     http.Header{"Content-Type": {"application/json"}},
			Body:       io.NopCloser(strings.NewReader("{}")),
		}, nil
	})
	client, err := rest.RESTClientForConfigAndClient(
		&rest.Config{Host: "http://api.example", APIPath: "/api", ContentConfig: rest.ContentConfig{
			GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()),
		}},
		&http.Client{Transport: answer},
	)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{
		Kube:      kube.ForREST(client, ""),
		Log:       slog.New(slog.DiscardHandler),
		Node:      "n",
		Namespace: "ns",
		Settings:  settings,
		Metrics:   uncounted{},
	})
	p.uid = "uid"
	if before != nil {
		before(p)
	}
	ready := make(chan struct{})
	close(ready)
	ctx, stop := context.WithCancel(t.Context())
	go p.Run(ctx, ready, func() report.NodeReport { return report.NodeReport{Node: "n", Time: time.Now()} })
	return stop
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Times and figures are no change; what other nodes compare is one.
func TestChangeOfFacts(t *testing.T) {
	at := time.Now()
	sweep := func(edit func(*report.Registry)) report.NodeReport {
		ms := int64(2000)
		r := report.Registry{
			Host: "r.example", State: report.Reachable, Since: at, Checked: at, ClockMs: &ms, Addresses: []string{"192.0.2.7"}, Used: "192.0.2.7",
			Certificate: &report.Certificate{Issuer: "CA", Fingerprint: "aaaa"}, HostsFile: report.None,
		}
		edit(&r)
		return report.NodeReport{Node: "n", Time: r.Checked, Sweep: &report.Sweep{Registries: []report.Registry{r}, Traits: report.NodeTraits{Proxy: "none"}}}
	}
	keyOf := func(n report.NodeReport) key { return changeKey(n, factsOf(n, config.Defaults())) }
	same := keyOf(sweep(func(*report.Registry) {}))
	for _, tt := range []struct {
		what    string
		edit    func(*report.Registry)
		changed bool
	}{
		{"times and the clock", func(r *report.Registry) { ms := int64(3000); r.Checked, r.ClockMs = at.Add(time.Minute), &ms }, false},
		{"another of its addresses", func(r *report.Registry) { r.Addresses, r.Used = []string{"192.0.2.8"}, "192.0.2.8" }, false},
		{"another certificate", func(r *report.Registry) { r.Certificate.Fingerprint = "bbbb" }, true},
		{"mirrors", func(r *report.Registry) { r.Mirrors = []string{"m.example", "r.example"} }, true},
		{"hosts.toml", func(r *report.Registry) { r.HostsFile = "cccc" }, true},
	} {
		if got := keyOf(sweep(tt.edit)); (got != same) != tt.changed {
			t.Errorf("%s: changed is %v", tt.what, !tt.changed)
		}
	}
	proxied := sweep(func(*report.Registry) {})
	proxied.Sweep.Traits.Proxy = "http://p:3128"
	if keyOf(proxied) == same {
		t.Error("another proxy is no change")
	}
}

// What others say is a change where a verdict may depend on it; their number alone is none.
func TestChangeOfOpinions(t *testing.T) {
	keyOf := func(evidence map[string]string) key {
		c := report.Check{ID: "elsewhere/r.example", Kind: report.KindElsewhere, Outcome: report.Pass, Evidence: evidence}
		n := report.NodeReport{Node: "n", Diagnoses: []report.Diagnosis{{Image: "r.example/a:1", Checks: []report.Check{c}}}}
		return changeKey(n, factsOf(n, config.Defaults()))
	}
	say := func(reached, failed, rivals string) key {
		return keyOf(map[string]string{report.KeyReached: reached, report.KeyFailed: failed, report.KeyRivals: rivals, report.KeyAgeMs: reached + failed})
	}
	for _, tt := range []struct {
		what    string
		a, b    key
		changed bool
	}{
		{"one more of many", say("0", "400", ""), say("0", "401", ""), false},
		{"a second one fails", say("0", "1", ""), say("0", "2", ""), true},
		{"one gets through", say("0", "400", ""), say("1", "399", ""), true},
		{"a rival", say("0", "2", "none"), say("0", "2", "all of them have the same egress"), true},
	} {
		if got := tt.a != tt.b; got != tt.changed {
			t.Errorf("%s: changed is %v", tt.what, got)
		}
	}
}

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) ReportWritten(time.Time) {}
func (uncounted) PublishFailed()          {}
