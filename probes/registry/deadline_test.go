package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// A step with a black hole has failed by its own deadline; cut short by the end of
// the call it is unknown.
func TestBlackHoles(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "auth.lab", "r.outside")
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	hang := http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-hold:
		case <-q.Context().Done():
		}
	})
	base := newProber(t, ca, nil)
	silentDNS := *base
	silentDNS.ResolverPort = probetest.DNSPort(t)
	probetest.ServeDNS(t, "127.0.0.1", silentDNS.ResolverPort, nil)

	hole := fmt.Sprintf("r.lab:%d", probetest.DroppingPort(t))
	mute := fmt.Sprintf("r.lab:%d", probetest.ListenRaw(t, func(net.Conn) { <-hold }))
	web := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, hang))
	token := func(port uint16) string {
		return fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(fmt.Sprintf("https://auth.lab:%d/token", port), probetest.NewRegistry(t))))
	}
	tokenHole, tokenMute, tokenWeb := probetest.DroppingPort(t), probetest.ListenRaw(t, func(net.Conn) { <-hold }), probetest.Serve(t, &cert, hang)
	tokenHoleHost, tokenMuteHost, tokenWebHost := token(tokenHole), token(tokenMute), token(tokenWeb)
	proxy := httptest.NewServer(hang)
	t.Cleanup(proxy.Close)
	proxied := *base
	proxied.Proxy = view.ReadProxy([]string{"HTTPS_PROXY=" + proxy.URL})

	tests := []struct {
		name, host, id string
		node           *connect.Prober
		cause          report.Cause
		limit          func(*connect.Limits) *time.Duration // of that rung
	}{
		{"resolver", "r.lab", "dns/r.lab", &silentDNS, report.ResolverUnreachable, func(l *connect.Limits) *time.Duration { return &l.DNS }},
		{"address", hole, "dial/" + hole + "/127.0.0.1" + hole[len("r.lab"):], base, report.ConnectionTimeout, func(l *connect.Limits) *time.Duration { return &l.Dial }},
		{"TLS", mute, "tls/" + mute + "/127.0.0.1" + mute[len("r.lab"):], base, report.TLSHandshakeFailed, func(l *connect.Limits) *time.Duration { return &l.TLS }},
		{"HTTP", web, "manifest/" + web, base, report.RegistryUnavailable, func(l *connect.Limits) *time.Duration { return &l.HTTP }},
		{"address of the token service", tokenHoleHost, fmt.Sprintf("dial/auth.lab:%d/127.0.0.1:%[1]d", tokenHole), base, report.ConnectionTimeout, func(l *connect.Limits) *time.Duration { return &l.Dial }},
		{"TLS of the token service", tokenMuteHost, fmt.Sprintf("tls/auth.lab:%d/127.0.0.1:%[1]d", tokenMute), base, report.TLSHandshakeFailed, func(l *connect.Limits) *time.Duration { return &l.TLS }},
		{"token service", tokenWebHost, "token/" + tokenWebHost, base, report.TokenServiceFailed, func(l *connect.Limits) *time.Duration { return &l.HTTP }},
		{"proxy", "r.outside", "dial/r.outside/proxy", &proxied, report.ProxyUnreachable, func(l *connect.Limits) *time.Duration { return &l.Dial }},
	}
	const brief, long = 500 * time.Millisecond, 30 * time.Second
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			own, cut := *tt.node, *tt.node
			own.Limits = connect.Limits{Overall: long, DNS: long, Dial: long, TLS: long, HTTP: long}
			cut.Limits = own.Limits
			*tt.limit(&own.Limits), cut.Limits.Overall = brief, brief
			probetest.Want(t, probe(t, &own, tt.host+"/app:1"), tt.id, report.Fail, tt.cause, "deadline=true")
			c := probe(t, &cut, tt.host+"/app:1")
			probetest.Want(t, c, tt.id, report.Unknown, "", "deadline=true", "unfinished=true")
			if id := "manifest/" + tt.host; id != tt.id {
				probetest.Want(t, c, id, report.Skipped, "")
			}
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), brief)
		defer cancel()
		_, ref := reference.Parse(mute + "/app:1")
		byID := map[string]report.Check{}
		for _, c := range Probe(ctx, base, ref, Target{}) {
			byID[c.ID] = c
		}
		probetest.Want(t, byID, "tls/"+mute+"/127.0.0.1"+mute[len("r.lab"):], report.Unknown, "", "unfinished=true")
	})
}
