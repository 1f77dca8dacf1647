package httpclient

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// This file is the only place that puts a login into a request: into the header
// Authorization, or into the form of a request for a token.

// Login is what a request is sent with.
type Login struct {
	Cred          credentials.Credential // the zero value is anonymous
	authorization string                 // the header that is sent for it
	to            string                 // the host that it is for
	IsToken       bool                   // the header has a token of the host's token service
	Withheld      string                 // why the probes do not send it; empty: they do
}

// Anonymous reports whether the login has no secret.
func (l Login) Anonymous() bool {
	_, secret := UsernameAndSecret(l.Cred)
	return secret == ""
}

// Sent reports whether a header Authorization is sent for the login.
func (l Login) Sent() bool { return l.authorization != "" }

// WithBasic returns the login with basic authentication for a host.
func (l Login) WithBasic(host string) Login {
	username, secret := UsernameAndSecret(l.Cred)
	l.to, l.authorization = host, "Basic "+base64.StdEncoding.EncodeToString([]byte(username+":"+secret))
	return l
}

// WithToken returns the login with a token for a host, which the host's token service gave.
func (l Login) WithToken(host, token string) Login {
	l.to, l.authorization = host, "Bearer "+token
	return l
}

// UsernameAndSecret returns what containerd makes of a credential (ParseAuth in its CRI
// plugin): a user name wins over an identity token, and no secret at all is
// anonymous.
func UsernameAndSecret(c credentials.Credential) (username, secret string) {
	if c.Username != "" {
		return c.Username, c.Password
	}
	return "", c.IdentityToken
}

// TokenRequest returns a request for a token to pull repo: GET with basic
// authentication, or POST as OAuth2 (the two ways of the distribution specification).
// A login without a secret is anonymous, and is sent by GET. service and scopes are those
// of the challenge.
func TokenRequest(method string, realm *url.URL, service string, scopes []string, repo string, cred credentials.Credential) Request {
	username, secret := UsernameAndSecret(cred)
	scopes = append(slices.Clone(scopes), "repository:"+repo+":pull")
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	r := Request{Method: method, Limit: 16 << 10}
	if method == http.MethodPost {
		r.URL = realm.String()
		r.By = Login{Cred: cred, to: realm.Host}
		r.form = url.Values{"client_id": {"containerd-client"}, "service": {service}, "scope": {strings.Join(scopes, " ")}}
		if username == "" {
			r.form.Set("grant_type", "refresh_token")
			r.form.Set("refresh_token", secret)
		} else {
			r.form.Set("grant_type", "password")
			r.form.Set("username", username)
			r.form.Set("password", secret)
		}
		return r
	}
	q := realm.Query()
	if service != "" {
		q.Set("service", service)
	}
	for _, scope := range scopes {
		q.Add("scope", scope)
	}
	withQuery := *realm
	withQuery.RawQuery = q.Encode()
	r.URL = withQuery.String()
	if secret != "" {
		r.By = Login{Cred: cred}.WithBasic(realm.Host)
	}
	return r
}

// authorize puts the login of r into req, which goes to target; away: a redirect has led
// to another host.
func authorize(req *http.Request, r Request, target *url.URL, away bool) error {
	switch {
	case !r.By.Sent() && r.form == nil:
		return nil
	case target.Scheme != "https":
		return &connect.BlockedError{Reason: "credentials are not sent over plain HTTP"}
	case away && r.form != nil:
		return &connect.BlockedError{Reason: "credentials are not sent along a redirect"}
	case away && !r.By.follows(target):
		return nil // nor is a header
	case !away && r.By.to != target.Host:
		return &connect.BlockedError{Reason: "credentials for another host are not sent to " + readable.Clean(target.Host, 80)}
	case r.form != nil:
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	default:
		req.Header.Set("Authorization", r.By.authorization)
	}
	return nil
}

func carriesLogin(req *http.Request) bool {
	return req.Header.Get("Authorization") != "" || req.Body != nil
}

// AddsLogin reports whether the headers that hosts.toml adds have a login.
func AddsLogin(h http.Header) bool {
	for key := range h {
		if isLogin(key) {
			return true
		}
	}
	return false
}

// isLogin reports whether a header, as hosts.toml writes it, has a login. Its name need
// not be canonical.
func isLogin(header string) bool { return http.CanonicalHeaderKey(header) == "Authorization" }

// follows reports whether the login is a token for anyone that the runtime sends along a
// redirect to target: it tells nothing, and the answer without it is another one.
func (l Login) follows(target *url.URL) bool {
	return l.IsToken && l.Anonymous() && SameSite(target.Host, l.to)
}

// SameSite reports whether net/http, and so the runtime, sends the Authorization for one
// host along a redirect to another: it does to the same host, or one below it.
func SameSite(to, from string) bool {
	a, _ := runtimeconfig.SplitHost(to, "https")
	b, _ := runtimeconfig.SplitHost(from, "https")
	a, b = strings.ToLower(a), strings.ToLower(b)
	return a == b || strings.HasSuffix(a, "."+b)
}

// IsPassword reports whether the login is a user name and a password in a header.
func (l Login) IsPassword() bool { return l.Sent() && !l.IsToken && !l.Anonymous() }

// refusedLogins remembers the passwords that a host refused (401): repeated failures may
// lock an account.
type refusedLogins struct {
	mutex   sync.Mutex
	answers map[[2]string]*Reply // by host and header
}

// unlessRefused sends a request with a password, one at a time, unless the host refused
// that before: then it returns the earlier answer.
func (l *refusedLogins) unlessRefused(by Login, send func() (*Reply, error)) (*Reply, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	key := [2]string{by.to, by.authorization}
	if earlier, ok := l.answers[key]; ok {
		again := *earlier
		again.Took = 0
		return &again, nil
	}
	rep, err := send()
	if err == nil && rep.Status == http.StatusUnauthorized && !rep.Dropped {
		if l.answers == nil {
			l.answers = map[[2]string]*Reply{}
		}
		l.answers[key] = rep
	}
	return rep, err
}
