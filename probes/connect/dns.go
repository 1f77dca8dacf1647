package connect

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// maxAddresses bounds the addresses of a host that are dialled.
const maxAddresses = 8

// resolverGrace is how long the probes wait for a resolver after a later one has
// answered; shortGrace is for one that was late before in this call. The runtime
// would wait 5 s, every time.
const (
	resolverGrace = time.Second
	shortGrace    = 300 * time.Millisecond
)

// questions are the record types of the queries for a name, in Go's order.
var questions = [...]uint16{dns.TypeA, dns.TypeAAAA}

// lookup is the addresses of a host as the runtime's resolver would find them.
type lookup struct {
	addrs []netip.Addr // in the order in which the runtime dials them
	check report.Check // "dns/<host>"

	decisive     *query        // whose result decided; nil: no resolver was queried
	alternatives []alternative // addresses that the runtime would not use
	cancel       context.CancelFunc
}

// alternative is an address that the runtime would not use, and the resolver that
// gives it.
type alternative struct {
	addr     netip.Addr
	resolver string
}

// stop cancels the pending queries.
func (l lookup) stop() {
	l.decisive.stop()
	l.cancel()
}

// lookUp finds the addresses of name for the checks of a host. All resolvers are
// queried at once, but their answers count in the order of resolv.conf, by the
// rules of Go's resolver: the first final answer decides, also NXDOMAIN, and a
// resolver that is silent or fails is skipped. lookUp takes at most the time of one
// step; call stop afterwards.
func (p *Prober) lookUp(ctx context.Context, hostName, name string) lookup {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.Limits.WithDefaults().DNS)
	l := p.lookUpName(ctx, name)
	l.cancel = cancel
	if l.check.Outcome == report.Fail && l.check.Evidence[report.KeyDeadline] != "" && cutShort(ctx) {
		l.check.Outcome, l.check.Cause = report.Unknown, ""
		l.check.Evidence[report.KeyUnfinished] = report.True
		l.check.Summary = name + " was not resolved before this diagnosis timed out"
	}
	l.addrs = dialOrder(l.addrs, sourceOf, maxAddresses)
	if len(l.addrs) > 0 && l.check.Evidence[report.KeyFrom] != "literal" {
		if class := guard.AddressClass(l.addrs[0]); class != "" {
			l.check.Evidence[report.KeySpecial] = class
		}
	}
	if report.IsPublicRegistry(name) {
		l.check.Evidence = evidence.With(l.check.Evidence, report.KeyPublicRegistry, report.True)
	}
	l.check.ID, l.check.Kind, l.check.Host = report.DNSID(hostName), report.KindDNS, hostName
	l.check.Target = name
	if p.Hosts == nil && l.check.Outcome != report.Skipped {
		l.check.Evidence = evidence.With(l.check.Evidence, report.KeyHostsFile, "unknown")
	}
	if len(p.Lookup.Others) > 0 {
		// The runtime may get its answer there; the probes do not query them.
		others := readable.Clean(strings.Join(p.Lookup.Others, ", "), evidence.MaxValue)
		l.check.Evidence = evidence.With(l.check.Evidence, report.KeyNsswitchOthers, others)
	}
	l.check.Duration = report.Millis(time.Since(start))
	return l
}

func (p *Prober) lookUpName(ctx context.Context, name string) lookup {
	if addr, err := netip.ParseAddr(name); err == nil {
		return lookup{addrs: []netip.Addr{addr}, check: report.Check{
			Outcome: report.Pass, Summary: name + " is an address: no name to resolve",
			Evidence: evidence.Facts{report.KeyFrom: "literal", report.KeyAddresses: addr.String()}.Checked(),
		}}
	}
	fromFile := func() (lookup, bool) {
		addrs := p.Hosts.Addresses(name)
		if p.Lookup.NoFiles || len(addrs) == 0 {
			return lookup{}, false
		}
		addrs = addrs[:min(len(addrs), 2*maxAddresses)]
		return lookup{addrs: addrs, check: report.Check{
			Outcome: report.Pass, Summary: name + " is " + joinAddrs(addrs) + " by the node's hosts file",
			Evidence: evidence.Facts{report.KeyFrom: "hosts", report.KeyAddresses: joinAddrs(addrs)}.Checked(),
		}}, true
	}
	if !p.Lookup.DNSFirst {
		if l, ok := fromFile(); ok {
			return l
		}
	}
	l := p.lookUpDNS(ctx, name)
	if l.check.Outcome != report.Pass && p.Lookup.DNSFirst {
		if file, ok := fromFile(); ok {
			file.decisive = l.decisive
			return file
		}
	}
	return l
}

