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
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Place is a host that the runtime asks for images, or that a registry sends it
// to. [Node.Places] and [Place.Behind] make them.
type Place struct {
	host runtimeconfig.Host
	lead *Lead // that leads here; nil: the runtime's own configuration, or an image's name
}

// Lead is where a registry sends the runtime: a token service, or a host that
// has its layers.
type Lead struct {
	Host    string // name and port
	Realm   string // of a token service: the URL that is to be asked; else empty
	Service string // of a token service
}

// Name is the host as the checks call it.
func (p Place) Name() string { return p.host.Name() }

// Key is equal for places at which a look must come to the same.
func (p Place) Key() string {
	h := p.host
	return strings.Join([]string{
		h.Scheme, h.Host, strconv.FormatBool(h.SkipVerify), strings.Join(h.CAFiles, ","), strconv.Itoa(len(h.Certificates)), h.DialTimeout.String(),
	}, "\x00")
}

// Places lists the hosts that the runtime asks for images of a domain, in its
// order, with the check "hosts/<domain>". What hosts.toml has the runtime send
// along (header) is left out: it may be a credential.
func Places(p *connect.Prober, domain string) (report.Check, []Place) {
	check, hosts := hostsCheck(p, reference.Ref{Domain: domain})
	var places []Place
	for _, h := range hosts {
		if h.Host == runtimeconfig.DefaultDomain {
			continue // no registry: what stands there is the domain that is asked for
		}
		h.Header = nil
		places = append(places, Place{host: h})
	}
	return check, places
}

// Behind is the host that the place sends the runtime to, with the TLS settings
// that the runtime uses for it then.
func (p Place) Behind(l Lead) Place {
	scheme := "https"
	if u, err := url.Parse(l.Realm); err == nil && u.Scheme == "http" {
		scheme = "http"
	}
	return Place{host: p.host.Referral(scheme, l.Host), lead: &l}
}

// Look is what was seen of one place.
type Result struct {
	Place  Place
	Checks []report.Check
	At     time.Time // when it ended
	Lead   *Lead     // to the token service that it names; nil: none, or itself
}

// Survey looks at all places, and at the token services that they name, side by
// side, at most width at a time, each within [Limits].Overall: name, dial, TLS
// and GET /v2/, of token services a request without scope, over the connection
// that was greeted: handshakes are what a sweep costs most. No credentials are
// sent, no manifest is asked for. The looks come in the order of the places,
// then token services by name.
func Survey(ctx context.Context, p *connect.Prober, places []Place, width int) []Result {
	s := &survey{prober: p.BeginSweep(), slots: make(chan struct{}, max(width, 1)), seen: map[string]bool{}}
	for _, p := range places {
		if seat := s.slot(p); seat != nil {
			s.given = append(s.given, seat)
		}
	}
	for _, seat := range s.given {
		s.wg.Go(func() { s.inspect(ctx, seat) })
	}
	s.wg.Wait()

	slices.SortFunc(s.found, func(a, b *slot) int { return strings.Compare(a.Place.Name(), b.Place.Name()) })
	seats := slices.Concat(s.given, s.found)
	sessions := make([]*session, len(seats))
	for i, seat := range seats {
		sessions[i] = seat.session
	}
	checkClocks(sessions)
	looks := make([]Result, len(seats))
	for i, seat := range seats {
		seat.Checks = unique(seat.session.checks)
		looks[i] = seat.Result
	}
	return looks
}

// survey is a Survey under way.
type survey struct {
	prober *connect.Prober
	slots  chan struct{} // one token for each place that is looked at
	wg     sync.WaitGroup
	given  []*slot

	mu    sync.Mutex
	seen  map[string]bool // by key
	found []*slot         // token services
}

// seat is what a place gets of a survey.
type slot struct {
	Result
	session *session
}

// seat is nil for a place that has one.
func (s *survey) slot(p Place) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[p.Key()] {
		return nil
	}
	s.seen[p.Key()] = true
	return &slot{Result: Result{Place: p}, session: &session{prober: s.prober, host: p.host, budget: newBudget()}}
}

func (s *survey) inspect(ctx context.Context, seat *slot) {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	bounded, cancel := s.prober.HostContext(ctx)
	defer cancel()
	v := seat.session
	defer v.close()
	if v.connect(bounded) {
		switch lead := seat.Place.lead; {
		case lead == nil:
			v.ping(bounded)
		case lead.Realm != "":
			v.checkTokenService(bounded, *lead)
		}
	}
	seat.At = time.Now()
	if seat.Lead = v.lead(); seat.Lead == nil {
		return
	}
	if next := s.slot(seat.Place.Behind(*seat.Lead)); next != nil {
		s.mu.Lock()
		s.found = append(s.found, next)
		s.mu.Unlock()
		s.wg.Go(func() { s.inspect(ctx, next) })
	}
}

// maxLead is the longest name of a host with its port, in bytes.
const maxLead = 260

// lead is where the host sends the runtime for tokens, as it said when it was
// asked for /v2/; nil if that is nowhere else, or no name that a host can have.
func (s *session) lead() *Lead {
	ch := s.challenge
	realm, err := url.Parse(ch.realm)
	if err != nil || !ch.bearer || !isHostName(realm.Host) || realm.Host == s.host.Host || realm.Scheme != "https" && realm.Scheme != "http" {
		return nil
	}
	if report.Clean(realm.Host, maxLead) != realm.Host {
		return nil
	}
	realm.User = nil
	return &Lead{Host: realm.Host, Realm: realm.String(), Service: ch.service}
}

// askTokenService is "token/<host>" without a registry before it: whether the
// service answers at all. What it says to nobody who asks for nothing does not
// matter.
func (s *session) checkTokenService(ctx context.Context, l Lead) {
	name := s.host.Name()
	check := report.Check{ID: "token/" + name, Kind: report.KindToken, Target: report.Clean(l.Realm, evidence.MaxValue)}
	address := l.Realm
	if u, err := url.Parse(l.Realm); err == nil && l.Service != "" {
		q := u.Query()
		q.Set("service", l.Service)
		u.RawQuery = q.Encode()
		address = u.String()
	}
	start := time.Now()
	rep, err := s.client.send(ctx, request{method: http.MethodGet, url: address, limit: 1 << 10})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		s.requestFailed(&check, err, took)
		if check.Outcome == report.Fail && check.Cause != report.RateLimited {
			check.Evidence = evidence.With(check.Evidence, "innerCause", string(check.Cause))
			check.Cause = report.TokenServiceFailed
		}
		s.add(check)
		return
	}
	s.addClockOf(rep)
	e := evidence.Facts{"status": strconv.Itoa(rep.status), "contentType": rep.header.Get("Content-Type")}
	switch {
	case rep.status == http.StatusTooManyRequests:
		limited(&check, e, name, rep)
	case rep.status >= 500:
		check.Outcome, check.Cause = report.Fail, report.TokenServiceFailed
		check.Summary = name + " answers " + statusText(rep.status)
	default:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + statusText(rep.status)
	}
	check.Evidence = e.Checked()
	s.add(check)
}
