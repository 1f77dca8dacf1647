package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// session is the conversation with one host about one image.
type session struct {
	prober *connect.Prober
	host   runtimeconfig.Host
	ref    reference.Ref
	target Target
	budget *httpclient.Budget
	model  model

	last, lastOfAll bool // the runtime resolves the image, or fetches it, at no host after this one

	sentLogins *sentLogins // shared by the sessions of an image; nil: not shared

	// tokenRoutes holds the route to each token service, a func() connect.Route by
	// scheme and host; nil: not shared with other sessions.
	tokenRoutes *sync.Map

	checks []report.Check
	clocks []connect.ClockReading

	challenge answers.Challenge  // of the answer to GET /v2/
	tokenHost string             // of the token service
	tokenPath *tokens.Route      // to the token service; nil: it was not checked
	client    *httpclient.Client // nil: the host was not reached
	others    []connect.Machine  // other addresses of the host
	manifest  manifestState
	identity  identity
}

func (s *session) add(c report.Check) {
	c.Host = s.host.Name()
	s.checks = append(s.checks, c)
}

// skip adds a check that another one keeps from running.
func (s *session) skip(kind report.Kind, id, why, blockedBy string) {
	s.add(report.Check{ID: id, Kind: kind, Outcome: report.Skipped, Summary: why, BlockedBy: blockedBy})
}

// addSecret tells the caller what must not be published.
func (s *session) addSecret(secret string) {
	if s.target.Secret != nil {
		s.target.Secret(secret)
	}
}

// authorizer returns what logs in at the host.
func (s *session) authorizer() authorizer {
	return authorizer{
		client: s.client, host: s.host, domain: s.ref.Domain, guess: s.model.guess, plain: !requests.HeadersForTokens(s.model.version),
		route: s.tokenPath, sent: s.sentLogins, secret: s.addSecret,
	}
}

// A header of hosts.toml, and a token, is taken for a secret from this length on.
// Shorter headers, such as "true", are part of many texts. The token service
// chooses the token, and must not be able to remove words from a report.
const minHeader, minToken = 8, 16

// addHeaderSecrets passes on the headers that hosts.toml sets, with and without
// the scheme that an Authorization begins with.
func (s *session) addHeaderSecrets() {
	for _, values := range s.host.Header {
		for _, value := range values {
			_, bare, _ := strings.Cut(value, " ")
			for _, secret := range []string{value, bare} {
				if len(secret) >= minHeader {
					s.addSecret(secret)
				}
			}
		}
	}
}

// addClocks adds readings of servers' clocks, the first one of each server.
func (s *session) addClocks(clocks ...connect.ClockReading) {
	for _, r := range clocks {
		if !slices.ContainsFunc(s.clocks, func(have connect.ClockReading) bool { return have.Server == r.Server }) {
			s.clocks = append(s.clocks, r)
		}
	}
}

func (s *session) addClockOf(rep *httpclient.Reply) {
	if r, ok := connect.ReadClock(rep.Host, rep.Header, rep.Sent, rep.At); ok {
		s.addClocks(r)
	}
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// run goes from the name of the host to the manifest, or, at a host that the
// runtime asks for blobs only, to a connection.
func (s *session) run(ctx context.Context) {
	name := s.host.Name()
	if connected := s.connect(ctx); s.host.BlobsOnly {
		return
	} else if !connected {
		last := s.checks[len(s.checks)-1]
		s.skip(report.KindManifest, report.ManifestID(name), last.Summary, last.BlockedBy)
		return
	}
	at := len(s.checks)
	s.checkManifest(ctx)
	check, known := s.target.known(s.host.Name())
	if !known || !s.found() {
		check = s.describeRegistry(ctx)
	}
	check.Host = name
	s.checks = slices.Insert(s.checks, at, check)
	s.manifest.at++
}

// connect goes from the name of the host to a connection that HTTP may use, and
// reports whether there is one. If not, the last check is the registry's, skipped.
func (s *session) connect(ctx context.Context) bool {
	name := s.host.Name()
	k := connector{prober: s.prober, budget: s.budget, model: s.model, host: s.host}
	blocked := k.connect(ctx)
	s.host, s.client, s.others = k.host, k.client, k.others
	s.checks = append(s.checks, k.checks...)
	s.addClocks(k.clocks...)
	if blocked != "" {
		s.skip(report.KindRegistry, report.RegistryID(name), "skipped: "+blocked+" did not pass", blocked)
	}
	return blocked == ""
}

// requestFailed fills in a check whose request to a host got no answer.
func requestFailed(name string, check *report.Check, err error, took time.Duration) {
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		check.Outcome = report.Skipped
		check.Summary = "skipped: " + readable.Clean(blocked.Reason, 160)
		if blocked.Cause != "" && check.Kind != report.KindRegistry { // the runtime does not request /v2/
			check.Outcome, check.Cause = report.Fail, blocked.Cause
			check.Summary = name + ": " + readable.Clean(blocked.Reason, 160)
		}
		check.Evidence = evidence.Facts{report.KeyRefused: blocked.Reason}.Checked()
		return
	}
	f := connect.Classify(err, took, report.RegistryUnavailable)
	f.Facts = connect.WithProxyFor(f.Facts, name)
	prefix := name + ": "
	if redirect, ok := errors.AsType[*httpclient.RedirectError](err); ok {
		prefix = name + " redirects to " + readable.Clean(redirect.Host, 80) + ": "
		f.Facts = evidence.With(f.Facts, report.KeyRedirectedTo, redirect.Host)
	}
	f.Apply(check, prefix)
}

// limited fills in the check of a host that answered 429.
func limited(check *report.Check, e evidence.Facts, name string, rep *httpclient.Reply) {
	message, quota := answers.RateLimit(rep)
	check.Outcome, check.Cause = report.Fail, report.RateLimited
	check.Summary = name + " " + message
	for k, x := range quota {
		e[k] = cmp.Or(x, e[k])
	}
}
