package registry

import (
	"maps"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// judge returns what the answer to a request for the manifest means.
func (s *session) judge(rep *httpclient.Reply, by httpclient.Login) attempt {
	name, what := s.host.Name(), imageName(s.ref)
	e := evidence.Facts{report.KeyStatus: strconv.Itoa(rep.Status), report.KeyContentType: rep.Header.Get("Content-Type")}
	if rep.Hops > 0 {
		e[report.KeyRedirectedTo] = rep.Host
	}
	e[report.KeyCached] = answers.Cached(rep.Header)
	maps.Copy(e, answers.Quota(rep.Header))
	a := attempt{rank: 5, status: rep.Status, rep: rep}
	a.check.Evidence = e
	if answer := s.answerOfProxy(rep); answer != nil {
		f := connect.Classify(answer, rep.Took, "")
		f.Facts = connect.WithProxyFor(f.Facts, name)
		f.Apply(&a.check, "the proxy for "+name+": ")
		a.final = true
		return a
	}
	switch status := rep.Status; {
	case rep.Dropped && (status == 401 || status == 403 || status == 404):
		a.check.Outcome = report.Skipped
		a.check.Summary = redirectsAway(name, rep)
		e[report.KeyRuntimeWouldSend] = report.True
	case status == http.StatusOK && answers.IsWebPage(rep.Header):
		a.fail(5, report.Undetermined,
			readable.Clean(rep.Host, 80)+" answers with a web page instead of the manifest: a login portal or a proxy in between?")
		a.final = true
	case status >= 200 && status < 300 && lacksType(s.ref, rep):
		a.fail(5, report.Undetermined, name+" has "+what+", but sends no media type with it: the runtime takes it for a layer, and fails")
		a.final, e[report.KeyNoContentType] = true, report.True
	case status >= 200 && status < 300 && digestNotValid(s.ref, rep):
		a.fail(5, report.RegistryUnavailable, name+" has "+what+
			", but sends a Docker-Content-Digest that is not valid: the runtime rejects the answer")
		a.final, e[report.KeyDigest] = true, evidence.Word(rep.Header.Get("Docker-Content-Digest"), 80)
	case status >= 200 && status < 300:
		a.check.Outcome, a.final, a.rank = report.Pass, true, 9
		a.check.Summary = name + " has " + what
		if rep.Dropped && httpclient.SameSite(rep.Host, s.host.Host) && by.Sent() {
			e[report.KeyNotSeen] = "the manifest with the login, which the runtime sends along the redirect to " + readable.Clean(rep.Host, 80)
		}
		e[report.KeyMediaType], e[report.KeyDigest] = answers.MediaType(rep.Header), rep.Header.Get("Docker-Content-Digest")
	case status == http.StatusTooManyRequests:
		limited(&a.check, e, name, rep)
		a.rank, a.final = 6, true
	case status >= 500:
		a.fail(5, report.RegistryUnavailable, name+" answers "+answers.StatusText(status))
		a.final = true
	case status == http.StatusNotFound:
		a.fail(5, report.TagNotFound, name+" does not have "+what)
		e[report.KeyRepository] = "unknown"
	case status == http.StatusForbidden:
		a.judgeForbidden(name, what, by, answers.HidesMissing(s.ref.Domain))
	case status == http.StatusUnauthorized:
		a.judgeUnauthorized(name, what, s.ref.Path, by)
	case status == http.StatusPreconditionFailed:
		a.fail(5, report.AccessForbidden, name+" has "+what+", but a policy of the registry forbids to pull it (412)")
		e[report.KeyPolicy] = report.True
	default:
		a.fail(5, report.Undetermined, name+" answers "+answers.StatusText(status)+" to HEAD of the manifest")
	}
	return a
}

// lacksType reports whether the runtime resolves the manifest by this answer, which has
// no media type. Without a digest or a length it sends a GET, and takes the type from
// the answer to that.
func lacksType(ref reference.Ref, rep *httpclient.Reply) bool {
	return answers.MediaType(rep.Header) == "" && (rep.Complete || !resolvesByGet(ref, rep))
}

// digestNotValid reports whether the runtime takes the digest of the manifest from this
// answer, and it is not valid. For a name with a digest it does not read the header.
func digestNotValid(ref reference.Ref, rep *httpclient.Reply) bool {
	sent := rep.Header.Get("Docker-Content-Digest")
	return ref.Digest == "" && !rep.Complete && sent != "" && rep.Header.Get("Content-Length") != "" && digest.Digest(sent).Validate() != nil
}

// resolvesByGet reports whether the answer to HEAD makes the runtime send the GET.
func resolvesByGet(ref reference.Ref, rep *httpclient.Reply) bool {
	return ref.Digest == "" && rep.Header.Get("Docker-Content-Digest") == "" || rep.Header.Get("Content-Length") == ""
}

// redirectsAway is the summary of a check that ended at a redirect.
func redirectsAway(name string, rep *httpclient.Reply) string {
	if rep.Hops == 0 {
		return name + " has no TLS, and the headers of hosts.toml are not sent to it (the runtime would send them)"
	}
	return name + " redirects to " + readable.Clean(rep.Host, 80) + ", where credentials are not sent (the runtime would send them)"
}

func (a *attempt) fail(rank int, cause report.Cause, summary string) {
	a.rank = rank
	a.check.Outcome, a.check.Cause, a.check.Summary = report.Fail, cause, summary
}

func (a *attempt) judgeForbidden(name, what string, by httpclient.Login, hidden bool) {
	if by.Anonymous() {
		a.fail(4, report.AccessDeniedOrMissing, name+" requires credentials for "+what+", or does not have it (403)")
		return
	}
	a.fail(4, report.AccessForbidden, name+" does not let these credentials pull "+what+" (403)")
	if hidden {
		a.check.Evidence[report.KeyExistence] = "hidden"
	}
}

func (a *attempt) judgeUnauthorized(name, what, repository string, by httpclient.Login) {
	switch {
	case by.Sent() && !by.IsToken && answers.WantsTokenOnly(a.rep.Header):
		// The runtime has one header Authorization, and sends the same again.
		a.fail(3, report.Undetermined, name+" asks for a user name and password, and then for a token (401): "+
			"something in front of the registry has a login of its own, and the runtime sends one of them only")
	case by.IsToken:
		a.judgeInsufficientToken(name, what, repository, by)
	case by.Anonymous():
		a.fail(2, report.CredentialsMissing, name+" requires credentials for "+what+" (401), and there are none")
	default:
		a.fail(2, report.CredentialsRejected, name+" rejects the credentials (401)")
	}
}

// judgeInsufficientToken reads a 401 to a token. The token service knew the
// login; its token does not give access. What a token does not open looks the
// same as what does not exist.
func (a *attempt) judgeInsufficientToken(name, what, repository string, by httpclient.Login) {
	ch, _ := answers.ReadChallenge(a.rep.Header)
	a.check.Evidence[report.KeyError] = readable.Clean(ch.Problem, 64)
	switch {
	case ch.Problem == "invalid_token":
		a.fail(3, report.TokenServiceFailed, name+" rejects the token of its own token service")
	case by.Anonymous():
		a.fail(3, report.AccessDeniedOrMissing, name+" requires credentials for "+what+", or does not have it (401)")
	default:
		a.fail(3, report.AccessDeniedOrMissing, "these credentials cannot pull "+repository+" from "+name+", or it does not exist")
		a.check.Evidence[report.KeyExistence] = "hidden"
	}
}
