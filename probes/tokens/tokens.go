package tokens

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/refusal"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/report"
)

// tokenResult is the outcome of one request to the token service.
type tokenResult struct {
	token   string
	status  int // 0: no answer
	outcome report.Outcome
	cause   report.Cause
	message string
	facts   evidence.Facts
	took    time.Duration

	loginLost string // why the request that got this answer had no login; empty: it had it

	blockedBy string // id of the check that blocked the request
	clock     *connect.ClockReading
}

// notSent returns the result of a request that the runtime would send and the
// probes must not.
func notSent(why string) tokenResult {
	return tokenResult{outcome: report.Skipped, message: why, facts: evidence.Facts{report.KeyRuntimeWouldSend: report.True}}
}

func tokenFailed(cause report.Cause, message string, facts evidence.Facts) tokenResult {
	return tokenResult{outcome: report.Fail, cause: cause, message: message, facts: facts}
}

// realmURL returns the realm of a challenge, or the result of a token request without a usable one.
func realmURL(c answers.Challenge) (*url.URL, *tokenResult) {
	realm, err := url.Parse(c.Realm)
	if err != nil || !httpclient.IsHostName(realm.Host) {
		message := "the registry names no usable token service (realm " + strconv.Quote(report.Clean(c.Realm, 60)) + ")"
		t := tokenFailed(report.TokenServiceFailed, message, nil)
		return nil, &t
	}
	realm.User = nil
	return realm, nil
}

// tokenFetch gets a token to pull one repository from one token service with one login.
type tokenFetch struct {
	authorizer authorizer
	challenge  answers.Challenge
	realm      *url.URL
	repository string
	cred       credentials.Credential // without a secret: anonymous
}

func (a authorizer) tokenFetch(ch answers.Challenge, realm *url.URL, repository string, cred credentials.Credential) tokenFetch {
	return tokenFetch{a, ch, realm, repository, cred}
}

// once gets a token, unless the realm has refused this login to another host of the same
// image.
func (f tokenFetch) once(ctx context.Context) tokenResult {
	sent := f.authorizer.sent
	if _, secret := httpclient.UsernameAndSecret(f.cred); secret == "" || sent == nil {
		return f.fetch(ctx)
	}
	one := sent.at(f.realm, f.cred, f.repository)
	one.Lock()
	defer one.Unlock()
	if one.refused != nil {
		t := *one.refused
		t.message += ", as it did for another host of this image"
		t.clock, t.took = nil, 0
		return t
	}
	t := f.fetch(ctx)
	if t.status == http.StatusUnauthorized || t.status == http.StatusForbidden {
		one.refused = &t
	}
	return t
}

// fetch requests a token as containerd does: with a login by POST,
// and by GET after some answers to it ([requests.GetsTokenAfter]); without one by GET. A password
// is sent by GET first: a realm that refuses it gets it only once, where containerd
// would send it twice.
func (f tokenFetch) fetch(ctx context.Context) tokenResult {
	realm := f.realm
	username, secret := httpclient.UsernameAndSecret(f.cred)
	if realm.Scheme != "https" && realm.Scheme != "http" {
		return notSent("skipped: the token service " + report.Clean(realm.Host, 80) + " has no TLS, and credentials are not sent without it")
	}
	if t, blocked := f.authorizer.route.blocked(realm); blocked {
		return t
	}
	var t tokenResult
	switch {
	case secret == "":
		t, _ = f.ask(ctx, http.MethodGet)
	case username == "":
		t = f.withIdentityToken(ctx)
	default:
		t = f.withPassword(ctx)
	}
	if realm.Scheme == "http" {
		t.facts = evidence.With(t.facts, report.KeyRealmPlain, report.True)
	}
	switch {
	case t.loginLost != "":
		t.facts = evidence.With(t.facts, report.KeyLoginNotSent, t.loginLost)
	case secret != "" && t.outcome == report.Pass:
		t.facts = evidence.With(t.facts, report.KeyLoginWorks, report.True)
	}
	return t
}

// withIdentityToken gets a token by POST, or by GET where the service has no POST.
func (f tokenFetch) withIdentityToken(ctx context.Context) tokenResult {
	post, posted := f.ask(ctx, http.MethodPost)
	if !posted || !requests.GetsTokenAfter(post.status, "") || post.status == http.StatusUnauthorized {
		return post // after 401 too: the service has refused the login, and need not get it again
	}
	get, _ := f.ask(ctx, http.MethodGet)
	return get.withStatuses(post, get)
}