func (p *Prober) lookUpDNS(ctx context.Context, name string) lookup {
	switch {
	case p.Lookup.NoDNS:
		return lookup{check: report.Check{
			Outcome: report.Fail, Cause: report.HostNotFound,
			Summary:  name + " is not in the hosts file, and nsswitch.conf has no dns",
			Evidence: evidence.Facts{report.KeyFrom: "hosts", report.KeyNsswitch: "files"}.Checked(),
		}}
	case p.Resolv == nil:
		return lookup{check: report.Check{
			Outcome: report.Skipped, BlockedBy: report.IDRuntimeResolvConf,
			Summary: "skipped: the runtime's resolv.conf is unknown",
		}}
	}
	names := p.Resolv.Names(name)
	if _, ok := dns.IsDomainName(name); !ok || len(names) == 0 {
		return lookup{check: report.Check{
			Outcome: report.Fail, Cause: report.HostNotFound,
			Summary: strconv.Quote(readable.Clean(name, 80)) + " is not a valid DNS name",
		}}
	}

	var decisive, absolute *query
	tried := 0
	for _, full := range names {
		q := p.query(ctx, full)
		tried++
		addrs, by := q.result()
		if full == view.Rooted(name) {
			absolute = q
		}
		if len(addrs) > 0 {
			l := lookup{addrs: addrs, decisive: q, check: q.pass(name, addrs, by)}
			if full != view.Rooted(name) {
				l.checkSearchList(ctx, p, name, absolute)
			}
			decisive.stop()
			return l
		}
		// Go reports the error of the name without the search list.
		if full == view.Rooted(name) || decisive == nil {
			decisive.stop()
			decisive = q
		} else {
			q.stop()
		}
		if ctx.Err() != nil {
			break
		}
	}
	return lookup{decisive: decisive, check: decisive.fail(name, tried)}
}

// query is the queries to all resolvers for one name, for all record types.
type query struct {
	name    string
	conf    *view.ResolvConf
	servers []netip.AddrPort
	answers []answers
	start   time.Time
	grace   []<-chan struct{} // closed when the grace period of the server has passed
	slow    *sync.Map
	cancel  context.CancelFunc
}

// pendingAnswer is an answer; it is complete when done is closed.
type pendingAnswer struct {
	done chan struct{}
	*answer
}

// query starts the queries for one absolute name.
func (p *Prober) query(ctx context.Context, name string) *query {
	q := &query{name: name, conf: p.Resolv, start: time.Now(), slow: new(sync.Map)}
	if p.call != nil {
		q.slow = &p.call.slowResolvers
	}
	ctx, q.cancel = context.WithCancel(ctx)
	for _, addr := range p.Resolv.Servers {
		server := netip.AddrPortFrom(addr, cmp.Or(p.ResolverPort, 53))
		var pending answers
		for i, qtype := range questions {
			c := pendingAnswer{done: make(chan struct{}), answer: new(answer)}
			pending[i] = c
			go func() {
				defer close(c.done)
				*c.answer = askResolver(ctx, server, name, qtype, p.Resolv.TCP)
			}()
		}
		grace := resolverGrace
		if _, before := q.slow.Load(server); before {
			grace = shortGrace
		}
		timer, cancel := context.WithTimeout(ctx, grace)
		context.AfterFunc(timer, cancel)
		q.grace = append(q.grace, timer.Done())
		q.servers = append(q.servers, server)
		q.answers = append(q.answers, pending)
	}
	return q
}

// stop cancels the pending queries; q may be nil.
func (q *query) stop() {
	if q != nil {
		q.cancel()
	}
}

