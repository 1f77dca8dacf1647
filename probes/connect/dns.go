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
)

// maxAddresses bounds how many addresses of a host are looked at.
const maxAddresses = 8

// patience is how long a resolver may keep an answer back that a later
// resolver has given already; less for one that did so before in this call.
// The runtime would wait 5 s, every time.
const (
	resolverGrace = time.Second
	shortGrace    = 300 * time.Millisecond
)

// questions are the record types asked for every name, in Go's order.
var questions = [...]uint16{dns.TypeA, dns.TypeAAAA}

// lookup is a host's addresses as the runtime's resolver would find them.
type lookup struct {
	addrs []netip.Addr // in the order in which the runtime dials them
	check report.Check // "dns/<host>"

	decisive     *query // the question that decided; nil if no resolver was asked
	alternatives []alternative
	cancel       context.CancelFunc
}

// hearsay is an address that the runtime would not come to, and who gives it.
type alternative struct {
	addr     netip.Addr
	resolver string
}

// stop ends what is still asked.
func (l lookup) stop() {
	l.decisive.stop()
	l.cancel()
}

// lookUp finds the addresses of name for the host of the checks. Resolvers are
// all asked at once, but their answers count in the order of resolv.conf, by
// the rules of Go's resolver: the first final answer decides, NXDOMAIN among
// them, and a resolver that is silent or fails is passed over.
// The call has the time of one step; stop ends it.
func (p *Prober) lookUp(ctx context.Context, hostName, name string) lookup {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.Limits.WithDefaults().DNS)
	l := p.lookUpName(ctx, name)
	l.cancel = cancel
	if l.check.Outcome == report.Fail && l.check.Evidence["deadline"] != "" && cutShort(ctx) {
		l.check.Outcome, l.check.Cause = report.Unknown, ""
		l.check.Evidence["unfinished"] = "true"
		l.check.Summary = name + " was not resolved before this diagnosis' own time was over"
	}
	l.addrs = dialOrder(l.addrs, sourceOf, maxAddresses)
	if len(l.addrs) > 0 && l.check.Evidence["from"] != "literal" {
		if class := guard.AddressClass(l.addrs[0]); class != "" {
			l.check.Evidence["special"] = class
		}
	}
	if isPublicRegistry(name) {
		l.check.Evidence = evidence.With(l.check.Evidence, "publicRegistry", "true")
	}
	l.check.ID, l.check.Kind, l.check.Host = "dns/"+hostName, report.KindDNS, hostName
	l.check.Target = name
	if p.Hosts == nil && l.check.Outcome != report.Skipped {
		l.check.Evidence = evidence.With(l.check.Evidence, "hostsFile", "unknown")
	}
	if len(p.Lookup.Others) > 0 {
		// The runtime may get its answer there; the probes do not ask them.
		l.check.Evidence = evidence.With(l.check.Evidence, "nsswitchOthers", report.Clean(strings.Join(p.Lookup.Others, ", "), evidence.MaxValue))
	}
	l.check.Duration = report.Millis(time.Since(start))
	return l
}

func (p *Prober) lookUpName(ctx context.Context, name string) lookup {
	if addr, err := netip.ParseAddr(name); err == nil {
		return lookup{addrs: []netip.Addr{addr}, check: report.Check{
			Outcome: report.Pass, Summary: name + " is an address: no name to resolve",
			Evidence: evidence.Facts{"from": "literal", "addresses": addr.String()}.Checked(),
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
			Evidence: evidence.Facts{"from": "hosts", "addresses": joinAddrs(addrs)}.Checked(),
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
			Summary:  name + " is not in the hosts file, and nsswitch.conf names no DNS",
			Evidence: evidence.Facts{"from": "hosts", "nsswitch": "files"}.Checked(),
		}}
	case p.Resolv == nil:
		return lookup{check: report.Check{
			Outcome: report.Skipped, BlockedBy: "runtime/resolv.conf",
			Summary: "not resolved: the runtime's resolv.conf is unknown",
		}}
	}
	names := p.Resolv.Names(name)
	if _, ok := dns.IsDomainName(name); !ok || len(names) == 0 {
		return lookup{check: report.Check{
			Outcome: report.Fail, Cause: report.HostNotFound,
			Summary: strconv.Quote(report.Clean(name, 80)) + " is not a name that DNS can hold",
		}}
	}

	var own, asIs *query
	tried := 0
	for _, full := range names {
		q := p.query(ctx, full)
		tried++
		addrs, by := q.result()
		if full == view.Rooted(name) {
			asIs = q
		}
		if len(addrs) > 0 {
			l := lookup{addrs: addrs, decisive: q, check: q.pass(name, addrs, by)}
			if full != view.Rooted(name) {
				l.checkSearchList(ctx, p, name, asIs)
			}
			own.stop()
			return l
		}
		// Go reports what became of the name as it stands.
		if full == view.Rooted(name) || own == nil {
			own.stop()
			own = q
		} else {
			q.stop()
		}
		if ctx.Err() != nil {
			break
		}
	}
	return lookup{decisive: own, check: own.fail(name, tried)}
}

