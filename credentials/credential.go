package credentials

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"
)

// Credential is a user name and password for one server. Its text forms never
// show the password.
type Credential struct {
	Server   string // as spelled in the secret
	Username string
	Password string
	Source   string // for people, for example "secret shop/regcred"
	Host     string // the only registry host it is sent to; empty: every host, mirrors included
	Note     string // fields of the entry that the kubelet ignores, as a sentence

	// IdentityToken is an OAuth2 refresh token. Only containerd's own
	// credentials have one.
	IdentityToken string

	secret string // name of the pod's secret that contains it
}

// String returns the source and the server. It hides user name and password.
func (c Credential) String() string {
	server := c.server()
	if strings.HasSuffix(c.Source, ", "+server) { // see disambiguate
		return c.Source
	}
	return c.Source + " for " + server
}

// Format prevents every verb of fmt from printing the fields.
func (c Credential) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

// LogValue prevents slog from printing the fields.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText prevents encoding/json from marshalling the fields.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// anonymous reports whether containerd ignores the credential and pulls
// anonymously: it checks for a user name first
// (internal/cri/server/images/image_pull.go, ParseAuth).
func (c Credential) anonymous() bool { return c.Username == "" && c.IdentityToken == "" }

// server returns the keyring key of the credential: without scheme, and without
// the user name and password that a URL may contain.
func (c Credential) server() string {
	key, ok := keyOf(c.Server)
	if !ok {
		return "an invalid URL"
	}
	return clean(key)
}

// clean removes invisible characters from a text of a secret or a file, and
// truncates it, so that it can be part of a report.
func clean(s string) string {
	const maxBytes = 120
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxBytes {
		s = strings.ToValidUTF8(s[:maxBytes], "") + "..."
	}
	return s
}
