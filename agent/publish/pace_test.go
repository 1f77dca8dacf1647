package publish

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
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

// crowd is many publishers of a cluster, and what they write.
type crowd struct {
	all             []*Publisher
	reports, events atomic.Int64
	stuck           atomic.Int64 // pods on each node
	down            atomic.Bool  // a registry, on each node
	fault           atomic.Value // a report.Fault: who must act
	stop            context.CancelFunc
}

const inCrowd = 200

// newCrowd starts publishers in a cluster of which the fleet says how many nodes it has.
func newCrowd(t *testing.T, nodes string) *crowd {
	t.Helper()
	c := &crowd{}
	ctx, cancel := context.WithCancel(t.Context())
	c.stop = cancel
	answer := roundTrip(func(r *http.Request) (*http.Response, error) {
		body := "{}"
		switch {
		case strings.HasSuffix(r.URL.Path, "/configmaps/"+report.FleetName):
			body = `{"metadata":{"labels":{"pullprobe.dev/nodes":"` + nodes + `"}}}`
		case r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/configmaps/"):
			c.reports.Add(1)
		case r.Method == http.MethodPatch:
			c.events.Add(1)
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
	client, err := rest.RESTClientForConfigAndClient(&rest.Config{Host: "http://api.example", APIPath: "/api", QPS: -1, ContentConfig: rest.ContentConfig{
		GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()),
	}}, &http.Client{Transport: answer})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	close(ready)
	settings := config.Defaults()
	settings.Heartbeat = 10000 * time.Hour
	for range inCrowd {
		p := New(Config{
			Kube: kube.ForREST(client, ""), Log: slog.New(slog.DiscardHandler), Node: "n", Namespace: "ns",
			Settings: config.NewLive(settings), Metrics: uncounted{},
		})
		p.uid = "uid"
		c.all = append(c.all, p)
		go p.Run(ctx, ready, c.snapshot)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	c.reports.Store(0)
	return c
}

func (c *crowd) snapshot() report.NodeReport {
	r := report.NodeReport{Node: "n", Time: time.Now(), Stuck: int(c.stuck.Load()), Sweep: &report.Sweep{}}
	if c.down.Load() {
		r.Sweep.Registries = []report.Registry{{Host: "r.example", State: report.Unreachable, Cause: report.ConnectionTimeout}}
		r.Fault, _ = c.fault.Load().(report.Fault)
	}
	return r
}

// notice has every node notice what has changed.
func (c *crowd) notice() {
	for _, p := range c.all {
		p.MarkDirty()
	}
	time.Sleep(time.Second) // of the bubble
	synctest.Wait()
}

func TestPace(t *testing.T) {
	for name, nodes := range map[string]string{"no fleet": "", "a small cluster": "3", "a hostile count": "-7", "no number": "x"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, nodes)
				defer c.stop()
				c.down.Store(true)
				if c.notice(); c.reports.Load() != inCrowd {
					t.Errorf("%d of %d reports are written at once", c.reports.Load(), inCrowd)
				}
			})
		})
	}
	t.Run("a large cluster", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, "5000")
			defer c.stop()
			c.stuck.Store(1)
			if c.notice(); c.reports.Load() != inCrowd {
				t.Errorf("%d of %d reports about a pod are written at once", c.reports.Load(), inCrowd)
			}
			c.reports.Store(0)
			c.down.Store(true)
			for _, p := range c.all {
				p.EnqueueEvent(kube.Event{Name: "e", Namespace: "default", Node: true})
			}
			c.notice()
			time.Sleep(5 * time.Second)
			if n := c.reports.Load(); n == 0 || n > inCrowd/4 {
				t.Errorf("%d of %d reports of a registry in the first tenth of a minute", n, inCrowd)
			}
			time.Sleep(53 * time.Second)
			if n := c.events.Load(); n > 0 {
				t.Errorf("%d Events on Nodes before the reports are written", n)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := c.reports.Load(); n != inCrowd {
				t.Errorf("after a minute %d of %d reports", n, inCrowd)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if c.reports.Load() != inCrowd || c.events.Load() != inCrowd {
				t.Errorf("in the end %d reports and %d Events, want %d", c.reports.Load(), c.events.Load(), inCrowd)
			}
			c.fault.Store(report.FaultRegistry)
			c.notice()
			time.Sleep(time.Minute)
			if n := c.reports.Load() - inCrowd; n == 0 || n > inCrowd/4 {
				t.Errorf("who must act is in %d of %d reports within a minute", n, inCrowd)
			}
			c.down.Store(false) // that does not wait so long
			c.notice()
			c.reports.Store(0)
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := c.reports.Load(); n < inCrowd*9/10 {
				t.Errorf("that the registry is back is in %d of %d reports within a minute", n, inCrowd)
			}
		})
	})
	t.Run("a change that goes back, a pod that gets stuck, an agent that ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, "1000000000")
			c.down.Store(true)
			c.notice()
			before := c.reports.Load()
			c.down.Store(false)
			c.notice()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if now := c.reports.Load(); now > 2*before+inCrowd/20 {
				t.Errorf("%d reports of a change that lasted for a second", now)
			}
			c.reports.Store(0)
			c.down.Store(true)
			c.notice()
			c.stuck.Store(1)
			if c.notice(); c.reports.Load() < inCrowd {
				t.Errorf("%d of %d reports about a pod are written at once", c.reports.Load(), inCrowd)
			}
			c.reports.Store(0)
			c.down.Store(false)
			for _, p := range c.all {
				p.EnqueueEvent(kube.Event{Name: "e", Namespace: "default", Node: true})
			}
			c.notice()
			c.stop()
			synctest.Wait()
			if c.reports.Load() != inCrowd || c.events.Load() != inCrowd {
				t.Errorf("of agents that end, %d reports and %d Events are written, want %d", c.reports.Load(), c.events.Load(), inCrowd)
			}
		})
	})
}
