package registry

import (
	"cmp"
	"fmt"
	"log/slog"
)

// Credential is one pull credential, already matched to the image. It never
// shows its secrets: not in fmt, not in slog, not in JSON.
type Credential struct {
	Username      string `json:"-"`
	Password      string `json:"-"`
	IdentityToken string `json:"-"` // an OAuth2 refresh token, traded for an access token at the token service
	RegistryToken string `json:"-"` // a bearer token; containerd ignores it, and so do the probes
	Source        string // where it is from, e.g. "secret shop/pull"
	Host          string // it goes to this host only; empty: to every host, as the kubelet's do
}

// String names the source only.
func (c Credential) String() string {
	return "credential from " + cmp.Or(c.Source, "unknown source")
}

// Format names the source only, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// LogValue names the source only.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// login is what containerd makes of the credential (ParseAuth in its CRI
// plugin): a user name wins over an identity token, a registry token counts for
// nothing, and no secret at all is anonymous.
func (c Credential) login() (username, secret string) {
	if c.Username != "" {
		return c.Username, c.Password
	}
	return "", c.IdentityToken
}
