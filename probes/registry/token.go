package registry

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
)

// challenge is what a registry asks for in WWW-Authenticate.
type challenge struct {
	bearer  bool // a token; otherwise basic authentication
	realm   string
	service string
	scopes  []string
	problem string // error= of a refused token, such as insufficient_scope
}

// readChallenge picks the challenge that containerd would answer: bearer
// before basic, nothing else.
func readChallenge(h http.Header) (challenge, bool) {
	for _, c := range auth.ParseAuthHeader(h) {
		switch c.Scheme {
		case auth.BearerAuth:
			ch := challenge{bearer: true, realm: c.Parameters["realm"], service: c.Parameters["service"], problem: c.Parameters["error"]}
			if scope := c.Parameters["scope"]; scope != "" {
				ch.scopes = strings.Split(scope, " ")
			}
			return ch, true
		case auth.BasicAuth:
			return challenge{}, true
		}
	}
	return challenge{}, false
}

// serviceHost is the host of the token service, for people.
func (c challenge) serviceHost() string {
	if u, err := url.Parse(c.realm); err == nil && isHostName(u.Host) {
		return report.Clean(u.Host, 80)
	}
	return "the token service"
}

func (c challenge) scheme() string {
	if c.bearer {
		return "bearer"
	}
	return "basic"
}

// tokenResult is how one visit to the token service went.
type tokenResult struct {
	token   string
	status  int // 0 if there was no answer
	outcome report.Outcome
	cause   report.Cause
	message string
	facts   evidence.Facts
	took    time.Duration

	blockedBy string // id of the check that kept the service from being asked
	clock     *connect.ClockReading
}

// fetchToken asks the token service for a token to pull repo: by GET with
// basic authentication, or for an identity token by the OAuth2 POST (the two
// ways of the distribution specification). A login without a secret is
// anonymous.
func (c *client) fetchToken(ctx context.Context, ch challenge, repo, username, secret string) tokenResult {
	fail := func(cause report.Cause, words string, facts evidence.Facts) tokenResult {
		return tokenResult{outcome: report.Fail, cause: cause, message: words, facts: facts}
	}
	realm, err := url.Parse(ch.realm)
	if err != nil || !isHostName(realm.Host) {
		return fail(report.TokenServiceFailed, "the registry names no usable token service (realm "+strconv.Quote(report.Clean(ch.realm, 60))+")", nil)
	}
	realm.User = nil
	if realm.Scheme != "https" && (realm.Scheme != "http" || secret != "") {
		return tokenResult{
			outcome: report.Skipped, message: "not asked: the token service " + report.Clean(realm.Host, 80) + " is not reached over TLS, and credentials are not sent without it",
			facts: evidence.Facts{"runtimeWouldSend": "true"},
		}
	}
	scopes := append(slices.Clone(ch.scopes), "repository:"+repo+":pull")
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)

	if t, blocked := c.tokenRoute.blocked(realm); blocked {
		return t
	}

	r := request{method: http.MethodGet, limit: 16 << 10}
	if secret != "" && username == "" {
		r.method = http.MethodPost
		r.form = url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {secret}, "client_id": {"containerd-client"},
			"service": {ch.service}, "scope": {strings.Join(scopes, " ")},
		}
	} else {
		q := realm.Query()
		if ch.service != "" {
			q.Set("service", ch.service)
		}
		for _, s := range scopes {
			q.Add("scope", s)
		}
		realm.RawQuery = q.Encode()
		if secret != "" {
			r.authorization = basic(username, secret)
		}
	}
	r.url = realm.String()

	start := time.Now()
	rep, err := c.send(ctx, r)
	if err != nil {
		return c.tokenFault(err, realm, time.Since(start))
	}
	res := c.readToken(rep, secret == "")
	res.status, res.took = rep.status, rep.took
	if clock, ok := connect.ReadClock(rep.host, rep.header, rep.sent, rep.at); ok {
		res.clock = &clock
	}
	if res.facts == nil {
		res.facts = evidence.Facts{}
	}
	res.facts["status"] = strconv.Itoa(rep.status)
	return res
}

