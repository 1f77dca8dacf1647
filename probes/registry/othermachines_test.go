package registry

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// A manifest that is refused is requested at the host's other addresses, too. An address
// that the runtime does not use gets no login, and no header of hosts.toml.
func TestOtherMachinesAreAsked(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	var usedLog, otherLog recorder
	lacks := func(log *recorder) http.Handler {
		return log.wrap(status(404, nil, probetest.OCIError("MANIFEST_UNKNOWN", "unknown")))
	}
	registry, gotHeader := probetest.NewRegistry(t), false
	port := probetest.Serve(t, &cert, otherLog.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gotHeader = gotHeader || r.Header.Get("X-Key") != ""
		registry.ServeHTTP(w, r)
	}))) // DNS has 127.0.0.1 for every name
	probetest.ServeAt(t, "127.0.0.2", port, &cert, lacks(&usedLog))
	host := fmt.Sprintf("r.lab:%d", port)
	hosts := func(hostsFile string) map[string]string {
		return map[string]string{
			"/etc/hosts": hostsFile,
			"/etc/containerd/certs.d/" + host + "/hosts.toml": fmt.Sprintf("server = \"https://%s\"\n[header]\nX-Key = \"canary-header\"\n", host),
		}
	}

	pinned := newProber(t, ca, hosts("127.0.0.2 r.lab\n"))
	c := probetest.Want(t, probe(t, pinned, host+"/app:1"), "manifest/"+host, report.Fail, report.TagNotFound, "answerElsewhere=127.0.0.1 200")
	if c.Evidence[report.KeyOtherMachines] != "" || gotHeader {
		t.Errorf("evidence %v; header of hosts.toml sent: %v", c.Evidence, gotHeader)
	}

	both := newProber(t, ca, hosts("127.0.0.2 r.lab\n127.0.0.1 r.lab\n"))
	probetest.Want(t, probe(t, both, host+"/app:1"), "manifest/"+host, report.Fail, report.TagNotFound, "otherMachines=127.0.0.1 200")

	// With a login.
	asked := len(otherLog.all())
	login := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/b"}
	probetest.ServeAt(t, "127.0.0.3", port, &cert, basicAuth("joe", "canary-secret", lacks(&usedLog)))
	c = probetest.Want(t, probe(t, newProber(t, ca, hosts("127.0.0.3 r.lab\n")), host+"/app:1", login), "manifest/"+host, report.Fail, report.TagNotFound)
	if got := otherLog.all(); len(got) != asked || c.Evidence[report.KeyAnswerElsewhere] != "" {
		t.Errorf("requests at the other address: %q, evidence %v", got[asked:], c.Evidence)
	}
}
