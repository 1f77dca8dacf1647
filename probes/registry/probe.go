package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Target is what is asked of the registries.
type Target struct {
	Image       string                   // as the pod names it
	Credentials []credentials.Credential // already matched to this image, in the kubelet's order; empty is anonymous
	Platform    string                   // os/arch[/variant]; empty is this machine's
	Refusals    *credentials.Refusals    // logins that a host rejected; nil: nothing is remembered

	// Secret is told what else is secret of what is sent, before it is: tokens,
	// and what hosts.toml adds to requests. Several hosts tell at a time. nil:
	// nobody wants to know.
	Secret func(string)

	// Known gives what a host answered to GET /v2/ a moment ago, and how old that is; nil:
	// nothing is known.
	Known func(host string) (answer report.Check, age time.Duration, ok bool)
}

// Registry climbs the ladder at every host that the runtime would try for
// ref: configuration, name, dial, TLS, registry, token service, manifest,
// image and a layer. Hosts go side by side, and so do resolvers and addresses;
// the call ends within [Limits].Overall. Checks come in the order of the hosts.
func Probe(ctx context.Context, p *connect.Prober, ref reference.Ref, t Target) []report.Check {
	p, ctx, cancel := p.Begin(ctx)
	defer cancel()

	check, hosts := hostsCheck(p, ref)
	if check.Outcome == report.Fail && check.Evidence["ignored"] == "" {
		return blockedByConfig(check, ref, hosts)
	}
	sessions := runAll(p, hosts, func(s *session) {
		s.ref, s.target = ref, t
		s.addHeaderSecrets()
		s.run(ctx)
	})
	defer closeAll(sessions)

	// What is left of the budget goes to the first host that has the image;
	// if none has, to why the hosts say so.
	if i := slices.IndexFunc(sessions, (*session).found); i >= 0 {
		inspectImage(ctx, sessions, sessions[i])
	} else {
		explainMissing(ctx, sessions)
	}
	checkClocks(sessions)
	markSharedTokenServices(sessions)
	return collect(check, sessions)
}

// lookInto looks at the image at the host that has its manifest, and at one of
// its layers at the hosts that the runtime asks for them.
func inspectImage(ctx context.Context, sessions []*session, at *session) {
	image := at.openImage(ctx)
	if image.layer == nil || image.check.Outcome != report.Pass {
		at.add(image.done())
		at.skip(report.KindBlob, "blob/"+at.host.Name(), "not asked: which layers there are is not known", "image/"+at.host.Name())
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { image.readConfig(ctx) })
	var blobs []report.Check
	wg.Go(func() { blobs = checkBlobs(ctx, sessions, at, *image.layer) })
	wg.Wait()
	if image.noConfig && slices.ContainsFunc(blobs, func(c report.Check) bool { return c.Outcome == report.Pass }) {
		blobs = checkBlobs(ctx, sessions, at, *image.config) // it is a blob that the runtime needs like any other
	}
	at.add(image.done())
	for i, check := range blobs {
		sessions[i].add(check)
	}
}

// explain asks the hosts why none has the image, the registry itself first.
func explainMissing(ctx context.Context, sessions []*session) {
	var last *session
	for _, s := range slices.Backward(sessions) {
		if s.host.BlobsOnly {
			continue
		}
		s.explainRefusal(ctx, last == nil)
		if last == nil {
			last = s
		}
	}
	if last != nil {
		name := last.host.Name()
		last.skip(report.KindImage, "image/"+name, "not looked at: the manifest was not found", "manifest/"+name)
		last.skip(report.KindBlob, "blob/"+name, "not asked: the manifest was not found", "manifest/"+name)
	}
}

// refusedByConfig is what is left to say if the runtime asks no host at all:
// every manifest is blocked by its configuration.
func blockedByConfig(check report.Check, ref reference.Ref, hosts []runtimeconfig.Host) []report.Check {
	hosts = slices.DeleteFunc(hosts, func(h runtimeconfig.Host) bool { return h.BlobsOnly })
	if len(hosts) == 0 {
		hosts = runtimeconfig.DefaultHosts(ref.Domain)
	}
	checks := []report.Check{check}
	for _, h := range hosts {
		checks = append(checks, report.Check{
			ID: "manifest/" + h.Name(), Kind: report.KindManifest, Host: h.Name(), Outcome: report.Skipped,
			Summary: "not asked: the runtime does not ask either", BlockedBy: check.ID,
		})
	}
	return unique(checks)
}

// visitAll runs do for all hosts side by side, on one budget.
func runAll(p *connect.Prober, hosts []runtimeconfig.Host, do func(*session)) []*session {
	b, realms := newBudget(), new(sync.Map)
	sessions := make([]*session, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		sessions[i] = &session{prober: p, host: h, budget: b, tokenRoutes: realms}
		wg.Go(func() { do(sessions[i]) })
	}
	wg.Wait()
	return sessions
}

func closeAll(sessions []*session) {
	for _, s := range sessions {
		s.close()
	}
}

func collect(first report.Check, sessions []*session) []report.Check {
	checks := []report.Check{first}
	for _, s := range sessions {
		checks = append(checks, s.checks...)
	}
	return unique(checks)
}

// unique gives checks of hosts that are listed twice ids of their own.
func unique(checks []report.Check) []report.Check {
	seen := map[string]int{}
	for i := range checks {
		id := checks[i].ID
		if seen[id]++; seen[id] > 1 {
			checks[i].ID = fmt.Sprintf("%s#%d", id, seen[id])
		}
	}
	return checks
}
