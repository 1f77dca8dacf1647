package logins

import (
	"net/url"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Decision is what becomes of a login.
type Decision uint8

const (
	Send           Decision = iota // as the runtime does
	RuntimeHasNone                 // the runtime has no login for this place: the request goes anonymously
	Withhold                       // the runtime may send it, the probes do not
)

// Destination is a login and the place that it would be given to.
type Destination struct {
	Cred   credentials.Credential
	Host   runtimeconfig.Host // that requires a login
	Domain string             // of the image
	Realm  *url.URL           // of the token service that gets the login; nil: the host itself gets it
	Guess  string             // why the list of hosts is a guess; empty: it is known
}

// Decide decides whether the login goes there. containerd has one login for a pull, the
// one that the kubelet sends along, and gives it to every host that requires one, or to
// the realm that this host names. Without one it uses its own for a host
// (registry.configs.HOST.auth), at that host alone (internal/cri/server/images,
// PullImage and ParseAuth).
func (d Destination) Decide() (Decision, string) {
	_, secret := httpclient.UsernameAndSecret(d.Cred)
	own := d.Cred.Host != ""
	mirror := d.Host.Configured && d.Host.IsMirrorOf(d.Domain)
	switch {
	case secret == "":
		return Send, ""
	case d.Host.Foreign:
		return RuntimeHasNone, "another host refers to it"
	case own && d.Cred.Host != d.Host.Host:
		return RuntimeHasNone, "it is the runtime's own login for another host"
	case own && d.Host.BlobsOnly:
		return RuntimeHasNone, "it is the runtime's own login, and this mirror is for layers only"
	case d.Guess != "" && mirror:
		return Withhold, d.Guess
	case d.Host.Scheme != "https", d.Realm != nil && d.Realm.Scheme == "http":
		return Withhold, OverPlainHTTP
	case d.Realm != nil && d.Realm.Scheme != "https":
		return Withhold, "it is not an address of HTTP"
	}
	return Send, ""
}

// OverPlainHTTP is why a login is withheld that the runtime would send.
const OverPlainHTTP = "over plain HTTP"