// inquiry is one name asked of all resolvers at once, for all record types.
type query struct {
	name     string
	conf     *view.ResolvConf
	servers  []netip.AddrPort
	answers  []answers
	start    time.Time
	patience []<-chan struct{} // with each of the servers
	slow     *sync.Map
	cancel   context.CancelFunc
}

// cell is a pending answer; it is complete when done is closed.
type pendingAnswer struct {
	done chan struct{}
	*answer
}

func (p *Prober) query(ctx context.Context, name string) *query {
	q := &query{name: name, conf: p.Resolv, start: time.Now(), slow: new(sync.Map)}
	if p.call != nil {
		q.slow = &p.call.slowResolvers
	}
	port := p.ResolverPort
	if port == 0 {
		port = 53
	}
	ctx, q.cancel = context.WithCancel(ctx)
	for _, addr := range p.Resolv.Servers {
		server := netip.AddrPortFrom(addr, port)
		var row answers
		for i, qtype := range questions {
			c := pendingAnswer{done: make(chan struct{}), answer: new(answer)}
			row[i] = c
			go func() {
				defer close(c.done)
				*c.answer = askResolver(ctx, server, name, qtype, p.Resolv.TCP)
			}()
		}
		wait := resolverGrace
		if _, before := q.slow.Load(server); before {
			wait = shortGrace
		}
		patient, cancel := context.WithTimeout(ctx, wait)
		context.AfterFunc(patient, cancel)
		q.patience = append(q.patience, patient.Done())
		q.servers = append(q.servers, server)
		q.answers = append(q.answers, row)
	}
	return q
}

// stop ends what is still asked.
func (q *query) stop() {
	if q != nil {
		q.cancel()
	}
}

// settle waits until the answer is known that the runtime would come to: the
// addresses, and the resolver that gave them.
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

// first is the answer that counts for record type t: the first final one, or
// else that of the last resolver.
func (q *query) first(t int) (int, answer) {
	var a answer
	for i := range q.servers {
		if a = q.wait(i, t); a.finding.final() {
			return i, a
		}
	}
	return len(q.servers) - 1, a
}

