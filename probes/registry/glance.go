package registry

import (
	"context"
	"net/http"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/hostlist"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Sight is what a registry shows of an image that may be meant.
type Sight struct {
	IsRegistry bool   // the host answers as a registry
	Exists     bool   // it has the image, for these credentials
	Missing    bool   // it answers 404
	Digest     string // of the manifest; empty: unknown
}

// Glance sends one HEAD of the manifest to the registry of ref, with the first of the
// target's credentials if it requires one. It repeats nothing, sends no GET of a manifest
// and contacts no mirror. The image is not the one that the runtime pulls, so its result is
// no step on the path.
func Glance(ctx context.Context, p *connect.Prober, ref reference.Ref, t Target) Sight {
	p, ctx, cancel := p.Begin(ctx)
	defer cancel()
	p.Config.Version = t.RuntimeVersion
	t.Credentials = t.Credentials[:min(len(t.Credentials), 1)]
	t.Known = nil
	known := newModel(p.Config, t)
	check, hosts := hostlist.Check(p.Config, p.Files, ref)
	h, ok := lastThatResolves(hosts)
	if !ok || check.Outcome == report.Fail {
		return Sight{}
	}
	s := &session{
		prober: p, host: h, ref: ref, target: t, model: known,
		budget: httpclient.NewGlanceBudget(), sentLogins: new(sentLogins),
	}
	defer s.close()
	if known.guess != "" {
		s.host.Header = nil
	}
	s.addHeaderSecrets()
	s.run(ctx)
	if !s.manifest.asked {
		return Sight{}
	}
	return Sight{
		IsRegistry: s.identity.isRegistry || s.found(),
		Exists:     s.found(),
		Missing:    s.manifest.status == http.StatusNotFound,
		Digest:     s.manifest.digest,
	}
}

// lastThatResolves returns the host that the runtime asks for a manifest last, which is
// the registry itself unless its configuration says otherwise.
func lastThatResolves(hosts []runtimeconfig.Host) (last runtimeconfig.Host, ok bool) {
	for _, h := range hosts {
		if !h.BlobsOnly {
			last, ok = h, true
		}
	}
	return last, ok
}
