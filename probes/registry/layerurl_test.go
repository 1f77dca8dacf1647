package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// A layer comes from its own URLs before the registry. The guard treats them like
// redirects, and no login goes there.
func TestLayerURLs(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert, store := ca.Good(t, "r.lab"), ca.Good(t, "store.lab")
	n := newProber(t, ca, nil)
	var rec recorder
	layer, err := random.Layer(1<<10, types.DockerForeignLayer)
	if err != nil {
		t.Fatal(err)
	}
	serving := func(code int) string {
		return fmt.Sprintf("https://store.lab:%d/layer", probetest.Serve(t, &store, rec.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if code != http.StatusOK {
				w.WriteHeader(code)
				return
			}
			w.Header().Set("Content-Range", "bytes 0-0/"+fmt.Sprint(sizeOf(t, layer)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte{1})
		}))))
	}
	reg := probetest.NewRegistry(t)
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicAuth("joe", "canary-secret", reg)))
	for tag, tt := range map[string]struct {
		url     string
		outcome report.Outcome
		cause   report.Cause
		fact    string
	}{
		"there":    {serving(200), report.Pass, "", "status=206"},
		"missing":  {serving(404), report.Pass, "", "status=206"}, // the registry has it
		"forbids":  {serving(403), report.Fail, report.BlobHostUnreachable, "innerCause=AccessForbidden"},
		"down":     {fmt.Sprintf("https://store.lab:%d/", probetest.ClosedPort(t)), report.Fail, report.BlobHostUnreachable, "innerCause=ConnectionRefused"},
		"metadata": {"http://169.254.169.254/latest", report.Skipped, "", "refused=169.254.169.254 is a link-local address"},
		"no-host":  {"https://a;b/", report.Skipped, "", "notSeen=the layer: its URL has no host"},
	} {
		img, err := mutate.Append(probetest.ImageFor(t, "amd64"), mutate.Addendum{Layer: layer, URLs: []string{tt.url}})
		if err != nil {
			t.Fatal(err)
		}
		probetest.PushImage(t, reg, "app", img, tag)
		t.Run(tag, func(t *testing.T) {
			probetest.Want(t, probe(t, n, host+"/app:"+tag, joe), "blob/"+host, tt.outcome, tt.cause, tt.fact)
		})
	}
	for _, s := range rec.all() {
		if strings.HasSuffix(s, "Basic") {
			t.Errorf("a login went to a layer's URL: %q", s)
		}
	}
}

func sizeOf(t *testing.T, l interface{ Size() (int64, error) }) int64 {
	n, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
