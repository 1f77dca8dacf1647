package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/clocks"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/hostlist"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Target is the image to ask for, and with what.
type Target struct {
	Image       string                      // as the pod names it
	Credentials []credentials.Credential    // those that match the image, in the kubelet's order; empty: anonymous
	Platform    string                      // os/arch[/variant]; empty: this machine's
	Refusals    *credentials.RejectionCache // logins that a host or a realm rejected; nil: none are remembered

	// Runtime and RuntimeVersion are the name and the version that the runtime gives;
	// empty: the newest containerd. Of another runtime the hosts are a guess.
	Runtime, RuntimeVersion string

	// EveryLayer asks for each layer, and not for the largest one only: no test pull
	// shows that the others are there.
	EveryLayer bool

	// Secret is called with each secret before it is sent: tokens, and the headers
	// that hosts.toml adds. Calls may be concurrent. It may be nil.
	Secret func(string)

	// Neighbors returns repositories of the registry whose images other pods of the
	// namespace run: one of them may be meant. It may be nil.
	Neighbors func() []string

	// Known returns the recent answer of a host to GET /v2/, and its age. It may be
	// nil.
	Known func(host string) (answer report.Check, age time.Duration, ok bool)
}

// Probe runs all checks at every host that the runtime would try for ref:
// configuration, name, dial, TLS, registry, token service, manifest, image and a
// layer. Hosts are checked concurrently, and so are resolvers and addresses; the
// call ends within [connect.Limits].Overall. Checks are in the order of the hosts.
func Probe(ctx context.Context, p *connect.Prober, ref reference.Ref, t Target) []report.Check {
	p, ctx, cancel := p.Begin(ctx)
	defer cancel()

	p.Config.Version = t.RuntimeVersion
	sent, known := new(sentLogins), newModel(p.Config, t)
	check, hosts := hostlist.Check(p.Config, p.Files, ref)
	if known.guess != "" {
		check.Evidence = evidence.With(check.Evidence, report.KeyAssumed, known.guess)
	}
	if check.Outcome == report.Fail && check.Evidence[report.KeyIgnored] == "" {
		return blockedByConfig(check, ref, hosts)
	}
	sessions := runAll(p, hosts, func(s *session) {
		s.ref, s.target, s.model, s.sentLogins = ref, t, known, sent
		if known.guess != "" {
			s.host.Header = nil // they may be a login, and the runtime may not read this file
		}
		s.addHeaderSecrets()
		s.run(ctx)
	})
	defer closeAll(sessions)

	// The rest of the budget is for the first host that has the image; if none has it,
	// for the reasons.
	if i := slices.IndexFunc(sessions, (*session).found); i >= 0 {
		inspectImage(ctx, sessions, sessions[i])
	} else {
		explainMissing(ctx, sessions)
	}
	judgeClocks(sessions)
	markSharedTokenServices(sessions)
	return collect(check, sessions)
}

// inspectImage checks the image at the host that has its manifest, and one of its
// layers, or each, at the hosts that the runtime asks for it.
func inspectImage(ctx context.Context, sessions []*session, at *session) {
	var next *session
	for _, s := range sessions[slices.Index(sessions, at)+1:] {
		if next == nil && s.found() {
			next = s
		}
	}
	image := at.openImage(ctx, next)
	if len(image.layers) == 0 || image.check.Outcome != report.Pass {
		at.add(image.done())
		at.skip(report.KindBlob, report.BlobID(at.host.Name()), "skipped: the layers are unknown", report.ImageID(at.host.Name()))
		skipped := &at.checks[len(at.checks)-1]
		skipped.Evidence = evidence.With(skipped.Evidence, report.KeyNotSeen, "the layers: their digests are unknown")
		return
	}
	if len(sessions) == 1 && at.manifest.login.IsPassword() {
		// As the runtime, the config first: where it is refused, the password goes to no layer.
		if check := image.configRefused(ctx); check != nil {
			at.add(image.done())
			at.add(*check)
			return
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { image.readConfig(ctx) })
	var blobs []report.Check
	wg.Go(func() {
		if blobs = checkLayerURLs(ctx, sessions, at, image.atURLs); blobs == nil {
			blobs = checkLayers(ctx, sessions, at, image.layers)
		}
	})
	wg.Wait()
	if image.noConfig && slices.ContainsFunc(blobs, func(c report.Check) bool { return c.Outcome == report.Pass }) {
		blobs = checkBlobs(ctx, sessions, at, *image.config) // the runtime needs it like any other blob
	}
	at.add(image.done())
	for i, check := range blobs {
		if len(image.atURLs) > 0 && check.ID == report.BlobID(at.host.Name()) {
			at.add(check)
			continue
		}
		sessions[i].describeReferred(ctx, &check, report.KeyBlobHost)
		sessions[i].add(check)
	}
}

// explainMissing finds out why no host has the image, at the registry itself
// first.
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
		last.askOtherMachines(ctx)
		name := last.host.Name()
		last.skip(report.KindImage, report.ImageID(name), "skipped: the manifest was not found", report.ManifestID(name))
		last.skip(report.KindBlob, report.BlobID(name), "skipped: the manifest was not found", report.ManifestID(name))
	}
}

// blockedByConfig returns the checks for a configuration with which the runtime
// contacts no host: it blocks every manifest.
func blockedByConfig(check report.Check, ref reference.Ref, hosts []runtimeconfig.Host) []report.Check {
	hosts = slices.DeleteFunc(hosts, func(h runtimeconfig.Host) bool { return h.BlobsOnly })
	if len(hosts) == 0 {
		hosts = runtimeconfig.DefaultHosts(ref.Domain)
	}
	checks := []report.Check{check}
	for _, h := range hosts {
		checks = append(checks, report.Check{
			ID:        report.ManifestID(h.Name()),
			Kind:      report.KindManifest,
			Host:      h.Name(),
			Outcome:   report.Skipped,
			Summary:   "skipped: the runtime does not contact this host",
			BlockedBy: check.ID,
		})
	}
	return unique(checks)
}

// judgeClocks adds "clock/<host>" to every session whose host or token service sent its
// time.
func judgeClocks(sessions []*session) {
	var all []connect.ClockReading
	for _, s := range sessions {
		all = append(all, s.clocks...)
	}
	compared := clocks.Compare(all)
	for _, s := range sessions {
		s.checks = compared.Judge(s.host, s.clocks, s.checks)
	}
}

// runAll runs do for all hosts concurrently, with one budget.
func runAll(p *connect.Prober, hosts []runtimeconfig.Host, do func(*session)) []*session {
	b, realms := httpclient.NewBudget(), new(sync.Map)
	sessions := make([]*session, len(hosts))
	resolving := len(hosts) - 1
	for resolving > 0 && hosts[resolving].BlobsOnly {
		resolving--
	}
	var wg sync.WaitGroup
	for i, h := range hosts {
		sessions[i] = &session{prober: p, host: h, budget: b, tokenRoutes: realms, last: i == resolving, lastOfAll: i == len(hosts)-1}
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

// unique gives the checks of a host that is listed twice different ids.
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
