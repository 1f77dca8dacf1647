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
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Result is the outcome of one request to the token service.
type Result struct {
	Token   string
	Status  int // 0: no answer
	Outcome report.Outcome
	Cause   report.Cause
	Message string
	Facts   evidence.Facts
	Took    time.Duration

	LoginLost string // why the request that got this answer had no login; empty: it had it

	BlockedBy string // id of the check that blocked the request
	Clock     *connect.ClockReading
}

// NotSent returns the result of a request that the runtime would send and the
// probes must not.
func NotSent(why string) Result {
	return Result{Outcome: report.Skipped, Message: why, Facts: evidence.Facts{report.KeyRuntimeWouldSend: report.True}}
}

func failed(cause report.Cause, message string, facts evidence.Facts) Result {
	return Result{Outcome: report.Fail, Cause: cause, Message: message, Facts: facts}
}

// Realm returns the realm of a challenge, or the result of a token request without a
// usable one.
func Realm(c answers.Challenge) (*url.URL, *Result) {
	realm, err := url.Parse(c.Realm)
	if err != nil || !httpclient.IsHostName(realm.Host) {
		message := "the registry names no usable token service (realm " + strconv.Quote(readable.Clean(c.Realm, 60)) + ")"
		t := failed(report.TokenServiceFailed, message, nil)
		return nil, &t
	}
	realm.User = nil
	return realm, nil
}

// Request is what gets a token to pull one repository from one token service with one
// login.
type Request struct {
	Client *httpclient.Client
	Host   runtimeconfig.Host // that names the token service
	Domain string             // of the image
	Route  *Route             // to the token service; nil: it was not checked
	Plain  bool               // the runtime sends it without the headers of hosts.toml

	Challenge  answers.Challenge
	Realm      *url.URL
	Repository string
	Cred       credentials.Credential // without a secret: anonymous
}

// Fetch requests a token as containerd does: with a login by POST, and by GET after some
// answers to it ([requests.GetsTokenAfter]); without one by GET. A password is sent by GET
// first: a realm that refuses it gets it only once, where containerd would send it twice.
func (r Request) Fetch(ctx context.Context) Result {
	realm := r.Realm
	username, secret := httpclient.UsernameAndSecret(r.Cred)
	if realm.Scheme != "https" && realm.Scheme != "http" {
		return NotSent("skipped: the token service " + readable.Clean(realm.Host, 80) + " has no TLS, and credentials are not sent without it")
	}
	if t, blocked := r.Route.blocked(realm); blocked {
		return t
	}
	var t Result
	switch {
	case secret == "":
		t, _ = r.ask(ctx, http.MethodGet)
	case username == "":
		t = r.withIdentityToken(ctx)
	default:
		t = r.withPassword(ctx)
	}
	if realm.Scheme == "http" {
		t.Facts = evidence.With(t.Facts, report.KeyRealmPlain, report.True)
	}
	switch {
	case t.LoginLost != "":
		t.Facts = evidence.With(t.Facts, report.KeyLoginNotSent, t.LoginLost)
	case secret != "" && t.Outcome == report.Pass:
		t.Facts = evidence.With(t.Facts, report.KeyLoginWorks, report.True)
	}
	return t
}

// withIdentityToken gets a token by POST, or by GET where the service has no POST.
func (r Request) withIdentityToken(ctx context.Context) Result {
	post, posted := r.ask(ctx, http.MethodPost)
	if !posted || !requests.GetsTokenAfter(post.Status, "") || post.Status == http.StatusUnauthorized {
		return post // after 401 too: the service has refused the login, and need not get it again
	}
	get, _ := r.ask(ctx, http.MethodGet)
	return get.withStatuses(post, get)
}

