package registry

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/missing"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/probes/tokens"
	"github.com/pullprobe/pullprobe/report"
)

// manifestState is what is known after the HEAD of the manifest.
type manifestState struct {
	asked bool // false: no request was sent, the rest is unset
	at    int  // index of the check in session.checks

	status    int               // of the answer that counts
	login     httpclient.Login  // that the answer was given to
	challenge answers.Challenge // of the host; unset if it has none
	mediaType string
	digest    string
	size      int64 // -1: unknown

	full *httpclient.Reply // to the GET by which the runtime resolves the manifest; nil: it resolves it by HEAD
}

// found reports whether the host has the manifest.
func (s *session) found() bool {
	return s.manifest.asked && s.checks[s.manifest.at].Outcome == report.Pass
}

// resolveStep returns the step by which the runtime resolves the image.
func resolveStep(ref reference.Ref) requests.Step {
	if ref.Digest != "" {
		return requests.ResolveDigest
	}
	return requests.ResolveTag
}

// manifestCheck is "manifest/<host>" while it runs.
type manifestCheck struct {
	session    *session
	challenge  answers.Challenge
	challenged bool // the host requires a login
	best       attempt
	tries      []string // "<source>: <end>" of each login
	tokens     []tokens.Result
}

// checkManifest is "manifest/<host>", and "token/<host>" if the registry requires
// a token. Like the runtime it sends the request without credentials first, and
// then with each of them once.
func (s *session) checkManifest(ctx context.Context) {
	c := manifestCheck{session: s}
	start := time.Now()
	c.tryAnonymously(ctx)
	if c.challenged {
		s.routeToTokenService(ctx, c.challenge)
		c.tryLogins(ctx)
	}
	if len(c.tokens) > 0 {
		s.add(tokens.Check(s.host.Name(), c.challenge, c.tokens))
	}
	check := c.check()
	check.Duration = report.Millis(time.Since(start))
	s.manifest = c.state()
	s.add(check)
}

// head requests the manifest by HEAD, or by GET if the registry has no HEAD, as often as
// the runtime does. It returns all answers, too.
func (c *manifestCheck) head(ctx context.Context, by httpclient.Login) (*httpclient.Reply, []string, error) {
	s := c.session
	st := resolveStep(s.ref)
	r := s.planned(st, "", s.ref.TagOrDigest(), "")
	r.By = by
	rep, given, err := s.sendAsRuntime(ctx, r, s.last)
	if err == nil && rep.Status == http.StatusMethodNotAllowed && s.budget.TakeManifest() {
		r = s.planned(st, "405", s.ref.TagOrDigest(), "")
		r.By, r.Limit = by, 1
		rep, given, err = s.sendAsRuntime(ctx, r, s.last)
		given = append([]string{"405"}, given...)
	}
	if err != nil {
		return nil, given, err
	}
	s.identity.add(rep)
	if rep.Hops == 0 {
		s.addClockOf(rep)
	}
	if rep.Status == http.StatusOK && r.Method == http.MethodHead && resolvesByGet(s.ref, rep) && s.budget.TakeManifest() {
		return c.resolveByGet(ctx, st, by, given)
	}
	return rep, given, nil
}

// resolveByGet requests the manifest whose answer to HEAD has no digest or no length. The
// runtime reads media type and digest from the answer.
func (c *manifestCheck) resolveByGet(
	ctx context.Context, st requests.Step, by httpclient.Login, given []string,
) (*httpclient.Reply, []string, error) {
	s, after := c.session, "200 without Docker-Content-Digest or Content-Length"
	if st == requests.ResolveDigest {
		after = "200 without Content-Length"
	}
	r := s.planned(st, after, s.ref.TagOrDigest(), "")
	r.By, r.Limit = by, httpclient.MaxBytes
	rep, more, err := s.sendAsRuntime(ctx, r, true)
	if len(more) > 1 {
		given = append(given, more...)
	}
	if err == nil {
		rep.Complete = true
	}
	return rep, given, err
}

