package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// visit is the climb up the ladder at one host.
type visit struct {
	node   *Node
	host   host
	ref    Ref
	target Target
	budget *budget

	checks   []report.Check
	client   *client
	manifest manifestState
}

func (v *visit) add(c report.Check) {
	c.Host = v.host.name()
	v.checks = append(v.checks, c)
}

// skip adds a check that another one keeps from running.
func (v *visit) skip(kind report.Kind, id, why, blockedBy string) {
	v.add(report.Check{ID: id, Kind: kind, Outcome: report.Skipped, Summary: why, BlockedBy: blockedBy})
}

func (v *visit) close() {
	if v.client != nil {
		v.client.close()
	}
}

// climb goes from the name to the manifest, or, at a host that is asked for
// blobs only, to a connection.
func (v *visit) climb(ctx context.Context) {
	name := v.host.name()
	if near := v.approach(ctx); v.host.blobsOnly {
		return
	} else if !near {
		last := v.checks[len(v.checks)-1]
		v.skip(report.KindManifest, "manifest/"+name, last.Summary, last.BlockedBy)
		return
	}
	if id := v.askRegistry(ctx); id != "" {
		v.skip(report.KindManifest, "manifest/"+name, "not asked: "+id+" failed", id)
		return
	}
	v.askManifest(ctx)
}

