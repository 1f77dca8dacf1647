package logins

import (
	"net/url"
	"testing"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Every combination of a login and a place: where it goes, where the runtime has none
// to send, and where the probes withhold it.
func TestDecide(t *testing.T) {
	const registry, mirror = "r.lab", "m.lab"
	realms := map[string]*url.URL{
		"none":       nil,
		"https":      {Scheme: "https", Host: "auth.lab"},
		"plain http": {Scheme: "http", Host: "auth.lab"},
		"ftp":        {Scheme: "ftp", Host: "auth.lab"},
	}
	hosts := map[string]runtimeconfig.Host{
		"registry":      {Host: registry},
		"named mirror":  {Host: mirror, Configured: true},
		"layers mirror": {Host: mirror, Configured: true, BlobsOnly: true},
		"referred":      {Host: "auth.lab", Foreign: true},
	}
	creds := map[string]credentials.Credential{
		"anonymous":                      {},
		"pod secret":                     {Username: "u", Password: "p", Source: "secret a/b"},
		"node file":                      {Username: "u", Password: "p", Source: "node /var/lib/kubelet/config.json"},
		"provider":                       {Username: "u", Password: "p", Source: "provider ecr"},
		"identity token":                 {IdentityToken: "i", Source: "secret a/b"},
		"the runtime's for the registry": {Username: "u", Password: "p", Host: registry},
		"the runtime's for the mirror":   {Username: "u", Password: "p", Host: mirror},
	}
	guesses := map[string]string{"known": "", "guess": "unknown"}
	counts := map[Decision]int{}
	for hostName, host := range hosts {
		for _, scheme := range []string{"https", "http"} {
			for loginName, cred := range creds {
				for realmName, realm := range realms {
					for hostsAre, guess := range guesses {
						host.Scheme = scheme
						got, reason := Destination{cred, host, registry, realm, guess}.Decide()
						counts[got]++
						_, secret := httpclient.UsernameAndSecret(cred)
						var want Decision
						switch {
						case secret == "":
							want = Send
						case hostName == "referred", cred.Host != "" && (cred.Host != host.Host || hostName == "layers mirror"):
							want = RuntimeHasNone
						case hostsAre == "guess" && hostName != "registry", scheme == "http", realmName == "plain http", realmName == "ftp":
							want = Withhold
						}
						if got != want || (reason == "") != (want == Send) {
							t.Errorf("%s at the %s by %s, realm %s, hosts %s: %d (%q), want %d", loginName, hostName, scheme, realmName, hostsAre, got, reason, want)
						}
					}
				}
			}
		}
	}
	for _, d := range []Decision{Send, RuntimeHasNone, Withhold} {
		if counts[d] == 0 {
			t.Errorf("no combination ends in %d", d)
		}
	}
}
