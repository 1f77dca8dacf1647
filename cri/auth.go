package cri

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/report"
)

// Auth is one pull credential, as the kubelet would hand it to the runtime.
// However it is printed, marshalled or logged, only its source shows.
type Auth struct {
	Username      string
	Password      string
	Auth          string // base64 of "username:password", where the secret has only that
	ServerAddress string
	IdentityToken string // exchanged for a bearer token at the token service
	RegistryToken string // sent to the registry as a bearer token
	Source        string // where it is from, e.g. "secret default/regcred"; never secret
}

const redacted = "[redacted]"

func (a Auth) String() string               { return "credential from " + a.source() }
func (a Auth) GoString() string             { return "cri.Auth{" + a.String() + "}" }
func (a Auth) Format(f fmt.State, _ rune)   { fmt.Fprint(f, a.String()) }
func (a Auth) LogValue() slog.Value         { return slog.StringValue(a.String()) }
func (a Auth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a Auth) source() string {
	if s := report.Clean(a.Source, 200); s != "" {
		return s
	}
	return "an unnamed source"
}

func (a Auth) config() *runtimeapi.AuthConfig {
	return &runtimeapi.AuthConfig{
		Username:      a.Username,
		Password:      a.Password,
		Auth:          a.Auth,
		ServerAddress: a.ServerAddress,
		IdentityToken: a.IdentityToken,
		RegistryToken: a.RegistryToken,
	}
}

// minSecret is the shortest secret that is looked for: one of a letter or two
// is in every text, and taking it out would only garble that.
const minSecret = 4

// hide takes the secrets of a out of text, plain and as they travel.
func (a Auth) hide(text string) string {
	secrets := []string{a.Password, a.Auth, a.IdentityToken, a.RegistryToken}
	if a.Password != "" {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password)))
	}
	if _, password, ok := strings.Cut(decoded(a.Auth), ":"); ok {
		secrets = append(secrets, password)
	}
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}

func decoded(b64 string) string {
	b, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return ""
	}
	return string(b)
}
