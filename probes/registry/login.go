package registry

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// login is what a request is sent with.
type login struct {
	cred          credentials.Credential // the zero value is anonymous
	authorization string                 // the header that is sent for it
	isToken       bool                   // the header has a token of the host's token service
}

func (l login) anonymous() bool {
	_, secret := loginOf(l.cred)
	return secret == ""
}

// loginOf returns what containerd makes of a credential (ParseAuth in its CRI
// plugin): a user name wins over an identity token, and no secret at all is
// anonymous.
func loginOf(c credentials.Credential) (username, secret string) {
	if c.Username != "" {
		return c.Username, c.Password
	}
	return "", c.IdentityToken
}

// loginsFor returns the credentials for a host that have a secret, or else the
// anonymous one.
func loginsFor(host string, all []credentials.Credential) []credentials.Credential {
	var out []credentials.Credential
	for _, c := range all {
		if _, secret := loginOf(c); secret != "" && (c.Host == "" || c.Host == host) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []credentials.Credential{{}}
	}
	return out
}

// logIn gets what the host requires in Authorization for a repository. The login
// has none if there is none, or if it may not be sent.
func (s *session) logIn(ctx context.Context, ch challenge, cred credentials.Credential, repository string) (login, *tokenResult) {
	by := login{cred: cred, isToken: ch.bearer}
	username, secret := loginOf(cred)
	switch {
	case secret != "" && s.host.Scheme != "https":
	case ch.bearer:
		t := s.client.fetchToken(ctx, ch, repository, username, secret)
		if t.outcome == report.Pass {
			if len(t.token) >= minToken {
				s.addSecret(t.token)
			}
			by.authorization = "Bearer " + t.token
		}
		return by, &t
	case username != "" && secret != "":
		by.authorization = basic(username, secret)
	}
	return by, nil
}

// attempt is the request for the manifest with one login.
type attempt struct {
	source string // of the credential; empty is anonymous
	rank   int    // how far it came: the attempt that came furthest decides
	status int    // of the registry, or of the token service where it ended
	by     login
	rep    *reply
	check  report.Check // outcome, cause, summary, evidence
	final  bool         // no other login is tried
}

// end returns how the attempt ended, in a word or a number.
func (a attempt) end() string {
	switch {
	case a.check.Outcome == report.Skipped:
		return "not sent"
	case a.status != 0:
		return strconv.Itoa(a.status)
	case a.check.Cause != "":
		return string(a.check.Cause)
	}
	return a.check.Outcome.String()
}

// tryUnlessRejected tries a login, unless the host rejected it a short while ago:
// repeated failures may lock an account.
func (c *manifestCheck) tryUnlessRejected(ctx context.Context, cred credentials.Credential) (attempt, *tokenResult) {
	username, secret := loginOf(cred)
	rejections, host := c.session.target.Refusals, c.session.host.Name()
	if rejections == nil || secret == "" {
		return c.tryLogin(ctx, cred)
	}
	if until, rejected := rejections.Contains(host, username, secret); rejected {
		return attempt{by: login{cred: cred}, source: sourceOf(cred), rank: 1, check: report.Check{
			Outcome: report.Fail, Cause: report.CredentialsRejected,
			Summary: host + " rejected these credentials a short while ago; to avoid a locked account they are not sent again before " +
				report.Time(until),
			Evidence: evidence.Facts{report.KeyRemembered: report.True, report.KeyNotBefore: until.UTC().Format(time.RFC3339)},
		}}, nil
	}
	a, token := c.tryLogin(ctx, cred)
	if a.check.Cause == report.CredentialsRejected || a.check.Cause == report.CredentialsExpired {
		rejections.Add(host, username, secret)
	}
	return a, token
}

func sourceOf(cred credentials.Credential) string {
	return cmp.Or(report.Clean(cred.Source, 80), "a credential")
}

// tryLogin requests the manifest with one login.
func (c *manifestCheck) tryLogin(ctx context.Context, cred credentials.Credential) (attempt, *tokenResult) {
	s := c.session
	by, token := s.logIn(ctx, c.challenge, cred, s.ref.Path)
	a, ended := c.endedBefore(by, token)
	if !ended {
		start := time.Now()
		if rep, err := s.head(ctx, by.authorization); err == nil {
			a = s.judge(rep, by)
		} else {
			a = attempt{rank: 4, final: true}
			s.requestFailed(&a.check, err, time.Since(start))
		}
	}
	a.by = by
	if !by.anonymous() {
		a.source = sourceOf(cred)
	}
	if a.markExpired() && token != nil && token.cause != "" {
		token.cause = report.CredentialsExpired
	}
	return a, token
}

// endedBefore returns the attempt that ended before the manifest was requested;
// ended is false if nothing blocks the request.
func (c *manifestCheck) endedBefore(by login, token *tokenResult) (a attempt, ended bool) {
	s, service := c.session, c.challenge.serviceHost()
	switch {
	case by.authorization != "":
		return a, false
	case token != nil:
		// A service that does not know the login comes less far than one that knows it
		// and refuses this repository.
		a.rank = map[report.Cause]int{
			report.CredentialsMissing:    1,
			report.CredentialsRejected:   1,
			report.AccessDeniedOrMissing: 2,
			report.AccessForbidden:       2,
		}[token.cause]
		if a.rank == 0 {
			a.rank = 4
		}
		a.status, a.final = token.status, token.cause == report.RateLimited
		a.check.Outcome, a.check.Cause = report.Skipped, token.cause
		a.check.Summary = "skipped: no token from " + service + ": " + token.message
		if token.outcome == report.Fail {
			a.check.Outcome = report.Fail
			a.check.Summary = "no token for " + s.ref.Path + " from " + service + ": " + token.message
		}
		a.check.BlockedBy = report.TokenID(s.host.Name())
	case !by.anonymous() && s.host.Scheme != "https":
		a.rank = 4
		a.check.Outcome = report.Skipped
		a.check.Summary = "credentials are not sent to " + s.host.Name() + " over plain HTTP (the runtime would)"
		a.check.Evidence = evidence.Facts{report.KeyRuntimeWouldSend: report.True}
	default:
		a.rank = 1
		a.check.Outcome, a.check.Cause = report.Fail, report.CredentialsMissing
		a.check.Summary = s.host.Name() + " requires basic auth, and there are no credentials"
		a.check.Evidence = evidence.Facts{report.KeyStatus: "401"}
	}
	return a, true
}

// markExpired reports whether the credentials themselves had expired, and makes
// that the cause of a refusal: ECR answers 403 to an expired token, others 401.
func (a *attempt) markExpired() bool {
	switch a.check.Cause {
	case report.CredentialsRejected, report.AccessForbidden, report.AccessDeniedOrMissing:
	default:
		return false
	}
	_, secret := loginOf(a.by.cred)
	until, ok := credentials.Expiry(secret)
	if !ok {
		return false
	}
	a.check.Evidence = evidence.With(a.check.Evidence, report.KeyCredentialExpires, until.UTC().Format(time.RFC3339))
	now := time.Now()
	if a.rep != nil {
		if date, err := http.ParseTime(a.rep.header.Get("Date")); err == nil {
			now = date // the registry's clock decides
		}
	}
	if !until.Before(now) {
		return false
	}
	a.check.Cause = report.CredentialsExpired
	a.check.Summary = "the credentials expired on " + report.Time(until) + "; " + a.check.Summary
	return true
}