// approach goes from the name to a connection that HTTP may use. If there is
// none, the last check is the registry's, skipped.
func (v *visit) approach(ctx context.Context) bool {
	name := v.host.name()
	blocked := ""
	if _, port := v.host.split(); !validPort(port) {
		blocked = "dial/" + name
		v.add(report.Check{ID: blocked, Kind: report.KindDial, Outcome: report.Fail, Cause: report.Undetermined,
			Summary: clean(port, 20) + " is not a port: the runtime cannot connect to " + name})
	} else if proxy, err := v.node.Proxy.For(v.host.Scheme, v.host.Host); err != nil {
		blocked = "dial/" + name + "/proxy"
		v.add(report.Check{ID: blocked, Kind: report.KindDial, Outcome: report.Fail, Cause: report.ProxyUnreachable,
			Summary: "the proxy that the runtime's environment names is not a URL"})
	} else if proxy != nil {
		blocked = v.reachThrough(ctx, proxy)
	} else {
		blocked = v.reach(ctx)
	}
	if blocked != "" {
		v.skip(report.KindRegistry, "registry/"+name, "not reached: "+blocked+" did not pass", blocked)
	}
	return blocked == ""
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// reach resolves, dials and greets the host directly. It returns the id of the
// check that blocks the way, empty if there is an address that works.
func (v *visit) reach(ctx context.Context) (blockedBy string) {
	name, _ := v.host.split()
	dnsCtx, cancel := context.WithTimeout(ctx, v.node.Limits.withDefaults().DNS)
	defer cancel()
	l := v.node.lookUp(dnsCtx, v.host.name(), name)
	v.add(l.check)
	at := len(v.checks)
	defer func() {
		// The resolvers' own checks stand below the answer they led to.
		rest := append(l.resolverChecks(v.host.name(), name), v.checks[at:]...)
		v.checks = append(v.checks[:at:at], rest...)
	}()
	if len(l.addrs) == 0 {
		v.skip(report.KindDial, "dial/"+v.host.name(), "not dialled: there is no address", l.check.ID)
		if v.host.Scheme == "https" {
			v.skip(report.KindTLS, "tls/"+v.host.name(), "not tried: there is no address", l.check.ID)
		}
		return l.check.ID
	}

	endpoints := v.connect(ctx, l.addrs)
	if v.host.HTTPFallback && fallsBack(endpoints, v.host) {
		// Another port, unless one is given; the same checks go by plain HTTP.
		v.host.Scheme, v.host.HTTPFallback = "http", false
		if _, _, err := net.SplitHostPort(v.host.Host); err != nil {
			endpoints = v.connect(ctx, l.addrs)
		} else {
			for i := range endpoints {
				endpoints[i].good = endpoints[i].dial.Outcome == report.Pass
				if t := endpoints[i].tls; t != nil {
					t.Outcome, t.Cause = report.Skipped, ""
					t.Summary = "does not speak TLS; the runtime falls back to plain HTTP here"
				}
			}
		}
	}
	var first netip.AddrPort
	for _, e := range endpoints {
		v.add(e.dial)
		if e.tls != nil {
			v.add(*e.tls)
		}
		switch {
		case e.good && !first.IsValid():
			first = e.addr
		case !e.good && e.tls != nil && e.dial.Outcome == report.Pass:
			// The address that came furthest says why.
			if !strings.HasPrefix(blockedBy, "tls/") {
				blockedBy = e.tls.ID
			}
		case !e.good && blockedBy == "":
			blockedBy = e.dial.ID
		}
	}
	if !first.IsValid() {
		return blockedBy
	}
	v.client = v.node.newClient(v.host, first, v.budget)
	return ""
}

// endpoint is one address of a host.
type endpoint struct {
	addr netip.AddrPort
	dial report.Check
	tls  *report.Check
	good bool // everything that is asked of it passed
}

func (v *visit) connect(ctx context.Context, addrs []netip.Addr) []endpoint {
	_, port := v.host.split()
	number, _ := strconv.ParseUint(port, 10, 16) // validPort
	endpoints := make([]endpoint, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		e := &endpoints[i]
		e.addr = netip.AddrPortFrom(addr, uint16(number))
		wg.Go(func() {
			var conn net.Conn
			e.dial, conn = v.node.dial(ctx, v.host, e.addr)
			e.good = e.dial.Outcome == report.Pass
			switch {
			case e.good && v.host.Scheme == "https":
				defer conn.Close()
				check := v.node.handshake(ctx, v.host, conn, e.addr.String())
				e.tls, e.good = &check, check.Outcome == report.Pass
			case e.good:
				conn.Close()
			case v.host.Scheme == "https":
				e.tls = &report.Check{
					ID: "tls/" + v.host.name() + "/" + e.addr.String(), Kind: report.KindTLS, Target: e.addr.String(),
					Outcome: report.Skipped, Summary: "not tried: no connection", BlockedBy: e.dial.ID,
				}
			}
		})
	}
	wg.Wait()
	return endpoints
}

// fallsBack says whether containerd would turn to plain HTTP (its
// docker.NewHTTPFallback): the server answers TLS with HTTP or not at all, or
// the host has no port of its own and nothing listens.
func fallsBack(endpoints []endpoint, h host) bool {
	_, _, err := net.SplitHostPort(h.Host)
	hasPort := err == nil
	for _, e := range endpoints {
		switch {
		case e.good:
			return false
		case e.dial.Outcome == report.Pass && e.tls != nil:
			if e.tls.Cause == report.PlainHTTPRegistry || e.tls.Cause == report.TLSHandshakeFailed && e.tls.Evidence["deadline"] != "" {
				return true
			}
		case !hasPort && (e.dial.Cause == report.ConnectionRefused || e.dial.Cause == report.ConnectionTimeout):
			return true
		}
	}
	return false
}

// reachThrough goes through the node's proxy. The host's own name and
// addresses are then nobody's business but the proxy's.
func (v *visit) reachThrough(ctx context.Context, proxy *url.URL) (blockedBy string) {
	name := v.host.name()
	shown := clean(proxy.Scheme+"://"+proxy.Host, 100) // without its credentials
	v.add(report.Check{ID: "dns/" + name, Kind: report.KindDNS, Outcome: report.Skipped,
		Summary: "not resolved here: goes through the proxy " + shown, Evidence: evidence{"proxy": shown}.checked()})

	v.client = v.node.newClient(v.host, netip.AddrPort{}, v.budget)
	id := "dial/" + name + "/proxy"
	check := report.Check{ID: id, Kind: report.KindDial, Target: shown}
	start := time.Now()
	dialCtx, cancel := context.WithTimeout(ctx, v.node.Limits.withDefaults().Dial)
	defer cancel()
	conn, err := v.client.tunnel(dialCtx, proxy)
	took := time.Since(start)
	check.Duration = report.Millis(took)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		check.Outcome = report.Skipped
		check.Summary = "not asked: " + refused.reason
		v.add(check)
		v.skip(report.KindTLS, "tls/"+name, "not tried: no connection", id)
		return id
	case err != nil:
		f := netFault(err, took, report.ConnectionTimeout)
		if f.facts == nil {
			f.facts = evidence{}
		}
		f.facts["proxy"] = shown
		check.Outcome, check.Cause = report.Fail, f.cause
		check.Summary = "proxy " + shown + " for " + name + ": " + f.words
		check.Evidence = f.facts.checked()
		v.add(check)
		if v.host.Scheme == "https" {
			v.skip(report.KindTLS, "tls/"+name, "not tried: no connection", id)
		}
		return id
	}
	check.Outcome = report.Pass
	check.Summary = "connected through the proxy " + shown
	check.Evidence = evidence{"proxy": shown}.checked()
	v.add(check)
	if conn == nil {
		return "" // no tunnel to look into: what happens is seen with the first request
	}
	defer conn.Close()
	if v.host.Scheme != "https" {
		return ""
	}
	handshake := v.node.handshake(ctx, v.host, conn, "proxy")
	handshake.Evidence = withFact(handshake.Evidence, "proxy", shown)
	v.add(handshake)
	if handshake.Outcome != report.Pass {
		return handshake.ID
	}
	return ""
}