// result waits for the result that the runtime would get: the addresses, and the
// index of the resolver that gave them; -1: none.
func (q *query) result() (addrs []netip.Addr, by int) {
	by = -1
	for t := range questions {
		i, a := q.first(t)
		if a.finding == present {
			addrs = append(addrs, a.addrs...)
			if by < 0 {
				by = i
			}
		}
	}
	return addrs, by
}

// first returns the answer that counts for record type t, and the index of its
// resolver: the first final answer, or else that of the last resolver.
func (q *query) first(t int) (int, answer) {
	var a answer
	for i := range q.servers {
		if a = q.wait(i, t); a.finding.final() {
			return i, a
		}
	}
	return len(q.servers) - 1, a
}

// wait waits for an answer of resolver i, but no longer than its grace period if a
// later resolver has given a final one.
func (q *query) wait(i, t int) answer {
	c := q.answers[i][t]
	select {
	case <-c.done:
		return *c.answer
	case <-q.grace[i]:
	}
	for _, later := range q.answers[i+1:] {
		select {
		case <-later[t].done:
			if later[t].finding.final() {
				q.slow.Store(q.servers[i], true)
				return answer{deadline: true, took: time.Since(q.start)}
			}
		default:
		}
	}
	<-c.done
	return *c.answer
}

func (q *query) pass(name string, addrs []netip.Addr, by int) report.Check {
	e := evidence.Facts{
		report.KeyFrom:      "dns",
		report.KeyAddresses: joinAddrs(addrs),
		report.KeyResolver:  q.servers[by].String(),
		report.KeyRcode:     "NOERROR",
	}
	q.describe(e, name)
	summary := fmt.Sprintf("%s is %s (resolver %s)", name, joinAddrs(addrs), q.servers[by])
	if by > 0 {
		// The runtime waits for each resolver before this one, every time.
		summary += fmt.Sprintf(", after %d without an answer", by)
		e[report.KeyPassedOver] = strconv.Itoa(by)
	}
	return report.Check{Outcome: report.Pass, Summary: summary, Evidence: e.Checked()}
}

// fail returns the check with the error that Go reports: that of the A query.
func (q *query) fail(name string, tried int) report.Check {
	i, a := q.first(0)
	server := q.servers[i].String()
	e := a.evidence(len(q.servers))
	e[report.KeyFrom], e[report.KeyResolver], e[report.KeyNamesTried] = "dns", server, strconv.Itoa(tried)
	q.describe(e, name)
	check := report.Check{Outcome: report.Fail, Cause: a.cause(), Evidence: e.Checked()}
	switch a.finding {
	case absent:
		check.Summary = fmt.Sprintf("%s does not exist (NXDOMAIN from resolver %s)", name, server)
	case empty:
		check.Summary = fmt.Sprintf("%s exists but has no address (resolver %s)", name, server)
	default:
		check.Summary = fmt.Sprintf("cannot resolve %s: resolver %s %s", name, server, a.problem())
		if len(q.servers) > 1 {
			check.Summary += fmt.Sprintf(", as the last of %d", len(q.servers))
		}
		if q.conf.Default {
			check.Summary += "; resolv.conf has no nameserver, so the runtime queries this machine itself"
		}
	}
	return check
}

func (q *query) describe(e evidence.Facts, name string) {
	if q.name != view.Rooted(name) {
		e[report.KeyName] = q.name
		e[report.KeyVia] = strings.TrimPrefix(q.name, view.Rooted(name))
	}
	if q.conf.Rotate {
		e[report.KeyRotate] = report.True
	}
	switch {
	case q.conf.Missing:
		e[report.KeyResolvConf] = "missing"
	case q.conf.Default:
		e[report.KeyResolvConf] = "names no resolver"
	}
}

