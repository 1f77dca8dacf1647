package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

func TestResolversDisagree(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	good, foreign := ca.Good(t, "r.lab"), probetest.NewAuthority(t, nil).Good(t, "portal.lab")
	registry := probetest.NewRegistry(t)
	port := probetest.ServeAt(t, "127.0.0.31", 0, &good, registry)
	probetest.ServeAt(t, "127.0.0.32", port, &foreign, http.NotFoundHandler())
	at := func(ip string) string { return fmt.Sprintf("%s:%d", ip, port) }
	host := at("r.lab")
	base := newProber(t, ca, nil)
	answers := func(addrs string) map[string]string { return map[string]string{"r.lab.": addrs} }
	const second = "127.0.0.21:" // its port follows

	t.Run("another certificate at the first resolver's address", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.32"), answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "disagree=true", "special=loopback", "addresses=127.0.0.32")
		probetest.Want(t, c, "tls/"+host+"/"+at("127.0.0.32"), report.Fail, report.CertificateNameMismatch, "names=portal.lab")
		e := probetest.Want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "", "names=r.lab")
		if e.Kind != report.KindTLS || !strings.HasPrefix(e.Evidence["resolver"], second) {
			t.Errorf("%+v", e)
		}
		probetest.Want(t, c, "manifest/"+host, report.Skipped, "") // off the path
	})
	t.Run("nothing at the first resolver's address, another server at the second's", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.33"), answers("127.0.0.32"))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/"+at("127.0.0.33"), report.Fail, report.ConnectionRefused)
		probetest.Want(t, c, "elsewhere/"+host+"/"+at("127.0.0.32"), report.Fail, report.CertificateNameMismatch)
	})
	t.Run("the first resolver denies the name", func(t *testing.T) {
		n := withResolvers(t, base, "", nil, answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Fail, report.HostNotFound, "disagree=true")
		probetest.Want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "")
	})
	t.Run("the path is open: no other address is tried", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.31"), answers("127.0.0.32"))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "disagree=true")
		probetest.Want(t, c, "manifest/"+host, report.Pass, "")
		for id := range c {
			if strings.HasPrefix(id, "elsewhere/") {
				t.Errorf("asked: %s", id)
			}
		}
	})
	t.Run("answers that share an address do not disagree", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.32 127.0.0.31"), answers("127.0.0.31"))
		c := probe(t, n, host+"/app:1")
		if got := probetest.Want(t, c, "dns/"+host, report.Pass, "").Evidence["disagree"]; got != "" {
			t.Errorf("disagree=%s", got)
		}
	})
	t.Run("the hosts file blocks the name", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.31"))
		n.Hosts = view.ParseHostsFile([]byte("0.0.0.0 r.lab\n"))
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "from=hosts", "special=unspecified", "dnsSays=127.0.0.31", "disagree=true")
		probetest.Want(t, c, "dial/"+host+"/"+at("0.0.0.0"), report.Skipped, "", "refused")
		probetest.Want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Pass, "")
	})
	t.Run("a loopback answer where loopback is not dialled", func(t *testing.T) {
		n := withResolvers(t, base, "", answers("127.0.0.1"), answers("127.0.0.31"))
		n.Guard.Loopback = false
		c := probe(t, n, host+"/app:1")
		probetest.Want(t, c, "dns/"+host, report.Pass, "", "special=loopback", "disagree=true")
		probetest.Want(t, c, "elsewhere/"+host+"/"+at("127.0.0.31"), report.Skipped, "", "refused=a loopback address")
	})
}
