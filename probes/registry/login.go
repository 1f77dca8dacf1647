package registry

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/logins"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// attempt is the request for the manifest with one login.
type attempt struct {
	source string // of the credential; empty is anonymous
	rank   int    // how far it came: the attempt that came furthest decides
	status int    // of the registry, or of the token service where it ended
	by     httpclient.Login
	rep    *httpclient.Reply
	check  report.Check // outcome, cause, summary, evidence
	final  bool         // no other login is tried

	answers []string // to the last request for the manifest, with those that it was sent again after
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
func (c *manifestCheck) tryUnlessRejected(ctx context.Context, cred credentials.Credential) (attempt, *tokens.Result) {
	username, secret := httpclient.UsernameAndSecret(cred)
	rejections := c.session.target.Refusals
	if rejections == nil || secret == "" {
		return c.tryLogin(ctx, cred)
	}
	places := c.loginPlaces()
	if old, rejected := c.rejection(places, username, secret); rejected && !c.refusedNow(cred) {
		return c.remembered(old, cred)
	}
	a, token := c.tryLogin(ctx, cred)
	if a.check.Cause == report.CredentialsRejected || a.check.Cause == report.CredentialsExpired {
		answer := c.answerOf(a, token)
		for _, place := range places {
			rejections.Add(place, username, secret, answer)
		}
	}
	return a, token
}

// rejection returns an earlier rejection of a login at one of these places: one of the
// same request, if there is one.
func (c *manifestCheck) rejection(places []string, username, secret string) (found credentials.Rejection, rejected bool) {
	for _, place := range places {
		old, known := c.session.target.Refusals.Find(place, username, secret)
		if known && (!rejected || old.Answer.About == c.about()) {
			found, rejected = old, true
		}
	}
	return found, rejected
}

// about names the request that a login is for: the host, its repository, and what it
// requires.
func (c *manifestCheck) about() string {
	return strings.Join(append(c.loginPlaces(), c.session.ref.Path, c.challenge.Scheme()), " ")
}

// answerOf returns the answer to a rejected login, to be remembered: the token service's, or
// else the host's. It is zero if the host rejected a token.
func (c *manifestCheck) answerOf(a attempt, token *tokens.Result) credentials.Answer {
	switch {
	case token == nil:
		return credentials.Answer{
			About: c.about(), Status: a.status, Cause: a.check.Cause, Summary: a.check.Summary, Facts: a.check.Evidence,
		}
	case token.Outcome == report.Fail:
		return credentials.Answer{
			About: c.about(), Status: token.Status, Cause: token.Cause, Summary: token.Message, Facts: token.Facts,
		}
	}
	return credentials.Answer{}
}

// remembered returns the attempt with a login that was rejected earlier and is not sent: the
// answer to the same request, or else only that there was a rejection.
func (c *manifestCheck) remembered(old credentials.Rejection, cred credentials.Credential) (attempt, *tokens.Result) {
	a := attempt{by: httpclient.Login{Cred: cred, IsToken: c.challenge.Bearer}, rank: 1}
	facts := evidence.Facts{report.KeyRemembered: report.True, report.KeyNotBefore: old.Until.UTC().Format(time.RFC3339)}
	until := "to avoid a locked account, these credentials are not sent again before " + readable.Time(old.Until) + "; others are sent at once"
	var token *tokens.Result
	switch answer := old.Answer; {
	case answer.About != c.about():
		a.check = report.Check{
			Outcome: report.Fail, Cause: report.CredentialsRejected, Evidence: facts,
			Summary: c.session.host.Name() + ", or its token service, rejected these credentials for another image at " +
				readable.Time(old.At) + "; " + until,
		}
	case c.challenge.Bearer:
		token = &tokens.Result{
			Status: answer.Status, Outcome: report.Fail, Cause: report.CredentialsRejected, Message: answer.Summary, Facts: maps.Clone(answer.Facts),
		}
		by := a.by
		a, _ = c.endedBefore(by, token)
		a.by, a.rank = by, 1
		if a.markExpired() {
			token.Cause = report.CredentialsExpired
		}
	default:
		a.status = answer.Status
		a.check = report.Check{Outcome: report.Fail, Cause: answer.Cause, Summary: answer.Summary, Evidence: maps.Clone(answer.Facts)}
	}
	if old.Answer.About == c.about() {
		a.check.Summary += " (answered at " + readable.Time(old.At) + "; " + until + ")"
		facts[report.KeyAnsweredAt] = old.At.UTC().Format(time.RFC3339)
		for key, value := range facts {
			a.check.Evidence = evidence.With(a.check.Evidence, key, value)
		}
	}
	a.source = sourceOf(cred)
	return a, token
}

// refusedNow reports whether this diagnosis has sent the login to the realm, which
// refused it: that is not a memory, and the login is not sent again.
func (c *manifestCheck) refusedNow(cred credentials.Credential) bool {
	realm, failed := tokens.Realm(c.challenge)
	return failed == nil && c.challenge.Bearer && c.session.sentLogins.refused(realm, cred, c.session.ref.Path)
}

// loginPlaces returns the names under which a rejected login is remembered: the host,
// and the realm that it names, which other hosts may name too.
func (c *manifestCheck) loginPlaces() []string {
	places := []string{c.session.host.Name()}
	if c.challenge.Bearer {
		if realm, failed := tokens.Realm(c.challenge); failed == nil {
			places = append(places, realmKey(realm))
		}
	}
	return places
}

// tryLogin requests the manifest with one login.
func (c *manifestCheck) tryLogin(ctx context.Context, cred credentials.Credential) (attempt, *tokens.Result) {
	s := c.session
	by, token := s.authorizer().logIn(ctx, c.challenge, cred, s.ref.Path)
	a, ended := c.endedBefore(by, token)
	if !ended {
		start := time.Now()
		rep, answers, err := c.head(ctx, by)
		if err == nil {
			a = s.judge(rep, by)
		} else {
			a = attempt{rank: 4, final: true}
			requestFailed(s.host.Name(), &a.check, err, time.Since(start))
		}
		a.answers = answers
		if token != nil && token.LoginLost != "" {
			a.withoutLogin(s.host.Name(), token)
		}
	}
	a.by = by
	if !by.Anonymous() {
		a.source = sourceOf(cred)
	}
	if a.markExpired() && token != nil && token.Cause != "" {
		token.Cause = report.CredentialsExpired
	}
	return a, token
}

// withoutLogin corrects an attempt whose token is one without the login: what the host
// refuses then is no answer to the login.
func (a *attempt) withoutLogin(name string, token *tokens.Result) {
	if a.check.Outcome != report.Fail {
		return
	}
	a.check.Evidence = evidence.With(a.check.Evidence, report.KeyLoginNotSent, token.LoginLost)
	if a.check.Cause.AboutLogin() {
		a.check.Cause = report.TokenServiceFailed
		a.check.Summary = name + " refuses the token (" + strconv.Itoa(a.status) + "): " + token.LoginLost
	}
}

// endedBefore returns the attempt that ended before the manifest was requested;
// ended is false if nothing blocks the request.
func (c *manifestCheck) endedBefore(by httpclient.Login, token *tokens.Result) (a attempt, ended bool) {
	s, service := c.session, c.challenge.ServiceHost()
	switch {
	case by.Sent():
		return a, false
	case token != nil:
		// A service that does not know the login comes less far than one that knows it
		// and refuses this repository.
		a.rank = map[report.Cause]int{
			report.CredentialsMissing:    1,
			report.CredentialsRejected:   1,
			report.AccessDeniedOrMissing: 2,
			report.AccessForbidden:       2,
		}[token.Cause]
		if a.rank == 0 {
			a.rank = 4
		}
		a.status, a.final = token.Status, token.Cause == report.RateLimited
		a.check.Outcome, a.check.Cause = report.Skipped, token.Cause
		a.check.Summary = "skipped: no token from " + service + ": " + token.Message
		if token.Outcome == report.Fail {
			a.check.Outcome = report.Fail
			a.check.Summary = "no token for " + s.ref.Path + " from " + service + ": " + token.Message
		}
		a.check.BlockedBy = report.TokenID(s.host.Name())
	case by.Withheld != "":
		a.rank, a.check = 4, withheldCheck(s.host.Name(), by)
	case httpclient.AddsLogin(s.host.Header) && s.host.Scheme == "https":
		a.rank, a.source = 1, "node hosts.toml"
		a.check.Outcome, a.check.Cause = report.Fail, report.CredentialsRejected
		a.check.Summary = s.host.Name() + " rejects the login that hosts.toml adds (401), and there are no other credentials"
		a.check.Evidence = evidence.Facts{report.KeyStatus: "401"}
	case httpclient.AddsLogin(s.host.Header):
		a.rank, a.check = 4, withheldCheck(s.host.Name(), httpclient.Login{Withheld: logins.OverPlainHTTP})
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
	_, secret := httpclient.UsernameAndSecret(a.by.Cred)
	until, ok := credentials.Expiry(secret)
	if !ok {
		return false
	}
	a.check.Evidence = evidence.With(a.check.Evidence, report.KeyCredentialExpires, until.UTC().Format(time.RFC3339))
	now := time.Now()
	if a.rep != nil {
		if date, err := http.ParseTime(a.rep.Header.Get("Date")); err == nil {
			now = date // the registry's clock decides
		}
	}
	if !until.Before(now) {
		return false
	}
	a.check.Cause = report.CredentialsExpired
	a.check.Summary = "the credentials expired on " + readable.Time(until) + "; " + a.check.Summary
	return true
}
