package registry

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/logins"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// This file is the only place that makes a login for a host. Before it does,
// [logins.Destination.Decide] says whether the runtime gives this login to that place.

// model is what is known of the runtime that pulls.
type model struct {
	version string // of containerd; empty: the newest
	guess   string // why the list of hosts is a guess; empty: it is known
}

// newModel returns the model of the runtime of a node for a target.
func newModel(config runtimeconfig.RegistryConfig, t Target) model {
	m := model{version: t.RuntimeVersion}
	switch {
	case t.Runtime != "" && t.Runtime != "containerd":
		m.guess = "the hosts that " + readable.Clean(t.Runtime, 20) + " contacts are not known"
	case !runtimeconfig.Modelled(t.RuntimeVersion):
		m.guess = "the hosts that containerd " + readable.Clean(t.RuntimeVersion, 20) + " contacts are not known"
	case config.Assumed:
		m.guess = "the configuration of the runtime, and so the hosts that it contacts, are not known"
	}
	return m
}

// authorizer gets what one host requires in Authorization.
type authorizer struct {
	client *httpclient.Client
	host   runtimeconfig.Host
	domain string             // of the image
	guess  string             // why the runtime's hosts are a guess; empty: they are known
	plain  bool               // the runtime's requests for tokens have no headers of hosts.toml
	route  *tokens.Route      // to the token service; nil: it was not checked
	sent   *sentLogins        // nil: not shared with other hosts
	secret func(token string) // gets each token before it is sent
}

// loginsFor returns the credentials that the runtime uses at the host, or else the
// anonymous one.
func (a authorizer) loginsFor(all []credentials.Credential) []credentials.Credential {
	var out []credentials.Credential
	for _, c := range all {
		_, secret := httpclient.UsernameAndSecret(c)
		if d, _ := a.destination(c, nil).Decide(); secret != "" && d != logins.RuntimeHasNone {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []credentials.Credential{{}}
	}
	return out
}

func (a authorizer) destination(cred credentials.Credential, realm *url.URL) logins.Destination {
	return logins.Destination{Cred: cred, Host: a.host, Domain: a.domain, Realm: realm, Guess: a.guess}
}

// logIn gets what the host requires in Authorization for a repository. The login
// has none if there is none, or if it may not be sent.
func (a authorizer) logIn(
	ctx context.Context, ch answers.Challenge, cred credentials.Credential, repository string,
) (httpclient.Login, *tokens.Result) {
	var realm *url.URL
	if ch.Bearer {
		var failed *tokens.Result
		if realm, failed = tokens.Realm(ch); failed != nil {
			return httpclient.Login{Cred: cred, IsToken: true}, failed
		}
	}
	d, reason := a.destination(cred, realm).Decide()
	if d == logins.RuntimeHasNone {
		cred = credentials.Credential{}
	}
	by := httpclient.Login{Cred: cred, IsToken: ch.Bearer}
	if d == logins.Withhold {
		by.Withheld = reason
		if !ch.Bearer || a.host.Scheme != "https" {
			return by, nil
		}
		t := withheldToken(realm, reason)
		return by, &t
	}
	username, secret := httpclient.UsernameAndSecret(cred)
	switch {
	case ch.Bearer:
		t := a.fetchOnce(ctx, a.tokenRequest(ch, realm, repository, cred))
		if t.Outcome == report.Pass {
			if len(t.Token) >= minToken {
				a.secret(t.Token)
			}
			by = by.WithToken(a.host.Host, t.Token)
		}
		return by, &t
	case username != "" && secret != "":
		by = by.WithBasic(a.host.Host)
	}
	return by, nil
}

func (a authorizer) tokenRequest(
	ch answers.Challenge, realm *url.URL, repository string, cred credentials.Credential,
) tokens.Request {
	return tokens.Request{
		Client: a.client, Host: a.host, Domain: a.domain, Route: a.route, Plain: a.plain,
		Challenge: ch, Realm: realm, Repository: repository, Cred: cred,
	}
}

// fetchOnce gets a token, unless the realm has refused this login to another host of the
// same image.
func (a authorizer) fetchOnce(ctx context.Context, r tokens.Request) tokens.Result {
	if _, secret := httpclient.UsernameAndSecret(r.Cred); secret == "" || a.sent == nil {
		return r.Fetch(ctx)
	}
	one := a.sent.at(r.Realm, r.Cred, r.Repository)
	one.Lock()
	defer one.Unlock()
	if one.refused != nil {
		t := *one.refused
		t.Message += ", as it did for another host of this image"
		t.Clock, t.Took = nil, 0
		return t
	}
	t := r.Fetch(ctx)
	if t.Status == http.StatusUnauthorized || t.Status == http.StatusForbidden {
		one.refused = &t
	}
	return t
}

func withheldToken(realm *url.URL, reason string) tokens.Result {
	service := readable.Clean(realm.Host, 80)
	t := tokens.NotSent("skipped: credentials are not sent to the token service " + service + ": " + reason)
	if reason == logins.OverPlainHTTP {
		t = tokens.NotSent("skipped: the token service " + service + " has no TLS, and credentials are not sent without it")
		t.Facts[report.KeyRealmPlain] = report.True
	}
	t.Facts[report.KeyLoginNotSent] = reason
	return t
}

// sentLogins remembers, for one diagnosis, which realm refused which login: several
// hosts may name one realm, and repeated failures may lock an account.
type sentLogins struct{ byRealm sync.Map }

// sentLogin is one login at one realm.
type sentLogin struct {
	sync.Mutex
	refused *tokens.Result // nil: it was not refused
}

func (s *sentLogins) at(realm *url.URL, cred credentials.Credential, repository string) *sentLogin {
	username, secret := httpclient.UsernameAndSecret(cred)
	key := strings.Join([]string{realmKey(realm), username, secret, repository}, "\x00")
	one, _ := s.byRealm.LoadOrStore(key, new(sentLogin))
	return one.(*sentLogin)
}

// refused reports whether the realm has refused the login.
func (s *sentLogins) refused(realm *url.URL, cred credentials.Credential, repository string) bool {
	if s == nil {
		return false
	}
	one := s.at(realm, cred, repository)
	one.Lock()
	defer one.Unlock()
	return one.refused != nil
}

// realmKey names a realm for the memory of refused logins.
func realmKey(realm *url.URL) string { return realm.Scheme + "://" + realm.Host + realm.Path }

// withheldCheck is the end of an attempt whose login is not sent to the host itself.
func withheldCheck(name string, by httpclient.Login) report.Check {
	check := report.Check{
		Outcome:  report.Skipped,
		Summary:  "credentials are not sent to " + name + ": " + by.Withheld,
		Evidence: evidence.Facts{report.KeyLoginNotSent: by.Withheld},
	}
	if by.Withheld == logins.OverPlainHTTP {
		check.Summary = "credentials are not sent to " + name + " over plain HTTP (the runtime would)"
		check.Evidence[report.KeyRuntimeWouldSend] = report.True
	}
	return check
}

func sourceOf(cred credentials.Credential) string {
	return cmp.Or(readable.Clean(cred.Source, 80), "a credential")
}