func withFact(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// askRegistry is "registry/<host>": GET /v2/, without credentials. The runtime
// itself never asks this, so that only what would hit any other request too
// is a fault. It returns the check's id if it blocks what follows.
func (v *visit) askRegistry(ctx context.Context) (blockedBy string) {
	name := v.host.name()
	check := report.Check{ID: "registry/" + name, Kind: report.KindRegistry}
	base := v.host.Path
	if strings.HasPrefix(base, "/v2/") {
		base = "/v2"
	}
	address := v.host.Scheme + "://" + v.host.Host + strings.TrimSuffix(base, "/") + "/"
	check.Target = clean(address, maxValue)
	start := time.Now()
	rep, err := v.client.send(ctx, request{method: http.MethodGet, url: address, limit: 2 << 10})
	took := time.Since(start)
	check.Duration = report.Millis(took)
	if err != nil {
		v.requestFailed(&check, err, took)
		v.add(check)
		return check.ID
	}
	e := evidence{
		"status":      strconv.Itoa(rep.status),
		"contentType": rep.header.Get("Content-Type"),
		"apiVersion":  rep.header.Get("Docker-Distribution-Api-Version"),
		"server":      rep.header.Get("Server"),
		"code":        errorCode(rep.body),
	}
	if date, err := http.ParseTime(rep.header.Get("Date")); err == nil {
		e["skewSeconds"] = strconv.Itoa(int(time.Since(date).Seconds()))
	}
	if rep.hops > 0 {
		e["redirectedTo"] = rep.host
	}
	if ch, ok := readChallenge(rep.header); ok {
		e["auth"] = ch.word()
		if u, err := url.Parse(ch.realm); err == nil && ch.bearer {
			e["realmHost"] = u.Host
		}
	}
	switch {
	case rep.status == http.StatusTooManyRequests:
		check.Outcome, check.Cause = report.Fail, report.RateLimited
		check.Summary = name + " limits this node's requests (429" + retryAfter(rep.header) + ")"
		for k, x := range limits(rep.header) {
			e[k] = orDefault(x, e[k])
		}
	case rep.status >= 500:
		check.Outcome, check.Cause = report.Fail, report.RegistryUnavailable
		check.Summary = name + " answers " + statusText(rep.status)
	case isWebPage(rep.header):
		check.Outcome = report.Unknown
		check.Summary = fmt.Sprintf("%s answers %s with a web page: a login portal, or not a registry", clean(rep.host, 80), statusText(rep.status))
	case rep.status == http.StatusOK, rep.status == http.StatusUnauthorized:
		check.Outcome = report.Pass
		check.Summary = name + " answers " + statusText(rep.status)
	default:
		check.Outcome = report.Unknown
		check.Summary = name + " answers " + statusText(rep.status) + " to GET /v2/, which the runtime does not ask"
	}
	check.Evidence = e.checked()
	v.add(check)
	if check.Cause == report.RateLimited {
		return check.ID
	}
	return ""
}

// requestFailed fills in a check whose request got no answer.
func (v *visit) requestFailed(check *report.Check, err error, took time.Duration) {
	var refused *refusedError
	if errors.As(err, &refused) {
		check.Outcome = report.Skipped
		check.Summary = "not asked: " + clean(refused.reason, 160)
		check.Evidence = evidence{"refused": refused.reason}.checked()
		return
	}
	f := netFault(err, took, report.RegistryUnavailable)
	check.Outcome, check.Cause = report.Fail, f.cause
	check.Summary = v.host.name() + ": " + f.words
	var redirect *redirectError
	if errors.As(err, &redirect) {
		check.Summary = v.host.name() + " redirects to " + clean(redirect.host, 80) + ": " + f.words
		f.facts = withFact(f.facts, "redirectedTo", redirect.host)
	}
	check.Evidence = f.facts.checked()
}

func isWebPage(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/html")
}

func retryAfter(h http.Header) string {
	if after := clean(h.Get("Retry-After"), 40); after != "" {
		return ", retry after " + after
	}
	return ""
}
