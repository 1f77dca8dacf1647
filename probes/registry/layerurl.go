package registry

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// maxLayerURLs bounds the layers with URLs, and the URLs of each, that are asked for.
const maxLayerURLs = 2

// checkLayerURLs is "blob/<host>" of the host that has the manifest, for the first layer
// that its URLs do not give; nil if there is none. The runtime tries the URLs of a
// layer before the registry, and ends at the first that answers other than 404
// (containerd's dockerFetcher.Fetch). The URLs are those of a manifest that anyone may
// have made: the guard treats them like redirects, and no login goes there.
func checkLayerURLs(ctx context.Context, sessions []*session, found *session, layers []ocispec.Descriptor) []report.Check {
	for n, layer := range layers {
		b := &layerCheck{session: found, layer: layer, facts: evidence.Facts{}}
		b.check = report.Check{ID: report.BlobID(found.host.Name()), Kind: report.KindBlob, Target: layer.Digest.String()}
		if n >= maxLayerURLs || len(layer.URLs) > maxLayerURLs {
			b.facts[report.KeyNotSeen] = "some layers, which the manifest leads to URLs"
			b.check.Outcome, b.check.Summary = report.Skipped, "not all URLs of the layers were asked for"
			b.check.Evidence = b.facts.Checked()
			return []report.Check{b.check}
		}
		answered := b.askURLs(ctx)
		if !answered {
			if checks := checkBlobs(ctx, sessions, found, layer); checks[len(checks)-1].Outcome != report.Pass {
				return checks
			}
			continue
		}
		if b.check.Outcome != report.Pass || b.facts[report.KeyNotSeen] != "" {
			return []report.Check{b.check}
		}
	}
	return nil
}

// askURLs gets one byte of a layer from its URLs. It reports whether one answered other
// than 404, or failed: then the check is done.
func (b *layerCheck) askURLs(ctx context.Context) bool {
	for _, text := range b.layer.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue // as the runtime
		}
		u.User = nil
		b.fromURL, b.facts[report.KeyBlobSize] = u.Host, strconv.FormatInt(b.layer.Size, 10)
		b.facts[report.KeyBlobHost] = readable.Clean(u.Host, 80)
		if !httpclient.IsHostName(u.Host) {
			b.facts[report.KeyNotSeen] = "the layer: its URL has no host"
			b.check.Outcome, b.check.Summary = report.Skipped, "a URL of a layer has no host"
			b.check.Evidence = b.facts.Checked()
			return true
		}
		start := time.Now()
		rep, err := b.session.client.Send(ctx, httpclient.Request{
			Method: http.MethodGet, URL: u.String(), Limit: 1 << 10, FirstByte: true, Anonymous: true,
			Header: http.Header{"Accept": {b.layer.MediaType + ", */*"}, "Range": {"bytes=0-0"}},
		})
		took := time.Since(start)
		b.check.Duration += report.Millis(took)
		switch {
		case err != nil:
			b.noAnswer(err, took)
		case rep.Status == http.StatusNotFound:
			continue
		default:
			b.facts[report.KeyStatus] = strconv.Itoa(rep.Status)
			b.judge(rep)
		}
		b.check.Evidence = b.facts.Checked()
		return true
	}
	return false
}