// resolverChecks returns "dns/<host>/<resolver>", one per resolver. It waits for a
// resolver no longer than its grace period.
func (l *lookup) resolverChecks(ctx context.Context, hostName, name string) []report.Check {
	q := l.decisive
	if q == nil {
		return nil
	}
	defer q.stop()
	for i, pending := range q.answers {
		for _, c := range pending {
			select {
			case <-c.done:
				continue
			case <-q.grace[i]:
			}
			q.stop()
			<-c.done
		}
	}
	var checks []report.Check
	for i, pending := range q.answers {
		check := q.resolverCheck(name, q.servers[i].String(), pending)
		check.ID, check.Kind, check.Host = report.DNSID(hostName, q.servers[i].String()), report.KindDNS, hostName
		check.Target = q.servers[i].String()
		if check.Outcome == report.Fail && check.Evidence[report.KeyDeadline] != "" && cutShort(ctx) {
			check.Outcome, check.Cause = report.Unknown, ""
			check.Evidence[report.KeyUnfinished] = report.True
		}
		checks = append(checks, check)
	}
	l.compareResolvers()
	return checks
}

func (q *query) resolverCheck(name, server string, all answers) report.Check {
	// The A answer represents the resolver unless only AAAA has addresses.
	a := all[0].answer
	var addrs []netip.Addr
	took := time.Duration(0)
	for _, c := range all {
		addrs = append(addrs, c.addrs...)
		took = max(took, c.took)
		if c.finding == present && a.finding != present {
			a = c.answer
		}
	}
	e := a.evidence(len(q.servers))
	e[report.KeyAddresses], e[report.KeyMs] = joinAddrs(addrs), strconv.FormatInt(took.Milliseconds(), 10)
	if all[0].finding != all[1].finding && (all[0].finding <= failed || all[1].finding <= failed) {
		e[report.KeyA], e[report.KeyAAAA] = all[0].label(), all[1].label()
	}
	q.describe(e, name)
	check := report.Check{Evidence: e.Checked(), Duration: report.Millis(took)}
	switch a.finding {
	case present:
		check.Outcome = report.Pass
		check.Summary = fmt.Sprintf("resolver %s: %s is %s", server, name, joinAddrs(addrs))
	case absent:
		check.Outcome, check.Cause = report.Fail, a.cause()
		check.Summary = fmt.Sprintf("resolver %s: %s does not exist (NXDOMAIN)", server, name)
	case empty:
		check.Outcome, check.Cause = report.Fail, a.cause()
		check.Summary = fmt.Sprintf("resolver %s: %s has no address", server, name)
	default:
		check.Outcome, check.Cause = report.Fail, a.cause()
		check.Summary = fmt.Sprintf("resolver %s %s", server, a.problem())
	}
	return check
}

func (a answer) cause() report.Cause {
	switch a.finding {
	case absent, empty:
		return report.HostNotFound
	case failed:
		return report.ResolverFailed
	case silent:
		return report.ResolverUnreachable
	}
	return ""
}

// problem returns what is wrong with a resolver, as the end of a sentence.
func (a answer) problem() string {
	switch {
	case a.finding == failed && a.note != "":
		return "gave " + a.note
	case a.finding == failed:
		return "answered " + a.rcode
	case a.deadline:
		return "did not answer within " + readable.Duration(a.took)
	}
	return "cannot be queried (" + evidence.Errno(a.err) + ")"
}

// label returns the answer in one word.
func (a answer) label() string {
	switch a.finding {
	case silent:
		if a.deadline {
			return "timeout"
		}
		return evidence.Errno(a.err)
	case empty:
		return "NODATA"
	}
	return cmp.Or(a.rcode, "malformed")
}

func (a answer) evidence(resolvers int) evidence.Facts {
	e := evidence.Facts{report.KeyRcode: a.rcode, report.KeyResolvers: strconv.Itoa(resolvers), report.KeyNote: a.note}
	if a.finding == empty {
		e[report.KeyRcode] = "NODATA"
	}
	if a.tcp {
		e[report.KeyTCP] = report.True
	}
	if a.finding == silent {
		if a.deadline {
			e[report.KeyDeadline], e[report.KeyTimeoutMs] = report.True, strconv.FormatInt(a.took.Milliseconds(), 10)
		} else {
			e[report.KeyError] = evidence.Errno(a.err)
		}
	}
	return e
}

func joinAddrs(addrs []netip.Addr) string {
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(slices.Compact(text), ", ")
}