func (q *query) wait(i, t int) answer {
	c := q.answers[i][t]
	select {
	case <-c.done:
		return *c.answer
	case <-q.patience[i]:
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
	e := evidence.Facts{"from": "dns", "addresses": joinAddrs(addrs), "resolver": q.servers[by].String(), "rcode": "NOERROR"}
	q.describe(e, name)
	summary := fmt.Sprintf("%s is %s (resolver %s)", name, joinAddrs(addrs), q.servers[by])
	if by > 0 {
		// The runtime waits for every resolver before this one, every time.
		summary += fmt.Sprintf(", after %d that gave no answer", by)
		e["passedOver"] = strconv.Itoa(by)
	}
	return report.Check{Outcome: report.Pass, Summary: summary, Evidence: e.Checked()}
}

// fail reports the error that Go would: that of the A question.
func (q *query) fail(name string, tried int) report.Check {
	i, a := q.first(0)
	server := q.servers[i].String()
	e := a.evidence(len(q.servers))
	e["from"], e["resolver"], e["namesTried"] = "dns", server, strconv.Itoa(tried)
	q.describe(e, name)
	check := report.Check{Outcome: report.Fail, Cause: a.cause(), Evidence: e.Checked()}
	switch a.finding {
	case absent:
		check.Summary = fmt.Sprintf("resolver %s says that %s does not exist (NXDOMAIN)", server, name)
	case empty:
		check.Summary = fmt.Sprintf("%s exists but has no address (resolver %s)", name, server)
	default:
		check.Summary = fmt.Sprintf("cannot resolve %s: resolver %s %s", name, server, a.problem())
		if len(q.servers) > 1 {
			check.Summary += fmt.Sprintf(", as the last of %d", len(q.servers))
		}
		if q.conf.Default {
			check.Summary += "; resolv.conf names no resolver, so the runtime asks this machine itself"
		}
	}
	return check
}

func (q *query) describe(e evidence.Facts, name string) {
	if q.name != view.Rooted(name) {
		e["name"] = q.name
		e["via"] = strings.TrimPrefix(q.name, view.Rooted(name))
	}
	if q.conf.Rotate {
		e["rotate"] = "true"
	}
	switch {
	case q.conf.Missing:
		e["resolvConf"] = "missing"
	case q.conf.Default:
		e["resolvConf"] = "names no resolver"
	}
}

// resolverChecks are "dns/<host>/<resolver>", one per resolver. Resolvers that
// no decision waits for are given up after a moment.
func (l *lookup) resolverChecks(ctx context.Context, hostName, name string) []report.Check {
	q := l.decisive
	if q == nil {
		return nil
	}
	defer q.stop()
	for i, row := range q.answers {
		for _, c := range row {
			select {
			case <-c.done:
				continue
			case <-q.patience[i]:
			}
			q.stop()
			<-c.done
		}
	}
	var checks []report.Check
	for i, row := range q.answers {
		check := q.resolverCheck(name, q.servers[i].String(), row)
		check.ID, check.Kind, check.Host = "dns/"+hostName+"/"+q.servers[i].String(), report.KindDNS, hostName
		check.Target = q.servers[i].String()
		if check.Outcome == report.Fail && check.Evidence["deadline"] != "" && cutShort(ctx) {
			check.Outcome, check.Cause = report.Unknown, ""
			check.Evidence["unfinished"] = "true"
		}
		checks = append(checks, check)
	}
	l.compareResolvers()
	return checks
}

func (q *query) resolverCheck(name, server string, row answers) report.Check {
	// The A answer speaks for the resolver unless only AAAA found something.
	a := row[0].answer
	var addrs []netip.Addr
	took := time.Duration(0)
	for _, c := range row {
		addrs = append(addrs, c.addrs...)
		took = max(took, c.took)
		if c.finding == present && a.finding != present {
			a = c.answer
		}
	}
	e := a.evidence(len(q.servers))
	e["addresses"], e["ms"] = joinAddrs(addrs), strconv.FormatInt(took.Milliseconds(), 10)
	if row[0].finding != row[1].finding && (row[0].finding <= failed || row[1].finding <= failed) {
		e["A"], e["AAAA"] = row[0].label(), row[1].label()
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

// complaint is what is wrong with a resolver, as the end of a sentence.
func (a answer) problem() string {
	switch {
	case a.finding == failed && a.note != "":
		return "gave " + a.note
	case a.finding == failed:
		return "answered " + a.rcode
	case a.deadline:
		return "did not answer within " + report.Duration(a.took)
	}
	return "cannot be asked (" + evidence.Errno(a.err) + ")"
}

// word is the answer in one word.
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
	e := evidence.Facts{"rcode": a.rcode, "resolvers": strconv.Itoa(resolvers), "note": a.note}
	if a.finding == empty {
		e["rcode"] = "NODATA"
	}
	if a.tcp {
		e["tcp"] = "true"
	}
	if a.finding == silent {
		if a.deadline {
			e["deadline"], e["timeoutMs"] = "true", strconv.FormatInt(a.took.Milliseconds(), 10)
		} else {
			e["error"] = evidence.Errno(a.err)
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