// withPassword gets a token for a password. What the runtime gets is decided by
// the answer to its POST, unless that makes it send the GET.
func (f tokenFetch) withPassword(ctx context.Context) tokenResult {
	get, got := f.ask(ctx, http.MethodGet)
	refused := get.status == http.StatusUnauthorized || get.status == http.StatusForbidden || get.status == http.StatusTooManyRequests
	if !got || refused {
		if got {
			get.facts = evidence.With(get.facts, report.KeyGetStatus, strconv.Itoa(get.status))
		}
		return get
	}
	post, posted := f.ask(ctx, http.MethodPost)
	switch {
	case !posted && post.outcome != report.Fail:
		return get // a redirect, or the end of the diagnosis
	case posted && requests.GetsTokenAfter(post.status, f.cred.Username):
		return get.withStatuses(post, get)
	case post.outcome == report.Fail && get.outcome == report.Pass && post.status != http.StatusTooManyRequests:
		// The login is good by the service's own word; what fails is the request.
		post.cause = report.TokenServiceFailed
		post.message = "it gives a token to GET, but not to POST, which containerd sends: " + post.message
	}
	return post.withStatuses(post, get)
}

// withStatuses adds the statuses of both requests to the facts of a result.
func (t tokenResult) withStatuses(post, get tokenResult) tokenResult {
	if post.status != 0 {
		t.facts = evidence.With(t.facts, report.KeyPostStatus, strconv.Itoa(post.status))
	}
	if get.status != 0 {
		t.facts = evidence.With(t.facts, report.KeyGetStatus, strconv.Itoa(get.status))
	}
	return t
}

// ask sends one request for a token. It reports whether there was an answer.
func (f tokenFetch) ask(ctx context.Context, method string) (tokenResult, bool) {
	start, ch := time.Now(), f.challenge
	rep, err := f.authorizer.client.Send(ctx, httpclient.TokenRequest(method, f.realm, ch.Service, ch.Scopes, f.repository, f.cred))
	if err != nil {
		return f.fault(err, time.Since(start)), false
	}
	_, secret := httpclient.UsernameAndSecret(f.cred)
	t := readToken(rep, method, secret == "")
	if t.cause == report.CredentialsMissing && answers.HidesMissing(f.authorizer.domain) {
		t.cause = report.AccessDeniedOrMissing // it says the same of what does not exist
	}
	t.status, t.took = rep.Status, rep.Took
	if secret != "" && (rep.NoForm || rep.Dropped) {
		t.loginLost = "the token service redirects " + method + " to " + report.Clean(rep.Host, 80) + ", and the login is lost there"
		if t.outcome == report.Pass && rep.Dropped && httpclient.SameSite(rep.Host, f.realm.Host) {
			t = notSent("it redirects to " + report.Clean(rep.Host, 80) + ", where credentials are not sent (the runtime would send them)")
			t.status, t.took = rep.Status, rep.Took
		}
	}
	if clock, ok := connect.ReadClock(rep.Host, rep.Header, rep.Sent, rep.At); ok {
		t.clock = &clock
	}
	t.facts = evidence.With(t.withRefusal(rep).facts, report.KeyStatus, strconv.Itoa(rep.Status))
	return t, true
}

// fault returns what a request without an answer means.
func (f tokenFetch) fault(err error, took time.Duration) tokenResult {
	realm, a := f.realm, f.authorizer
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		t := notSent("skipped: " + blocked.Reason)
		t.facts[report.KeyRefused] = blocked.Reason
		return t
	}
	late := report.ConnectionTimeout
	if _, reached := a.route.addrOf(realmAddress(realm)); reached || realm.Host == a.host.Host {
		late = report.RegistryUnavailable // connected, and TLS passed, a moment ago
	}
	failure := connect.Classify(err, took, late)
	if a.host.SkipVerify && realm.Host != a.host.Host {
		if _, ok := connect.ClassifyCertificate(err); ok {
			// For the runtime, skip_verify applies to the token service too.
			return notSent("skipped: " + failure.Message + ", and credentials are not sent unverified")
		}
	}
	if failure.Unfinished {
		return tokenResult{outcome: report.Unknown, message: failure.Message, facts: failure.Facts, took: took}
	}
	cause := report.TokenServiceFailed
	if failure.Cause == report.ProxyDenied {
		cause = failure.Cause // the proxy refuses this host, and would refuse any service there
	}
	facts := evidence.With(failure.Facts, report.KeyInnerCause, cmp.Or(failure.Facts[report.KeyInnerCause], string(failure.Cause)))
	t := tokenFailed(cause, failure.Message, withProxyFor(facts, realm.Host))
	t.took = took
	return t
}

// withRefusal adds the reason of a refusal to the facts of a token service's answer.
func (t tokenResult) withRefusal(rep *httpclient.Reply) tokenResult {
	switch {
	case t.cause == report.CredentialsRejected && rep.Encoded == "" && !rep.Cut:
		t.facts = evidence.With(t.facts, report.KeyRefusedFor, refusal.ReasonOfLogin(string(rep.Body)))
	case t.outcome == report.Fail:
		t.facts = evidence.With(t.facts, report.KeyRefusedFor, refusal.ReasonOfAnswer(rep))
	}
	return t
}

