package registry

import (
	"context"
	"net/url"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// routeToTokenService connects to the token service that a challenge names,
// unless it is the registry itself or behind the proxy: "dns/<service>",
// "dial/<service>/…" and "tls/<service>/…", as for a registry. If the path is
// open, only the checks on the runtime's own path are kept, and failures beside
// it.
func (s *session) routeToTokenService(ctx context.Context, ch answers.Challenge) {
	realm, err := url.Parse(ch.Realm)
	if err != nil || !ch.Bearer || !httpclient.IsHostName(realm.Host) {
		return
	}
	if s.tokenHost = realm.Host; realm.Host == s.host.Host {
		return
	}
	if realm.Scheme != "https" && realm.Scheme != "http" {
		return // no request will be sent
	}
	h := s.host.Referral(realm.Scheme, realm.Host)
	if _, port := h.Split(); !validPort(port) || s.prober.Denies(h) != "" {
		return // no request will be sent either
	}
	if proxy, err := s.prober.Proxy.For(h.Scheme, h.Host); err != nil || proxy != nil {
		return
	}
	reach := func() connect.Route {
		r := s.prober.Reach(ctx, &h)
		s.model.forgiveStrictTLS(ctx, s.prober, r.Checks)
		return r
	}
	mine := true
	if !h.ExplicitTLS && s.tokenRoutes != nil {
		once, known := s.tokenRoutes.LoadOrStore(h.Scheme+"://"+h.Host, sync.OnceValue(reach))
		reach, mine = once.(func() connect.Route), !known
	}
	r := reach()
	s.tokenPath = &tokens.Route{Host: h, To: r}
	s.client.AddressOf = s.tokenPath.AddrOf
	if !mine {
		return // another host of the image names the same service, and has the checks
	}
	s.addClocks(r.Clocks...)
	for _, c := range r.Checks {
		onPath := c.ID == report.DNSID(h.Name()) || strings.HasSuffix(c.ID, "/"+r.Addr.String())
		failedBeside := c.Outcome == report.Fail && c.Kind != report.KindDNS
		if r.BlockedBy != "" || onPath || failedBeside {
			s.checks = append(s.checks, c)
		}
	}
}

// markSharedTokenServices notes on "token/<host>" of a mirror that it refers the
// runtime to the token service of the registry that it mirrors: realmOf is that
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
		if realm != upstream.tokenHost && realm != upstream.host.Host && name != domain && !strings.HasSuffix(name, "."+domain) {
			continue
		}
		for i := range s.checks {
			if c := &s.checks[i]; c.ID == report.TokenID(s.host.Name()) {
				c.Evidence = evidence.With(c.Evidence, report.KeyRealmOf, upstream.host.Name())
			}
		}
	}
}