// withPassword gets a token for a password. What the runtime gets is decided by
// the answer to its POST, unless that makes it send the GET.
func (r Request) withPassword(ctx context.Context) Result {
	get, got := r.ask(ctx, http.MethodGet)
	refused := get.Status == http.StatusUnauthorized || get.Status == http.StatusForbidden || get.Status == http.StatusTooManyRequests
	if !got || refused {
		if got {
			get.Facts = evidence.With(get.Facts, report.KeyGetStatus, strconv.Itoa(get.Status))
		}
		return get
	}
	post, posted := r.ask(ctx, http.MethodPost)
	switch {
	case !posted && post.Outcome != report.Fail:
		return get // a redirect, or the end of the diagnosis
	case posted && requests.GetsTokenAfter(post.Status, r.Cred.Username):
		return get.withStatuses(post, get)
	case post.Outcome == report.Fail && get.Outcome == report.Pass && post.Status != http.StatusTooManyRequests:
		// The login is good by the service's own word; what fails is the request.
		post.Cause = report.TokenServiceFailed
		post.Message = "it gives a token to GET, but not to POST, which containerd sends: " + post.Message
	}
	return post.withStatuses(post, get)
}

// withStatuses adds the statuses of both requests to the facts of a result.
func (t Result) withStatuses(post, get Result) Result {
	if post.Status != 0 {
		t.Facts = evidence.With(t.Facts, report.KeyPostStatus, strconv.Itoa(post.Status))
	}
	if get.Status != 0 {
		t.Facts = evidence.With(t.Facts, report.KeyGetStatus, strconv.Itoa(get.Status))
	}
	return t
}

// ask sends one request for a token. It reports whether there was an answer.
func (r Request) ask(ctx context.Context, method string) (Result, bool) {
	start, ch := time.Now(), r.Challenge
	request := httpclient.TokenRequest(method, r.Realm, ch.Service, ch.Scopes, r.Repository, r.Cred)
	request.Plain = r.Plain
	rep, err := r.Client.Send(ctx, request)
	if err != nil {
		return r.fault(err, time.Since(start)), false
	}
	_, secret := httpclient.UsernameAndSecret(r.Cred)
	t := read(rep, method, secret == "")
	if t.Cause == report.CredentialsMissing && answers.HidesMissing(r.Domain) {
		t.Cause = report.AccessDeniedOrMissing // it says the same of what does not exist
	}
	t.Status, t.Took = rep.Status, rep.Took
	if secret != "" && (rep.NoForm || rep.Dropped) {
		t.LoginLost = "the token service redirects " + method + " to " + readable.Clean(rep.Host, 80) + ", and the login is lost there"
		if t.Outcome == report.Pass && rep.Dropped && httpclient.SameSite(rep.Host, r.Realm.Host) {
			t = NotSent("it redirects to " + readable.Clean(rep.Host, 80) + ", where credentials are not sent (the runtime would send them)")
			t.Status, t.Took = rep.Status, rep.Took
		}
	}
	if clock, ok := connect.ReadClock(rep.Host, rep.Header, rep.Sent, rep.At); ok {
		t.Clock = &clock
	}
	t.Facts = evidence.With(t.withRefusal(rep).Facts, report.KeyStatus, strconv.Itoa(rep.Status))
	return t, true
}

// fault returns what a request without an answer means.
func (r Request) fault(err error, took time.Duration) Result {
	realm := r.Realm
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		t := NotSent("skipped: " + blocked.Reason)
		t.Facts[report.KeyRefused] = blocked.Reason
		return t
	}
	late := report.ConnectionTimeout
	if _, reached := r.Route.AddrOf(realmAddress(realm)); reached || realm.Host == r.Host.Host {
		late = report.RegistryUnavailable // connected, and TLS passed, a moment ago
	}
	failure := connect.Classify(err, took, late)
	if r.Host.SkipVerify && realm.Host != r.Host.Host {
		if _, ok := connect.ClassifyCertificate(err); ok {
			// For the runtime, skip_verify applies to the token service too.
			return NotSent("skipped: " + failure.Message + ", and credentials are not sent unverified")
		}
	}
	if failure.Unfinished {
		return Result{Outcome: report.Unknown, Message: failure.Message, Facts: failure.Facts, Took: took}
	}
	cause := report.TokenServiceFailed
	if failure.Cause == report.ProxyDenied {
		cause = failure.Cause // the proxy refuses this host, and would refuse any service there
	}
	facts := evidence.With(failure.Facts, report.KeyInnerCause, cmp.Or(failure.Facts[report.KeyInnerCause], string(failure.Cause)))
	t := failed(cause, failure.Message, connect.WithProxyFor(facts, realm.Host))
	t.Took = took
	return t
}

