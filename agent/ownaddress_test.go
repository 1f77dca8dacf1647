package agent

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

// ownAddress returns an address of this machine that is not loopback.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() &&
			!p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}

// TestOwnAddressOfTheNode checks that an image name, a token service or a redirect
// does not lead to the node itself, unless its configuration or the image names the
// address.
func TestOwnAddressOfTheNode(t *testing.T) {
	own := ownAddress(t)
	s := newStage(t, false)
	node := &spy{host: fmt.Sprintf("own.test:%d", s.port), addr: netip.AddrPortFrom(own, uint16(s.port))}
	server := &http.Server{
		Handler: node, ErrorLog: log.New(io.Discard, "", 0), TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cert}},
	}
	l := s.listen(own)
	go func() { _ = server.ServeTLS(spyListener{l, node}, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	s.file("hosts", own.String()+" own.test\n"+s.registry.addr.Addr().String()+" registry.test\n")
	p := s.honest()
	p.open()
	honest := *s.registry.handler.Load()
	s.registry.serve(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/realm/"):
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+node.host+`/token"`)
			w.WriteHeader(401)
		case strings.HasPrefix(r.URL.Path, "/v2/moved/"):
			http.Redirect(w, r, "https://"+node.addr.String()+"/", http.StatusTemporaryRedirect)
		default:
			honest(w, r)
		}
	})
	images := map[string]string{
		"named": node.host + "/app:1",
		"realm": s.registry.host + "/realm/app:1",
		"moved": s.registry.host + "/moved/app:1",
	}
	for name, image := range images {
		s.pod(name, image, backOff, "login")
	}
	var a *Agent
	s.start(func(started *Agent) { a = started })
	for name, image := range images {
		s.diagnosed(name, func(report.Diagnosis) bool { return len(s.checks(image)) > 0 })
		s.expectText(t, s.checks(image), "the setting allow permits it")
	}
	if n := node.accepted.Load(); n > 0 {
		t.Errorf("%d connections to the node itself: %s", n, node.all())
	}

	s.pod("literal", node.addr.String()+"/app:1", backOff)
	s.until("a connection to what the image names", 10*time.Second, func() bool { return node.accepted.Load() > 0 })
	before := node.requests()
	set := a.live.Get()
	allowed, err := guard.ParsePattern("own.test")
	if err != nil {
		t.Fatal(err)
	}
	set.Allow = append(slices.Clone(set.Allow), allowed)
	a.live.Set(set)
	s.until("a request to what is allowed", 10*time.Second, func() bool { return node.requests() > before })
}
