package registry

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// way is the way to a token service, as far as it was looked at.
type tokenRoute struct {
	host  runtimeconfig.Host
	route connect.Route
}

// approachRealm climbs to the token service that a challenge names, unless it
// is the registry itself or behind the proxy: "dns/<service>",
// "dial/<service>/…" and "tls/<service>/…", as for a registry. If the way is
// open, of those only what the runtime comes past is kept, and what failed
// beside it.
func (s *session) routeToTokenService(ctx context.Context, ch challenge) {
	realm, err := url.Parse(ch.realm)
	if err != nil || !ch.bearer || !isHostName(realm.Host) {
		return
	}
	if s.tokenHost = realm.Host; realm.Host == s.host.Host {
		return
	}
	if realm.Scheme != "https" && realm.Scheme != "http" {
		return // will not be asked
	}
	h := s.host.Referral(realm.Scheme, realm.Host)
	if _, port := h.Split(); !validPort(port) || s.prober.Denies(h) != "" {
		return // will not be asked either
	}
	if proxy, err := s.prober.Proxy.For(h.Scheme, h.Host); err != nil || proxy != nil {
		return
	}
	look := func() connect.Route { return s.prober.Reach(ctx, &h) }
	mine := true
	if !h.ExplicitTLS && s.tokenRoutes != nil {
		once, known := s.tokenRoutes.LoadOrStore(h.Scheme+"://"+h.Host, sync.OnceValue(look))
		look, mine = once.(func() connect.Route), !known
	}
	r := look()
	s.client.tokenRoute = &tokenRoute{h, r}
	if !mine {
		return // another host of the image names the same service
	}
	s.addClocks(r.Clocks...)
	for _, c := range r.Checks {
		onPath := c.ID == "dns/"+h.Name() || strings.HasSuffix(c.ID, "/"+r.Addr.String())
		aside := c.Outcome == report.Fail && c.Kind != report.KindDNS
		if r.BlockedBy != "" || onPath || aside {
			s.checks = append(s.checks, c)
		}
	}
}

// addrOf is the address that was found good for a token service at target.
func (w *tokenRoute) addrOf(target string) (netip.AddrPort, bool) {
	if w == nil || w.route.BlockedBy != "" || w.host.Address() != target {
		return netip.AddrPort{}, false
	}
	return w.route.Addr, true
}

func realmAddress(realm *url.URL) string {
	return runtimeconfig.Host{Scheme: realm.Scheme, Host: realm.Host}.Address()
}

// blocked is the token that could not be asked for because the way to the
// service at realm is blocked; false if it is not.
func (w *tokenRoute) blocked(realm *url.URL) (tokenResult, bool) {
	if w == nil || w.route.BlockedBy == "" || w.host.Host != realm.Host {
		return tokenResult{}, false
	}
	var by report.Check
	for _, c := range w.route.Checks {
		if c.ID == w.route.BlockedBy {
			by = c
		}
	}
	facts := evidence.Facts{"step": string(by.Kind)}
	for _, k := range []string{"deadline", "timeoutMs", "errno", "unfinished", "refused", "rcode", "error", "eof", "alert"} {
		facts[k] = by.Evidence[k]
	}
	t := tokenResult{outcome: by.Outcome, message: by.Summary, facts: facts, blockedBy: by.ID}
	if by.Outcome == report.Fail {
		t.cause = report.TokenServiceFailed
		facts["innerCause"] = string(by.Cause)
	} else if by.Outcome == report.Skipped {
		facts["runtimeWouldSend"] = "true"
	}
	return t, true
}

// nameRealms notes on "token/<host>" of a mirror that it sends the runtime on
// to the token service of the registry that it mirrors: realmOf is that
// registry.
func markSharedTokenServices(sessions []*session) {
	if len(sessions) < 2 {
		return
	}
	upstream := sessions[len(sessions)-1]
	domain, _ := upstream.host.Split()
	domain = strings.TrimPrefix(domain, "registry-1.")
	for _, s := range sessions[:len(sessions)-1] {
		realm := s.tokenHost
		if realm == "" || realm == s.host.Host {
			continue
		}
		name, _ := runtimeconfig.SplitHost(realm, "https")
		if realm == upstream.tokenHost || realm == upstream.host.Host || name == domain || strings.HasSuffix(name, "."+domain) {
			for i := range s.checks {
				if c := &s.checks[i]; c.ID == "token/"+s.host.Name() {
					c.Evidence = evidence.With(c.Evidence, "realmOf", upstream.host.Name())
				}
			}
		}
	}
}