// readToken returns what an answer of the token service means.
func readToken(rep *httpclient.Reply, method string, anonymous bool) tokenResult {
	fail := func(cause report.Cause, message string) tokenResult {
		return tokenFailed(cause, message, evidence.Facts{
			report.KeyContentType: rep.Header.Get("Content-Type"),
			report.KeyCode:        answers.ErrorCode(rep.Body),
		})
	}
	unauthorized, forbidden := rep.Status == http.StatusUnauthorized, rep.Status == http.StatusForbidden
	switch {
	case rep.Dropped && (unauthorized || forbidden):
		return notSent("it redirects to " + report.Clean(rep.Host, 80) + ", where credentials are not sent")
	case rep.NoForm && (unauthorized || forbidden):
		return fail(report.TokenServiceFailed, "it redirects POST, which containerd sends, and the login is lost there: "+
			answers.StatusText(rep.Status))
	case forbidden && answers.IsWebPage(rep.Header): // a token service would answer in JSON
		return fail(report.TokenServiceFailed, "it answers 403 with a web page: a filter in between, or in front of it?")
	case rep.Status == http.StatusTooManyRequests:
		message, quota := answers.RateLimit(rep)
		return tokenFailed(report.RateLimited, "it "+message, quota)
	case unauthorized && anonymous:
		return fail(report.CredentialsMissing, "it gives no token without credentials (401)")
	case unauthorized:
		return fail(report.CredentialsRejected, "it rejects the credentials (401)")
	case forbidden && anonymous:
		return fail(report.AccessDeniedOrMissing, "it gives no token without credentials (403)")
	case forbidden:
		return fail(report.AccessForbidden, "it gives these credentials no access to this repository (403)")
	case rep.Status < 200 || rep.Status >= 400:
		return fail(report.TokenServiceFailed, "it answers "+answers.StatusText(rep.Status))
	}
	token, field := tokenIn(rep.Body, method)
	if field != "" {
		return fail(report.TokenServiceFailed, "it answers "+answers.StatusText(rep.Status)+
			" with a token, and a field "+strconv.Quote(report.Clean(field, 40))+" that the runtime cannot read")
	}
	if token == "" {
		return fail(report.TokenServiceFailed, "it answers "+answers.StatusText(rep.Status)+" without a token")
	}
	if strings.ContainsFunc(token, unicode.IsControl) {
		return fail(report.TokenServiceFailed, "its token has control characters, which no header can have")
	}
	return tokenResult{token: token, outcome: report.Pass, message: "it gave a token", facts: tokenTimes(token)}
}

// tokenIn returns the token in an answer as containerd's core/remotes/docker/auth/fetch.go
// decodes it, but for the refresh token, which has no use here; none if there is none. wrong names a field whose type makes the runtime
// reject the whole answer.
func tokenIn(answer []byte, method string) (token, wrong string) {
	var body struct {
		Token            string    `json:"token"`
		AccessToken      string    `json:"access_token"`
		ExpiresInSeconds int       `json:"expires_in"`
		IssuedAt         time.Time `json:"issued_at"`
	}
	if method == http.MethodPost {
		var oauth struct {
			AccessToken      string    `json:"access_token"`
			ExpiresInSeconds int       `json:"expires_in"`
			IssuedAt         time.Time `json:"issued_at"`
			Scope            string    `json:"scope"`
		}
		err := json.NewDecoder(bytes.NewReader(answer)).Decode(&oauth)
		return oauth.AccessToken, wrongField(err)
	}
	err := json.NewDecoder(bytes.NewReader(answer)).Decode(&body)
	return cmp.Or(body.AccessToken, body.Token), wrongField(err)
}

// wrongField returns the field of an answer that cannot be decoded; empty if the answer
// is no object of JSON at all, or has no such field.
func wrongField(err error) string {
	if unfit, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return unfit.Field
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return "issued_at"
	}
	return ""
}

// tokenCheck is "token/<host>": how the token service answered, the first token
// before all failures.
func tokenCheck(name string, ch answers.Challenge, tokens []tokenResult) report.Check {
	best := tokens[0]
	if i := slices.IndexFunc(tokens, func(t tokenResult) bool { return t.outcome == report.Pass }); i >= 0 {
		best = tokens[i]
	}
	service := ch.ServiceHost()
	e := evidence.Facts(evidence.With(best.facts, report.KeyRealmHost, service))
	e[report.KeyService] = ch.Service
	check := report.Check{
		ID:        report.TokenID(name),
		Kind:      report.KindToken,
		Target:    service,
		Outcome:   best.outcome,
		Cause:     best.cause,
		Summary:   service + ": " + best.message,
		Evidence:  e.Checked(),
		BlockedBy: best.blockedBy,
	}
	for _, t := range tokens {
		check.Duration += report.Millis(t.took)
	}
	return check
}

// tokenTimes returns the times in the claims of a JSON web token, if it is one.
// The registry judges them, by its own clock: the runtime does not read them.
func tokenTimes(token string) evidence.Facts {
	e := evidence.Facts{}
	times := credentials.TokenTimes(token)
	for key, at := range map[string]time.Time{"tokenIssued": times.Issued, "tokenNotBefore": times.NotBefore, "tokenExpires": times.Expires} {
		if !at.IsZero() {
			e[key] = at.UTC().Format(time.RFC3339)
		}
	}
	return e
}