// tryAnonymously sends the request without credentials.
func (c *manifestCheck) tryAnonymously(ctx context.Context) {
	s := c.session
	start := time.Now()
	rep, given, err := c.head(ctx, httpclient.Login{})
	if err != nil {
		requestFailed(s.host.Name(), &c.best.check, err, time.Since(start))
		c.best.answers = given
		return
	}
	if rep.Status == http.StatusUnauthorized {
		if c.challenge, c.challenged = answers.ReadChallenge(rep.Header); c.challenged {
			return
		}
	}
	c.best = s.judge(rep, httpclient.Login{})
	c.best.answers = given
	if rep.Status == http.StatusUnauthorized {
		c.best.check.Cause = report.Undetermined
		c.best.check.Summary = s.host.Name() + " answers 401 without naming the kind of credentials, so the runtime sends none"
	}
}

// tryLogins sends the request with each login until an answer is final.
func (c *manifestCheck) tryLogins(ctx context.Context) {
	for i, cred := range c.session.authorizer().loginsFor(c.session.target.Credentials) {
		a, token := c.tryUnlessRejected(ctx, cred)
		if token != nil {
			c.tokens = append(c.tokens, *token)
			if token.Clock != nil {
				c.session.addClocks(*token.Clock)
			}
		}
		c.tries = append(c.tries, cmp.Or(a.source, "anonymous")+": "+a.end())
		if i == 0 || a.rank > c.best.rank {
			c.best = a
		}
		if a.final {
			return
		}
	}
}

// check returns the check of the best attempt.
func (c *manifestCheck) check() report.Check {
	s, check := c.session, c.best.check
	check.ID, check.Kind, check.Target = report.ManifestID(s.host.Name()), report.KindManifest, imageName(s.ref)
	e := evidence.Facts(evidence.With(check.Evidence, report.KeyCredentials, strings.Join(c.tries, "; ")))
	e[report.KeyUsedCredential] = c.best.source
	if c.best.source == "" {
		e[report.KeyAnonymous] = report.True
	}
	if c.challenged {
		e[report.KeyAuth], e[report.KeyChallenged] = c.challenge.Scheme(), report.True
	}
	if c.best.rep != nil && !c.best.by.Anonymous() {
		e[report.KeyLoginUsed] = report.True
	}
	if httpclient.AddsLogin(s.host.Header) {
		e[report.KeyLoginInHosts] = report.True
	}
	e[report.KeyRetried] = retriedFact(c.best.answers)
	check.Evidence = e.Checked()
	return check
}

func (c *manifestCheck) state() manifestState {
	st := manifestState{
		asked: true, at: len(c.session.checks),
		status: c.best.status, login: c.best.by, challenge: c.challenge,
	}
	if rep := c.best.rep; rep != nil {
		st.mediaType = answers.MediaType(rep.Header)
		st.digest = rep.Header.Get("Docker-Content-Digest")
		st.size = answers.ManifestSize(rep)
		if rep.Complete && rep.Status == http.StatusOK {
			st.full = rep
		}
	}
	return st
}

// imageName names the image within its registry: "app:1" or "app@sha256:…".
func imageName(ref reference.Ref) string {
	if ref.Digest != "" {
		return ref.Path + "@" + ref.Digest
	}
	return ref.Path + ":" + ref.Tag
}

// explainRefusal adds to "manifest/<host>" why the manifest was refused; last is the
// registry itself.
func (s *session) explainRefusal(ctx context.Context, last bool) {
	if !s.manifest.asked || s.checks[s.manifest.at].Outcome != report.Fail {
		return
	}
	m := missing.Manifest{
		Host: s.host, Last: last, Ref: s.ref,
		Status: s.manifest.status, Login: s.manifest.login,
		V2Refused: report.Find(s.checks, report.RegistryID(s.host.Name())).Evidence[report.KeyStatus] == "403",
		Client:    s.client, Budget: s.budget, Neighbors: s.target.Neighbors,
		LogIn: func(ctx context.Context, repository string) httpclient.Login {
			by, _ := s.authorizer().logIn(ctx, s.manifest.challenge, s.manifest.login.Cred, repository)
			return by
		},
	}
	s.checks[s.manifest.at] = m.Explain(ctx, s.checks[s.manifest.at])
}
