package registry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/hostlist"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Place is a host of the runtime: one that it contacts for images, or one that a
// registry refers it to. [Places] and [Place.Behind] return them.
type Place struct {
	host runtimeconfig.Host
	lead *Lead // to this host; nil: it is in the runtime's configuration or an image's name
}

// Lead is a host that a registry refers the runtime to: a token service, or one
// that stores its layers.
type Lead struct {
	Host    string // name and port
	Realm   string // of a token service: its URL; else empty
	Service string // of a token service
}

// Name returns the host as the checks name it.
func (p Place) Name() string { return p.host.Name() }

// Key returns a text that is the same for places whose checks must be the same.
func (p Place) Key() string {
	h := p.host
	return strings.Join([]string{
		h.Scheme,
		h.Host,
		strconv.FormatBool(h.SkipVerify),
		strings.Join(h.CAFiles, ","),
		strconv.Itoa(len(h.Certificates)),
		h.DialTimeout.String(),
	}, "\x00")
}

// Places returns the hosts that the runtime contacts for images of a domain, in
// its order, with the check "hosts/<domain>". The headers of hosts.toml are left
// out: they may be credentials.
func Places(p *connect.Prober, domain string) (report.Check, []Place) {
	check, hosts := hostlist.Check(p.Config, p.Files, reference.Ref{Domain: domain})
	var places []Place
	for _, h := range hosts {
		if h.Host == runtimeconfig.DefaultDomain {
			continue // no registry: it means the domain of the image
		}
		h.Header = nil
		places = append(places, Place{host: h})
	}
	return check, places
}

// Behind returns the host that the place refers the runtime to, with the TLS
// settings that the runtime uses for it.
func (p Place) Behind(l Lead) Place {
	scheme := "https"
	if u, err := url.Parse(l.Realm); err == nil && u.Scheme == "http" {
		scheme = "http"
	}
	return Place{host: p.host.Referral(scheme, l.Host), lead: &l}
}

// Result is what a survey found at one place.
type Result struct {
	Place  Place
	Checks []report.Check
	At     time.Time // when its checks ended
	Lead   *Lead     // to its token service; nil: none, or the place itself
}

// Survey checks all places and the token services that they name, at most width at
// a time, each within [connect.Limits].Overall: name, dial, TLS and GET /v2/, of
// token services a request without scope. The request uses the connection of the
// TLS check: handshakes are most of a sweep's cost. No credentials are sent and no
// manifest is requested. The results are in the order of the places, then token
// services by name.
func Survey(ctx context.Context, p *connect.Prober, places []Place, width int) []Result {
	s := &survey{prober: p.BeginSweep(), width: make(chan struct{}, max(width, 1)), seen: map[string]bool{}}
	for _, place := range places {
		if own := s.slot(place); own != nil {
			s.given = append(s.given, own)
		}
	}
	for _, own := range s.given {
		s.wg.Go(func() { s.inspect(ctx, own) })
	}
	s.wg.Wait()

	slices.SortFunc(s.found, func(a, b *slot) int { return strings.Compare(a.Place.Name(), b.Place.Name()) })
	all := slices.Concat(s.given, s.found)
	sessions := make([]*session, len(all))
	for i, own := range all {
		sessions[i] = own.session
	}
	judgeClocks(sessions)
	results := make([]Result, len(all))
	for i, own := range all {
		own.Checks = unique(own.session.checks)
		results[i] = own.Result
	}
	return results
}

// survey is a Survey while it runs.
type survey struct {
	prober *connect.Prober
	width  chan struct{} // one token for each place that is being checked
	wg     sync.WaitGroup
	given  []*slot

	mu    sync.Mutex
	seen  map[string]bool // by key
	found []*slot         // token services
}

// slot is one place of a survey.
type slot struct {
	Result
	session *session
}

// slot returns a new slot for a place; nil if the place has one.
func (s *survey) slot(p Place) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[p.Key()] {
		return nil
	}
	s.seen[p.Key()] = true
	return &slot{Result: Result{Place: p}, session: &session{prober: s.prober, host: p.host, budget: httpclient.NewBudget()}}
}

// inspect checks the place of a slot, and then the token service that it names.
func (s *survey) inspect(ctx context.Context, p *slot) {
	s.width <- struct{}{}
	defer func() { <-s.width }()
	bounded, cancel := s.prober.HostContext(ctx)
	defer cancel()
	defer p.session.close()
	if p.session.connect(bounded) {
		switch lead := p.Place.lead; {
		case lead == nil:
			p.session.ping(bounded)
		case lead.Realm != "":
			p.session.checkTokenService(bounded, *lead)
		}
	}
	p.At = time.Now()
	if p.Lead = leadTo(p.session.challenge, p.session.host.Host); p.Lead == nil {
		return
	}
	if next := s.slot(p.Place.Behind(*p.Lead)); next != nil {
		s.mu.Lock()
		s.found = append(s.found, next)
		s.mu.Unlock()
		s.wg.Go(func() { s.inspect(ctx, next) })
	}
}

// maxLead is the longest name of a host with its port, in bytes.
const maxLead = 260

// leadTo returns the token service that a host named in its answer to GET /v2/; nil
// if that is the host itself, or not a valid host.
func leadTo(ch answers.Challenge, host string) *Lead {
	realm, err := url.Parse(ch.Realm)
	if err != nil || !ch.Bearer || !httpclient.IsHostName(realm.Host) || realm.Host == host {
		return nil
	}
	if realm.Scheme != "https" && realm.Scheme != "http" || readable.Clean(realm.Host, maxLead) != realm.Host {
		return nil
	}
	realm.User = nil
	return &Lead{Host: realm.Host, Realm: realm.String(), Service: ch.Service}
}

// checkTokenService is "token/<host>" without a registry before it: whether the
// service answers at all. Its answer to an anonymous request without a scope does
// not matter.
func (s *session) checkTokenService(ctx context.Context, l Lead) {
	name := s.host.Name()
	check := report.Check{ID: report.TokenID(name), Kind: report.KindToken, Target: readable.Clean(l.Realm, evidence.MaxValue)}
	address := l.Realm
	if u, err := url.Parse(l.Realm); err == nil && l.Service != "" {
		q := u.Query()
		q.Set("service", l.Service)
		u.RawQuery = q.Encode()
		address = u.String()
	}
	start := time.Now()
	rep, err := s.client.Send(ctx, httpclient.Request{Method: http.MethodGet, URL: address, Limit: 1 << 10})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		requestFailed(s.host.Name(), &check, err, took)
		if check.Outcome == report.Fail && check.Cause != report.RateLimited {
			check.Evidence = evidence.With(check.Evidence, report.KeyInnerCause, string(check.Cause))
			check.Cause = report.TokenServiceFailed
		}
		s.add(check)
		return
	}
	s.addClockOf(rep)
	e := evidence.Facts{report.KeyStatus: strconv.Itoa(rep.Status), report.KeyContentType: rep.Header.Get("Content-Type")}
	switch {
	case rep.Status == http.StatusTooManyRequests:
		limited(&check, e, name, rep)
	case rep.Status >= 500:
		check.Outcome, check.Cause = report.Fail, report.TokenServiceFailed
		check.Summary = name + " answers " + answers.StatusText(rep.Status)
	default:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + answers.StatusText(rep.Status)
	}
	check.Evidence = e.Checked()
	s.add(check)
}