// withRefusal adds the reason of a refusal to the facts of a token service's answer.
func (t Result) withRefusal(rep *httpclient.Reply) Result {
	switch {
	case t.Cause == report.CredentialsRejected && rep.Encoded == "" && !rep.Cut:
		t.Facts = evidence.With(t.Facts, report.KeyRefusedFor, refusal.ReasonOfLogin(string(rep.Body)))
	case t.Outcome == report.Fail:
		t.Facts = evidence.With(t.Facts, report.KeyRefusedFor, refusal.ReasonOfAnswer(rep))
	}
	return t
}

// read returns what an answer of the token service means.
func read(rep *httpclient.Reply, method string, anonymous bool) Result {
	fail := func(cause report.Cause, message string) Result {
		return failed(cause, message, evidence.Facts{
			report.KeyContentType: rep.Header.Get("Content-Type"),
			report.KeyCode:        answers.ErrorCode(rep.Body),
		})
	}
	unauthorized, forbidden := rep.Status == http.StatusUnauthorized, rep.Status == http.StatusForbidden
	switch {
	case rep.Dropped && (unauthorized || forbidden):
		return NotSent("it redirects to " + readable.Clean(rep.Host, 80) + ", where credentials are not sent")
	case rep.NoForm && (unauthorized || forbidden):
		return fail(report.TokenServiceFailed, "it redirects POST, which containerd sends, and the login is lost there: "+
			answers.StatusText(rep.Status))
	case forbidden && answers.IsWebPage(rep.Header): // a token service would answer in JSON
		return fail(report.TokenServiceFailed, "it answers 403 with a web page: a filter in between, or in front of it?")
	case rep.Status == http.StatusTooManyRequests:
		message, quota := answers.RateLimit(rep)
		return failed(report.RateLimited, "it "+message, quota)
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
			" with a token, and a field "+strconv.Quote(readable.Clean(field, 40))+" that the runtime cannot read")
	}
	if token == "" {
		return fail(report.TokenServiceFailed, "it answers "+answers.StatusText(rep.Status)+" without a token")
	}
	if strings.ContainsFunc(token, unicode.IsControl) {
		return fail(report.TokenServiceFailed, "its token has control characters, which no header can have")
	}
	return Result{Token: token, Outcome: report.Pass, Message: "it gave a token", Facts: timesOf(token)}
}

// tokenIn returns the token in an answer as containerd's core/remotes/docker/auth/fetch.go
// decodes it, but for the refresh token, which has no use here; none if there is none.
// wrong names a field whose type makes the runtime reject the whole answer.
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

// Check returns "token/<host>": how the token service answered, the first token
// before all failures.
func Check(name string, ch answers.Challenge, results []Result) report.Check {
	best := results[0]
	if i := slices.IndexFunc(results, func(t Result) bool { return t.Outcome == report.Pass }); i >= 0 {
		best = results[i]
	}
	service := ch.ServiceHost()
	e := evidence.Facts(evidence.With(best.Facts, report.KeyRealmHost, service))
	e[report.KeyService] = ch.Service
	check := report.Check{
		ID:        report.TokenID(name),
		Kind:      report.KindToken,
		Target:    service,
		Outcome:   best.Outcome,
		Cause:     best.Cause,
		Summary:   service + ": " + best.Message,
		Evidence:  e.Checked(),
		BlockedBy: best.BlockedBy,
	}
	for _, t := range results {
		check.Duration += report.Millis(t.Took)
	}
	return check
}

// timesOf returns the times in the claims of a JSON web token, if it is one.
// The registry judges them, by its own clock: the runtime does not read them.
func timesOf(token string) evidence.Facts {
	e := evidence.Facts{}
	times := credentials.TokenTimes(token)
	for key, at := range map[string]time.Time{"tokenIssued": times.Issued, "tokenNotBefore": times.NotBefore, "tokenExpires": times.Expires} {
		if !at.IsZero() {
			e[key] = at.UTC().Format(time.RFC3339)
		}
	}
	return e
}
