package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// canned is a transport that answers every request in one way.
type canned struct {
	status int
	header http.Header
	body   []byte
}

func (c canned) RoundTrip(q *http.Request) (*http.Response, error) {
	header := c.header.Clone()
	return &http.Response{StatusCode: c.status, Header: header, Body: &once{c.body}, Request: q}, nil
}

// once is a body that can be read once.
type once struct{ rest []byte }

func (o *once) Close() error { return nil }
func (o *once) Read(b []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// answered is a session with a registry whose every answer is body.
func answered(status int, mediaType string, body []byte) *session {
	n := &connect.Prober{}
	h := runtimeconfig.Host{Scheme: "https", Host: "r.lab", Path: "/v2"}
	s := &session{prober: n, host: h, budget: httpclient.NewBudget(), ref: reference.Ref{Domain: "r.lab", Path: "app", Tag: "1"}, target: Target{Platform: "linux/amd64"}}
	s.client = httpclient.NewWithTransport(n, h, s.budget, canned{status, http.Header{"Content-Type": {mediaType}}, body})
	return s
}

func sane(t *testing.T, checks ...report.Check) {
	t.Helper()
	for _, c := range checks {
		if c.Summary == "" || len(c.Summary) > 1000 || readable.Clean(c.Summary, 1000) != c.Summary {
			t.Errorf("summary %q", c.Summary)
		}
		if c.Outcome == report.Fail && !c.Cause.Known() || c.Outcome != report.Fail && c.Cause != "" {
			t.Errorf("%s with the cause %q", c.Outcome, c.Cause)
		}
		for k, v := range c.Evidence {
			if len(v) > evidence.MaxValue || readable.Clean(v, evidence.MaxValue) != v {
				t.Errorf("%s is %q", k, v)
			}
		}
	}
}

// FuzzImage checks an image with any index, manifest or config.
func FuzzImage(f *testing.F) {
	f.Add(ocispec.MediaTypeImageIndex, []byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0","size":3,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Add(ocispec.MediaTypeImageManifest, []byte(`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0"},"layers":[{"size":7,"digest":"sha256:1"}]}`))
	f.Add(ocispec.MediaTypeImageManifest, []byte(`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"x"},"os":"linux","architecture":"arm64","layers":[{"size":-7,"digest":"\u0000"}]}`))
	f.Add("text/html", []byte(`<html>`))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		s := answered(http.StatusOK, mediaType, body)
		s.manifest = manifestState{asked: true, mediaType: mediaType}
		s.checks = []report.Check{{ID: "manifest/r.lab", Kind: report.KindManifest, Outcome: report.Pass, Summary: "x"}}
		inspectImage(context.Background(), []*session{s}, s)
		sane(t, s.checks...)

		var config ocispec.Image
		if json.Unmarshal(body, &config) == nil && config.OS != "" && config.Architecture != "" {
			i := &imageCheck{session: s, facts: evidence.Facts{"wanted": "linux/amd64"}, matcher: platforms.Only(platforms.MustParse("linux/amd64"))}
			i.check.Summary = "x"
			i.comparePlatform(config.Platform)
			sane(t, i.done())
		}
	})
}

// FuzzRefusal explains a refusal with any error body, list of tags or list of
// repositories.
func FuzzRefusal(f *testing.F) {
	f.Add(404, []byte(`{"errors":[{"code":"NAME_UNKNOWN"}]}`))
	f.Add(404, []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))
	f.Add(403, []byte(`{"errors":[{"code":"DENIED"}]}`))
	f.Add(200, []byte(`{"tags":["1.0","v1","\u202e"]}`))
	f.Add(200, []byte(`{"repositories":["app1","apps"]`))
	f.Add(403, []byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		for _, refused := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized} {
			s := answered(status, "application/json", body)
			a := s.judge(&httpclient.Reply{Status: refused, Header: http.Header{}}, httpclient.Login{})
			a.check.Kind = report.KindManifest
			s.checks = []report.Check{a.check}
			s.manifest = manifestState{asked: true, status: refused}
			s.explainRefusal(context.Background(), true)
			sane(t, s.checks...)
			layer := ocispec.Descriptor{Digest: "sha256:0", Size: 7}
			sane(t, checkBlobs(context.Background(), []*session{s}, s, layer)...)
		}
	})
}

// FuzzToken reads any answer to the request for a token.
func FuzzToken(f *testing.F) {
	f.Add(200, []byte(`{"token":"e30.eyJleHAiOjE3MDAwMDAwMDB9.x"}`))
	f.Add(200, []byte(`{"access_token":"\u0000"}`))
	f.Add(401, []byte(`{"errors":[{"code":"UNAUTHORIZED"}]}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		s := answered(status, "application/json", body)
		ch := answers.Challenge{Bearer: true, Realm: "https://auth.lab/token", Service: "lab"}
		got := s.authorizer().tokenRequest(
			ch, &url.URL{Scheme: "https", Host: "auth.lab", Path: "/token"}, "app", credentials.Credential{Username: "joe", Password: "secret"},
		).Fetch(context.Background())
		sane(t, tokens.Check("r.lab", ch, []tokens.Result{got}))
	})
}
