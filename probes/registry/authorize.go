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
	"github.com/pullprobe/pullprobe/report"
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
		m.guess = "the hosts that " + report.Clean(t.Runtime, 20) + " contacts are not known"
	case !runtimeconfig.Modelled(t.RuntimeVersion):
		m.guess = "the hosts that containerd " + report.Clean(t.RuntimeVersion, 20) + " contacts are not known"
	case config.Assumed:
		m.guess = "the configuration of the runtime, and so the hosts that it contacts, are not known"
	}
	return m
}

// loginsFor returns the credentials that the runtime uses at a host, or else the
// anonymous one.
func (s *session) loginsFor(all []credentials.Credential) []credentials.Credential {
	var out []credentials.Credential
	for _, c := range all {
		_, secret := httpclient.UsernameAndSecret(c)
		if d, _ := s.destination(c, nil).Decide(); secret != "" && d != logins.RuntimeHasNone {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []credentials.Credential{{}}
	}
	return out
}

func (s *session) destination(cred credentials.Credential, realm *url.URL) logins.Destination {
	return logins.Destination{Cred: cred, Host: s.host, Domain: s.ref.Domain, Realm: realm, Guess: s.model.guess}
}

// logIn gets what the host requires in Authorization for a repository. The login
// has none if there is none, or if it may not be sent.
func (s *session) logIn(
	ctx context.Context, ch answers.Challenge, cred credentials.Credential, repository string,
) (httpclient.Login, *tokenResult) {
	var realm *url.URL
	if ch.Bearer {
		var failed *tokenResult
		if realm, failed = realmURL(ch); failed != nil {
			return httpclient.Login{Cred: cred, IsToken: true}, failed
		}
	}
	d, reason := s.destination(cred, realm).Decide()
	if d == logins.RuntimeHasNone {
		cred = credentials.Credential{}
	}
	by := httpclient.Login{Cred: cred, IsToken: ch.Bearer}
	if d == logins.Withhold {
		by.Withheld = reason
		if !ch.Bearer || s.host.Scheme != "https" {
			return by, nil
		}
		t := withheldToken(realm, reason)
		return by, &t
	}
	username, secret := httpclient.UsernameAndSecret(cred)
	switch {
	case ch.Bearer:
		t := s.fetchTokenOnce(ctx, ch, realm, repository, cred)
		if t.outcome == report.Pass {
			if len(t.token) >= minToken {
				s.addSecret(t.token)
			}
			by = by.WithToken(s.host.Host, t.token)
		}
		return by, &t
	case username != "" && secret != "":
		by = by.WithBasic(s.host.Host)
	}
	return by, nil
}

func withheldToken(realm *url.URL, reason string) tokenResult {
	service := report.Clean(realm.Host, 80)
	t := notSent("skipped: credentials are not sent to the token service " + service + ": " + reason)
	if reason == logins.OverPlainHTTP {
		t = notSent("skipped: the token service " + service + " has no TLS, and credentials are not sent without it")
		t.facts[report.KeyRealmPlain] = report.True
	}
	t.facts[report.KeyLoginNotSent] = reason
	return t
}

// sentLogins remembers, for one diagnosis, which realm refused which login: several
// hosts may name one realm, and repeated failures may lock an account.
type sentLogins struct{ byRealm sync.Map }

// sentLogin is one login at one realm.
type sentLogin struct {
	sync.Mutex
	refused *tokenResult // nil: it was not refused
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

// fetchTokenOnce gets a token, unless the realm has refused this login to another host
// of the same image.
func (s *session) fetchTokenOnce(
	ctx context.Context, ch answers.Challenge, realm *url.URL, repository string, cred credentials.Credential,
) tokenResult {
	if _, secret := httpclient.UsernameAndSecret(cred); secret == "" || s.sentLogins == nil {
		return s.fetchToken(ctx, ch, realm, repository, cred)
	}
	one := s.sentLogins.at(realm, cred, repository)
	one.Lock()
	defer one.Unlock()
	if one.refused != nil {
		t := *one.refused
		t.message += ", as it did for another host of this image"
		t.clock, t.took = nil, 0
		return t
	}
	t := s.fetchToken(ctx, ch, realm, repository, cred)
	if t.status == http.StatusUnauthorized || t.status == http.StatusForbidden {
		one.refused = &t
	}
	return t
}

// withheldCheck is the end of an attempt whose login is not sent to the host itself.
func (s *session) withheldCheck(by httpclient.Login) report.Check {
	check := report.Check{
		Outcome:  report.Skipped,
		Summary:  "credentials are not sent to " + s.host.Name() + ": " + by.Withheld,
		Evidence: evidence.Facts{report.KeyLoginNotSent: by.Withheld},
	}
	if by.Withheld == logins.OverPlainHTTP {
		check.Summary = "credentials are not sent to " + s.host.Name() + " over plain HTTP (the runtime would)"
		check.Evidence[report.KeyRuntimeWouldSend] = report.True
	}
	return check
}

func sourceOf(cred credentials.Credential) string {
	return cmp.Or(report.Clean(cred.Source, 80), "a credential")
}
