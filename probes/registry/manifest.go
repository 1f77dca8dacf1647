package registry

import (
	"cmp"
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// Media types of Docker's formats, as in the OCI ones.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// accept is what containerd accepts when it resolves a name.
var acceptManifests = strings.Join([]string{dockerManifest, dockerIndex, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, "*/*"}, ", ")

// manifestState is what is known after the HEAD of the manifest.
type manifestState struct {
	at        int       // index of the check in visit.checks, if asked
	asked     bool      //
	status    int       // of the decisive answer
	login               // that the decisive answer was given to
	challenge challenge // that the host asks for; unset if it asks for none
	mediaType string
	digest    string
	size      int64 // as the answer says; -1 is unknown
}

// login is with what a request is made.
type login struct {
	cred          credentials.Credential // the zero value is nobody in particular
	authorization string                 // what is sent for it
	isToken       bool                   // that is a token of the host's token service
}

// loginOf is what containerd makes of a credential (ParseAuth in its CRI
// plugin): a user name wins over an identity token, and no secret at all is
// anonymous.
func loginOf(c credentials.Credential) (username, secret string) {
	if c.Username != "" {
		return c.Username, c.Password
	}
	return "", c.IdentityToken
}

func (l login) anonymous() bool {
	_, secret := loginOf(l.cred)
	return secret == ""
}

func (s *session) found() bool {
	return s.manifest.asked && s.checks[s.manifest.at].Outcome == report.Pass
}

// apiURL builds a URL of the registry API as containerd does: mirrors get the
// domain that they stand for as ?ns=.
func (s *session) apiURL(query url.Values, parts ...string) string {
	if query == nil {
		query = url.Values{}
	}
	if s.host.IsMirrorOf(s.ref.Domain) {
		query.Set("ns", s.ref.Domain)
	}
	p := path.Join(append([]string{"/", s.host.Path, s.ref.Path}, parts...)...)
	u := s.host.Scheme + "://" + s.host.Host + p
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}

func (s *session) head(ctx context.Context, authorization string) (*reply, error) {
	r := request{
		method: http.MethodHead, url: s.apiURL(nil, "manifests", s.ref.TagOrDigest()),
		header: http.Header{"Accept": {acceptManifests}}, authorization: authorization,
	}
	rep, err := s.client.send(ctx, r)
	if err == nil && rep.status == http.StatusMethodNotAllowed && s.budget.takeManifest() {
		r.method, r.limit = http.MethodGet, 1
		return s.client.send(ctx, r)
	}
	return rep, err
}

// attempt is how the manifest was asked for with one login.
type attempt struct {
	source string // of the credential; empty is anonymous
	rank   int    // how far it came: the one that came furthest speaks for all
	status int    // of the registry, or of the token service where it ended
	by     login
	rep    *reply
	check  report.Check // outcome, cause, summary, evidence
	final  bool         // no further login is tried
}

// askManifest is "manifest/<host>", and "token/<host>" if the registry asks
// for a token. Like the runtime it asks without credentials first, and then
// with each of them once.
func (s *session) checkManifest(ctx context.Context) {
	name := s.host.Name()
	start := time.Now()
	rep, err := s.head(ctx, "")
	var best attempt
	var tries []string
	var tokens []tokenResult
	ch, challenged := challenge{}, false
	switch {
	case err != nil:
		s.requestFailed(&best.check, err, time.Since(start))
	case rep.status != http.StatusUnauthorized:
		best = s.judge(rep, login{})
	default:
		ch, challenged = readChallenge(rep.header)
		if !challenged {
			best = s.judge(rep, login{})
			best.check.Cause = report.Undetermined
			best.check.Summary = name + " answers 401 and does not say which credentials it wants, so the runtime sends none"
		}
	}
	if challenged {
		s.routeToTokenService(ctx, ch)
		for i, cred := range s.loginsToTry() {
			a, token := s.tryUnlessRejected(ctx, ch, cred)
			if token != nil {
				tokens = append(tokens, *token)
				if token.clock != nil {
					s.addClocks(*token.clock)
				}
			}
			tries = append(tries, cmp.Or(a.source, "anonymous")+": "+a.end())
			if i == 0 || a.rank > best.rank {
				best = a
			}
			if a.final {
				break
			}
		}
	}

	if len(tokens) > 0 {
		s.add(tokenCheck(name, ch, tokens))
	}
	check := best.check
	check.ID, check.Kind, check.Target = "manifest/"+name, report.KindManifest, s.ref.Path+":"+s.ref.Tag
	if s.ref.Digest != "" {
		check.Target = s.ref.Path + "@" + s.ref.Digest
	}
	check.Duration = report.Millis(time.Since(start))
	e := evidence.Facts(evidence.With(check.Evidence, "credentials", strings.Join(tries, "; ")))
	e["usedCredential"] = best.source
	if best.source == "" {
		e["anonymous"] = "true"
	}
	if challenged {
		e["auth"] = ch.scheme()
	}
	check.Evidence = e.Checked()
	s.manifest = manifestState{at: len(s.checks), asked: true, status: best.status, login: best.by, challenge: ch}
	if best.rep != nil {
		s.manifest.mediaType = mediaType(best.rep.header)
		s.manifest.digest = best.rep.header.Get("Docker-Content-Digest")
		s.manifest.size = manifestSize(best.rep)
	}
	s.add(check)
}

// manifestSize is what an answer to HEAD says of the manifest's size; -1 if it
// says nothing.
func manifestSize(rep *reply) int64 {
	n, err := strconv.ParseInt(rep.header.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 || rep.header.Get("Content-Encoding") != "" {
		return -1
	}
	return n
}

// logins are the credentials to try: those with a secret, or else nobody's.
func (s *session) loginsToTry() []credentials.Credential {
	var out []credentials.Credential
	for _, c := range s.target.Credentials {
		if _, secret := loginOf(c); secret != "" && (c.Host == "" || c.Host == s.host.Host) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []credentials.Credential{{}}
	}
	return out
}

// try asks for the manifest with one login.
func (s *session) tryLogin(ctx context.Context, ch challenge, cred credentials.Credential) (attempt, *tokenResult) {
	by, token := s.logIn(ctx, ch, cred, s.ref.Path)
	a := s.endedBefore(ch, by, token)
	if a.check.Outcome == report.Unknown {
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
		a.source = cmp.Or(report.Clean(cred.Source, 80), "a credential")
	}
	if s.markExpired(&a) && token != nil && token.cause != "" {
		token.cause = report.CredentialsExpired
	}
	return a, token
}

// logIn gets what the host wants to see in Authorization for a repository. The
// login has none if there is none, or if it may not be sent.
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

// refusedBefore is the attempt that ended before the manifest was asked for;
// its outcome is unknown if nothing stands in the way.
func (s *session) endedBefore(ch challenge, by login, token *tokenResult) attempt {
	a := attempt{}
	switch {
	case by.authorization != "":
	case token != nil:
		// Not knowing the login is less than knowing it and refusing this.
		a.rank = map[report.Cause]int{report.CredentialsMissing: 1, report.CredentialsRejected: 1, report.AccessDeniedOrMissing: 2, report.AccessForbidden: 2}[token.cause]
		if a.rank == 0 {
			a.rank = 4
		}
		a.status, a.final = token.status, token.cause == report.RateLimited
		a.check.Outcome, a.check.Cause = report.Skipped, token.cause
		a.check.Summary = "not asked: no token from " + ch.serviceHost() + ": " + token.message
		if token.outcome == report.Fail {
			a.check.Outcome = report.Fail
			a.check.Summary = "no token for " + s.ref.Path + " from " + ch.serviceHost() + ": " + token.message
		}
		a.check.BlockedBy = "token/" + s.host.Name()
	case !by.anonymous() && s.host.Scheme != "https":
		a.rank = 4
		a.check.Outcome = report.Skipped
		a.check.Summary = "credentials are not sent to " + s.host.Name() + " over plain HTTP (the runtime would)"
		a.check.Evidence = evidence.Facts{"runtimeWouldSend": "true"}
	default:
		a.rank = 1
		a.check.Outcome, a.check.Cause = report.Fail, report.CredentialsMissing
		a.check.Summary = s.host.Name() + " wants a user name and password, and there are none"
		a.check.Evidence = evidence.Facts{"status": "401"}
	}
	return a
}

// expired finds the reason of a refusal in the credentials themselves, where
// they say until when they are good: ECR answers 403 to an expired token,
// others 401.
func (s *session) markExpired(a *attempt) bool {
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
	a.check.Evidence = evidence.With(a.check.Evidence, "credentialExpires", until.UTC().Format(time.RFC3339))
	now := time.Now()
	if a.rep != nil {
		if date, err := http.ParseTime(a.rep.header.Get("Date")); err == nil {
			now = date // the clock that counts
		}
	}
	if !until.Before(now) {
		return false
	}
	a.check.Cause = report.CredentialsExpired
	a.check.Summary = fmt.Sprintf("the credentials expired on %s; %s", report.Time(until), a.check.Summary)
	return true
}

// judge says what the answer to HEAD means.
func (v *session) judge(rep *reply, by login) attempt {
	name := v.host.Name()
	what := v.ref.Path + ":" + v.ref.Tag
	if v.ref.Digest != "" {
		what = v.ref.Path + "@" + v.ref.Digest
	}
	e := evidence.Facts{"status": strconv.Itoa(rep.status), "contentType": rep.header.Get("Content-Type")}
	if rep.hops > 0 {
		e["redirectedTo"] = rep.host
	}
	a := attempt{rank: 5, status: rep.status, rep: rep}
	fail := func(rank int, cause report.Cause, summary string) {
		a.rank = rank
		a.check.Outcome, a.check.Cause, a.check.Summary = report.Fail, cause, summary
	}
	switch s := rep.status; {
	case rep.dropped && (s == 401 || s == 403 || s == 404):
		a.check.Outcome = report.Skipped
		a.check.Summary = name + " redirects to " + report.Clean(rep.host, 80) + ", where credentials are not sent (the runtime would)"
		e["runtimeWouldSend"] = "true"
	case s == http.StatusOK && isWebPage(rep.header):
		fail(5, report.Undetermined, report.Clean(rep.host, 80)+" answers with a web page in the place of the manifest: a login portal or a proxy in between?")
		a.final = true
	case s >= 200 && s < 300:
		a.check.Outcome, a.final, a.rank = report.Pass, true, 9
		a.check.Summary = name + " has " + what
		e["mediaType"], e["digest"] = mediaType(rep.header), rep.header.Get("Docker-Content-Digest")
	case s == http.StatusTooManyRequests:
		limited(&a.check, e, name, rep)
		a.rank, a.final = 6, true
	case s >= 500:
		fail(5, report.RegistryUnavailable, name+" answers "+statusText(s))
		a.final = true
	case s == http.StatusNotFound:
		fail(5, report.TagNotFound, name+" does not have "+what)
		e["repository"] = "unknown"
	case s == http.StatusForbidden && by.anonymous():
		fail(4, report.AccessDeniedOrMissing, name+" forbids "+what+" without credentials, or does not have it (403)")
	case s == http.StatusForbidden:
		fail(4, report.AccessForbidden, name+" forbids "+what+" to these credentials (403)")
		if hidesMissing(v.ref.Domain) {
			e["existence"] = "hidden"
		}
	case s == http.StatusUnauthorized && by.isToken:
		// The token service knew the login; the token does not open this.
		ch, _ := readChallenge(rep.header)
		e["error"] = report.Clean(ch.problem, 64)
		switch {
		case ch.problem == "invalid_token":
			fail(3, report.TokenServiceFailed, name+" does not accept the token that its own token service gave")
		case by.anonymous():
			fail(3, report.AccessDeniedOrMissing, name+" shows "+what+" to nobody without credentials, or does not have it")
		default:
			// What a token does not open looks the same as what is not there.
			fail(3, report.AccessDeniedOrMissing, "these credentials may not pull "+v.ref.Path+" from "+name+", or it is not there")
			e["existence"] = "hidden"
		}
	case s == http.StatusUnauthorized && by.anonymous():
		fail(2, report.CredentialsMissing, name+" wants credentials for "+what+" (401), and there are none")
	case s == http.StatusUnauthorized:
		fail(2, report.CredentialsRejected, name+" rejects the credentials (401)")
	case s == http.StatusPreconditionFailed:
		fail(5, report.AccessForbidden, name+" has "+what+", but a rule of the registry forbids to pull it (412)")
		e["policy"] = "true"
	default:
		fail(5, report.Undetermined, name+" answers "+statusText(s)+" to HEAD of the manifest")
	}
	a.check.Evidence = e
	return a
}

// word is the attempt's end in a word or a number.
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

// tokenCheck is "token/<host>": how the token service answered, the best
// answer first in line.
func tokenCheck(name string, ch challenge, tokens []tokenResult) report.Check {
	best := tokens[0]
	for _, t := range tokens {
		if t.outcome == report.Pass {
			best = t
			break
		}
	}
	e := best.facts
	if e == nil {
		e = evidence.Facts{}
	}
	service := ch.serviceHost()
	e["realmHost"], e["service"] = service, ch.service
	check := report.Check{
		ID: "token/" + name, Kind: report.KindToken, Target: service,
		Outcome: best.outcome, Cause: best.cause, Summary: service + ": " + best.message, Evidence: e.Checked(), BlockedBy: best.blockedBy,
	}
	for _, t := range tokens {
		check.Duration += report.Millis(t.took)
	}
	return check
}

// mediaType is the Content-Type without its parameters, as containerd reads
// it: plain text means Docker's first schema.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.TrimSpace(t)
}