func (c *client) tokenFault(err error, realm *url.URL, took time.Duration) tokenResult {
	var refused *connect.BlockedError
	if errors.As(err, &refused) {
		return tokenResult{outcome: report.Skipped, message: "not asked: " + refused.Reason, facts: evidence.Facts{"refused": refused.Reason, "runtimeWouldSend": "true"}}
	}
	late := report.ConnectionTimeout
	if _, reached := c.tokenRoute.addrOf(realmAddress(realm)); reached || realm.Host == c.host.Host {
		late = report.RegistryUnavailable // connected, and greeted by TLS, a moment ago
	}
	f := connect.Classify(err, took, late)
	if c.host.SkipVerify && realm.Host != c.host.Host {
		if _, ok := connect.ClassifyCertificate(err); ok {
			// skip_verify holds for the token service too, in the runtime.
			return tokenResult{outcome: report.Skipped, message: "not asked: " + f.Message + ", and credentials are not sent unverified", facts: evidence.Facts{"runtimeWouldSend": "true"}}
		}
	}
	if f.Facts == nil {
		f.Facts = evidence.Facts{}
	}
	if f.Unfinished {
		return tokenResult{outcome: report.Unknown, message: f.Message, facts: f.Facts, took: took}
	}
	f.Facts["innerCause"] = string(f.Cause)
	return tokenResult{outcome: report.Fail, cause: report.TokenServiceFailed, message: f.Message, facts: f.Facts, took: took}
}

func (c *client) readToken(rep *reply, anonymous bool) tokenResult {
	fail := func(cause report.Cause, words string) tokenResult {
		return tokenResult{outcome: report.Fail, cause: cause, message: words, facts: evidence.Facts{"contentType": rep.header.Get("Content-Type"), "code": errorCode(rep.body)}}
	}
	switch {
	case rep.dropped && (rep.status == http.StatusUnauthorized || rep.status == http.StatusForbidden):
		return tokenResult{outcome: report.Skipped, message: "it redirects to " + report.Clean(rep.host, 80) + ", where credentials are not sent", facts: evidence.Facts{"runtimeWouldSend": "true"}}
	case rep.status == http.StatusForbidden && isWebPage(rep.header): // a token service would say so in JSON
		return fail(report.TokenServiceFailed, "it answered 403 with a web page: a filter in between, or in front of it?")
	case rep.status == http.StatusTooManyRequests:
		message, quota := rateLimit(rep)
		return tokenResult{outcome: report.Fail, cause: report.RateLimited, message: "it " + message, facts: quota}
	case rep.status == http.StatusUnauthorized && anonymous:
		return fail(report.CredentialsMissing, "it gives no token without credentials (401)")
	case rep.status == http.StatusUnauthorized:
		return fail(report.CredentialsRejected, "it rejects the credentials (401)")
	case rep.status == http.StatusForbidden && anonymous:
		return fail(report.AccessDeniedOrMissing, "it gives no token without credentials (403)")
	case rep.status == http.StatusForbidden:
		return fail(report.AccessForbidden, "it forbids these credentials this repository (403)")
	case rep.status < 200 || rep.status >= 400:
		return fail(report.TokenServiceFailed, "it answered "+statusText(rep.status))
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	token := ""
	if json.Unmarshal(rep.body, &body) == nil {
		token = cmp.Or(body.AccessToken, body.Token)
	}
	if token == "" {
		return fail(report.TokenServiceFailed, "it answered "+statusText(rep.status)+" without a token")
	}
	if strings.ContainsFunc(token, unicode.IsControl) {
		return fail(report.TokenServiceFailed, "it gave a token that no header can carry: there are control characters in it")
	}
	return tokenResult{token: token, outcome: report.Pass, message: "it gave a token", facts: tokenTimes(token)}
}

// tokenTimes are the times in the claims of a JSON web token, if it is one. They
// are for the registry to judge, by its own clock: the runtime passes the token
// on unread.
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

func basic(username, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+secret))
}

// errorCode is the first error code in a registry's JSON answer, such as
// MANIFEST_UNKNOWN; empty if there is none. Its message stays where it is.
func errorCode(body []byte) string {
	var answer struct {
		Errors []struct {
			Code json.RawMessage `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	var code string
	if json.Unmarshal(answer.Errors[0].Code, &code) != nil || len(code) > 40 ||
		strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
		return ""
	}
	return code
}

// limits are the quota headers of an answer.
func quotaHeaders(h http.Header) evidence.Facts {
	return evidence.Facts{
		"retryAfter": retryAfterOf(h),
		"limit":      cmp.Or(h.Get("RateLimit-Limit"), h.Get("X-RateLimit-Limit")),
		"remaining":  cmp.Or(h.Get("RateLimit-Remaining"), h.Get("X-RateLimit-Remaining")),
		"reset":      cmp.Or(h.Get("RateLimit-Reset"), h.Get("X-RateLimit-Reset")),
	}
}

// statusText is "503 Service Unavailable".
func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}
