package registry

import (
	"net/url"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// decision is what becomes of a login.
type decision uint8

const (
	send        decision = iota // as the runtime does
	runtimeNone                 // the runtime has no login for this place: the request goes anonymously
	withhold                    // the runtime may send it, the probes do not
)

// destination is a login and the place that it would be given to.
type destination struct {
	cred   credentials.Credential
	host   runtimeconfig.Host // that requires a login
	domain string             // of the image
	realm  *url.URL           // of the token service that gets the login; nil: the host itself gets it
	guess  string             // why the list of hosts is a guess; empty: it is known
}

// decide decides whether the login goes there. containerd has one login for a pull, the
// one that the kubelet sends along, and gives it to every host that requires one, or to
// the realm that this host names. Without one it uses its own for a host
// (registry.configs.HOST.auth), at that host alone (internal/cri/server/images,
// PullImage and ParseAuth).
func (d destination) decide() (decision, string) {
	_, secret := httpclient.UsernameAndSecret(d.cred)
	own := d.cred.Host != ""
	mirror := d.host.Configured && d.host.IsMirrorOf(d.domain)
	switch {
	case secret == "":
		return send, ""
	case d.host.Foreign:
		return runtimeNone, "another host refers to it"
	case own && d.cred.Host != d.host.Host:
		return runtimeNone, "it is the runtime's own login for another host"
	case own && d.host.BlobsOnly:
		return runtimeNone, "it is the runtime's own login, and this mirror is for layers only"
	case d.guess != "" && mirror:
		return withhold, d.guess
	case d.host.Scheme != "https", d.realm != nil && d.realm.Scheme == "http":
		return withhold, overPlainHTTP
	case d.realm != nil && d.realm.Scheme != "https":
		return withhold, "it is not an address of HTTP"
	}
	return send, ""
}

// overPlainHTTP is why a login is withheld that the runtime would send.
const overPlainHTTP = "over plain HTTP"
