package registry

import (
	"strconv"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// What the runtime's dialer does at real addresses, and what is reported.
func TestTakenAddress(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	good, bad := ca.Good(t, "r.lab"), ca.Good(t, "elsewhere.lab")
	registry := probetest.NewRegistry(t)
	port := probetest.Serve(t, &bad, registry)
	probetest.ServeAt(t, "127.0.0.2", port, &good, registry)
	n := newProber(t, ca, nil)
	host := "r.lab:" + strconv.Itoa(int(port))

	t.Run("TLS that fails at the first address is final", func(t *testing.T) {
		m := *n
		m.Hosts = view.ParseHostsFile([]byte("127.0.0.1 r.lab\n127.0.0.2 r.lab\n"))
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "tls/"+host+"/127.0.0.1:"+strconv.Itoa(int(port)), report.Fail, report.CertificateNameMismatch, "taken=true", "goodAddresses=127.0.0.2:"+strconv.Itoa(int(port)))
		if got := probetest.Want(t, c, "registry/"+host, report.Skipped, "").BlockedBy; got != "tls/"+host+"/127.0.0.1:"+strconv.Itoa(int(port)) {
			t.Errorf("blocked by %s", got)
		}
	})
	t.Run("TLS that would fail at the second does not matter", func(t *testing.T) {
		m := *n
		m.Hosts = view.ParseHostsFile([]byte("127.0.0.2 r.lab\n127.0.0.1 r.lab\n"))
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/127.0.0.2:"+strconv.Itoa(int(port)), report.Pass, "", "taken=true")
		probetest.Want(t, c, "registry/"+host, report.Pass, "")
	})
	t.Run("dead v6 beside a living v4", func(t *testing.T) {
		m := *n
		m.Hosts = view.ParseHostsFile([]byte("::1 r.lab\n127.0.0.2 r.lab\n"))
		c := probe(t, &m, host+"/app:1")
		probetest.Want(t, c, "dial/"+host+"/[::1]:"+strconv.Itoa(int(port)), report.Fail, report.ConnectionRefused)
		probetest.Want(t, c, "dial/"+host+"/127.0.0.2:"+strconv.Itoa(int(port)), report.Pass, "", "taken=true")
		probetest.Want(t, c, "registry/"+host, report.Pass, "")
	})
}
