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
	"k8s.io/apimachinery/pkg/types"
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
		answer := roundTrip(func(*http.Request) (*http.Response, error) {
			writes++
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
		s := config.Defaults()
		s.Heartbeat = time.Hour
		ready := make(chan struct{})
		close(ready)
		settings := config.NewLive(s)
		p := New(Config{
			Kube:      kube.ForREST(client, ""),
			Log:       slog.New(slog.DiscardHandler),
			Node:      "n",
			Namespace: "ns",
			Settings:  settings,
			Metrics:   uncounted{},
		})
		p.uid = "uid"
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go p.Run(ctx, ready, func() report.NodeReport { return report.NodeReport{Node: "n", Time: time.Now()} })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if writes != 1 {
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

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConfigMapName(t *testing.T) {
	long := make([]byte, 250)
	for i := range long {
		long[i] = 'n'
	}
	for _, tt := range []struct{ node, uid, want string }{
		{"node-a", "uid", "pullprobe-node-a"},
		{string(long[:243]), "uid", "pullprobe-" + string(long[:243])},
		{string(long[:244]), "uid", "pullprobe-uid"},
	} {
		if got := ConfigMapName(tt.node, types.UID(tt.uid)); got != tt.want {
			t.Errorf("node name of %d bytes: %q", len(tt.node), got)
		}
	}
}

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) ReportWritten(time.Time) {}
func (uncounted) PublishFailed()          {}
