package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/refusal"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// maxLayers bounds the layers that are asked for.
const maxLayers = 24

// checkLayers is "blob/<host>" for the largest layer, or for the first one that no host
// has, if each is to be asked for.
func checkLayers(ctx context.Context, sessions []*session, found *session, layers []ocispec.Descriptor) []report.Check {
	first := checkBlobs(ctx, sessions, found, layers[0])
	at := len(first) - 1 // the host that has it, if one has
	if !found.target.EveryLayer || first[at].Outcome != report.Pass {
		return first
	}
	seen := 1
	for _, layer := range layers[1:min(len(layers), maxLayers)] {
		checks := checkBlobs(ctx, sessions, found, layer)
		last := checks[len(checks)-1]
		if last.Cause == report.RateLimited || ctx.Err() != nil {
			break // the runtime sends fewer requests
		}
		if last.Outcome == report.Fail {
			return checks
		}
		if last.Outcome == report.Pass {
			seen++
		}
	}
	first[at].Evidence = evidence.With(first[at].Evidence, report.KeyLayersSeen, fmt.Sprintf("%d of %d", seen, len(layers)))
	return first
}

// checkBlobs is "blob/<host>" for the hosts in the order in which the runtime asks
// them for a layer, up to the first that has it: containerd goes to the next host
// on any error (dockerFetcher.Fetch), and starts again at the first one, whichever
// had the manifest. The checks are in the order of the sessions.
func checkBlobs(ctx context.Context, sessions []*session, found *session, layer ocispec.Descriptor) []report.Check {
	var checks []report.Check
	for i, s := range sessions {
		b := &layerCheck{session: s, layer: layer, facts: evidence.Facts{}}
		b.check = report.Check{ID: report.BlobID(s.host.Name()), Kind: report.KindBlob, Target: layer.Digest.String()}
		if s.client == nil {
			last := s.checks[len(s.checks)-1]
			b.check.Outcome, b.check.BlockedBy = report.Skipped, last.BlockedBy
			b.check.Summary = "skipped: " + s.host.Name() + " is not reachable"
			checks = append(checks, b.check)
			continue
		}
		if !s.manifest.asked {
			s.manifest.login.Cred = found.manifest.login.Cred // the runtime has one login for all hosts
		}
		checks = append(checks, b.run(share(ctx, len(sessions)-i)))
		if b.check.Outcome == report.Pass {
			break
		}
	}
	return checks
}

// share bounds the first of n hosts, so that one that hangs leaves time for the
// others.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && n > 1 {
		return context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	return context.WithCancel(ctx)
}

// layerCheck is "blob/<host>" while it runs: one layer at one host.
type layerCheck struct {
	session *session
	layer   ocispec.Descriptor
	check   report.Check
	facts   evidence.Facts
	fromURL string // the host of the layer's own URL; empty: the session's host is asked
}

// leadsTo returns what leads the runtime to another host for a layer.
func (b *layerCheck) leadsTo(host string) string {
	if b.fromURL != "" {
		return "the manifest at " + b.session.host.Name() + " leads a layer to " + readable.Clean(host, 80)
	}
	return b.session.host.Name() + " redirects layers to " + readable.Clean(host, 80)
}

// run gets one byte of the layer.
func (b *layerCheck) run(ctx context.Context, cancel context.CancelFunc) report.Check {
	defer cancel()
	start := time.Now()
	rep, err := b.get(ctx, b.session.manifest.login)
	if err == nil && rep.Status == http.StatusUnauthorized && rep.Hops == 0 && !b.session.manifest.login.Sent() {
		if ch, ok := answers.ReadChallenge(rep.Header); ok {
			by, _ := b.session.authorizer().logIn(ctx, ch, b.session.manifest.login.Cred, b.session.ref.Path)
			if by.Sent() {
				rep, err = b.get(ctx, by)
			}
		}
	}
	took := time.Since(start)
	if err == nil {
		b.answered(rep)
	} else {
		b.facts[report.KeyBlobSize] = strconv.FormatInt(b.layer.Size, 10)
		b.facts[report.KeyUsedCredential] = b.session.manifest.login.Cred.Source
		b.noAnswer(err, took)
		b.check.Evidence = b.facts.Checked()
	}
	b.check.Duration = report.Millis(took)
	return b.check
}

// answered fills in the check of a layer, or a config, from the answer.
func (b *layerCheck) answered(rep *httpclient.Reply) {
	b.facts[report.KeyBlobSize] = strconv.FormatInt(b.layer.Size, 10)
	b.facts[report.KeyUsedCredential] = b.session.manifest.login.Cred.Source
	if rep.Hops > 0 {
		b.facts[report.KeyBlobHost] = rep.Host
	}
	b.facts[report.KeyStatus] = strconv.Itoa(rep.Status)
	b.judge(rep)
	b.readRefusal(rep)
	b.check.Evidence = b.facts.Checked()
}

func (b *layerCheck) get(ctx context.Context, by httpclient.Login) (*httpclient.Reply, error) {
	r := b.session.planned(requests.FetchBlob, "", b.layer.Digest.String(), b.layer.MediaType)
	r.Header.Set("Range", "bytes=0-0")
	r.By, r.Limit, r.FirstByte = by, 1<<10, true
	rep, answers, err := b.session.sendAsRuntime(ctx, r, b.session.lastOfAll)
	b.facts[report.KeyRetried] = retriedFact(answers)
	return rep, err
}

func (b *layerCheck) fail(cause report.Cause, summary string) {
	b.check.Outcome, b.check.Cause, b.check.Summary = report.Fail, cause, summary
}

// elsewhere fails for a fault of the host that the registry redirects to.
func (b *layerCheck) elsewhere(inner report.Cause, host, what string) {
	b.facts[report.KeyBlobHost], b.facts[report.KeyInnerCause] = host, string(inner)
	b.fail(report.BlobHostUnreachable, b.leadsTo(host)+": "+what)
}

func (b *layerCheck) noAnswer(err error, took time.Duration) {
	name := b.session.host.Name()
	host := b.fromURL
	if redirect, ok := errors.AsType[*httpclient.RedirectError](err); ok {
		host = redirect.Host
	}
	elsewhere := host != ""
	if elsewhere {
		b.facts[report.KeyBlobHost] = host
	}
	if blocked, ok := errors.AsType[*connect.BlockedError](err); ok {
		b.facts[report.KeyRefused] = blocked.Reason
		if blocked.Cause != "" {
			b.fail(blocked.Cause, name+" does not give the layers: "+readable.Clean(blocked.Reason, 160))
			return
		}
		b.check.Outcome = report.Skipped
		b.check.Summary = "skipped: " + readable.Clean(blocked.Reason, 160)
		b.facts[report.KeyNotSeen] = "the layer: " + blocked.Reason
		return
	}
	late := report.RegistryUnavailable
	if elsewhere {
		late = report.ConnectionTimeout
	}
	f := connect.Classify(err, took, late)
	for k, x := range connect.WithProxyFor(f.Facts, cmp.Or(b.facts[report.KeyBlobHost], name)) {
		b.facts[k] = x
	}
	switch {
	case f.Unfinished:
		b.facts[report.KeyNotSeen] = "the layer: this diagnosis timed out"
		b.check.Summary = "timed out before a layer came from " + readable.Clean(cmp.Or(b.facts[report.KeyBlobHost], name), 80)
	case elsewhere:
		b.elsewhere(f.Cause, host, f.Message)
		if f.Cause == report.ProxyDenied {
			b.check.Cause = f.Cause // the proxy refuses that host, and would refuse any layer there
		}
	default:
		b.fail(f.Cause, name+" does not give the layers: "+f.Message)
	}
}

// judge fills in what the answer means. The runtime requests the whole layer: an
// answer that is due to our Range alone proves nothing.
func (b *layerCheck) judge(rep *httpclient.Reply) {
	name, host := b.session.host.Name(), readable.Clean(rep.Host, 80)
	where, away := name, rep.Hops > 0 || b.fromURL != ""
	if away {
		where = host + ", to which " + name + " redirects layers,"
		if b.fromURL != "" {
			where = host + ", to which the manifest leads the layer,"
		}
	}
	unauthorized, forbidden := rep.Status == http.StatusUnauthorized, rep.Status == http.StatusForbidden
	missing := rep.Status == http.StatusNotFound
	switch status := rep.Status; {
	case rep.Dropped && rep.Hops == 0 && (unauthorized || forbidden || missing):
		b.check.Outcome = report.Skipped
		b.check.Summary = redirectsAway(name, rep)
		b.facts[report.KeyRuntimeWouldSend] = report.True
		b.facts[report.KeyNotSeen] = "the layer: its host has no TLS, and the headers of hosts.toml are not sent to it"
	case rep.Dropped && (unauthorized || (forbidden || missing) && httpclient.SameSite(rep.Host, b.session.host.Host)):
		b.check.Outcome = report.Skipped
		b.check.Summary = redirectsAway(name, rep)
		b.facts[report.KeyRuntimeWouldSend] = report.True
		b.facts[report.KeyNotSeen] = "the layer: its host wants credentials, which are not sent along a redirect"
	case (status < 300 || forbidden) && answers.IsWebPage(rep.Header):
		b.facts[report.KeyContentType] = rep.Header.Get("Content-Type")
		what := "answers with a web page instead of a layer: a login portal or a filter in between?"
		if away {
			b.elsewhere(report.Undetermined, rep.Host, "it "+what)
			return
		}
		b.fail(report.Undetermined, name+" "+what)
	case status == http.StatusOK, status == http.StatusPartialContent:
		b.judgeSize(rep, where)
	case status == http.StatusRequestedRangeNotSatisfiable:
		if n, ok := answers.TotalSize(rep); ok && n != b.layer.Size {
			b.wrongSize(n, where)
			return
		}
		b.check.Summary = where + " does not give a part of a layer (416); the runtime requests all of it"
		b.facts[report.KeyNotSeen] = "the layer: its host gives no part of it"
	case status == http.StatusTooManyRequests:
		limited(&b.check, b.facts, where, rep)
	case status >= 500:
		b.fail(report.RegistryUnavailable, where+" answers "+answers.StatusText(status)+" for a layer")
	case missing && !b.session.found():
		b.check.Outcome = report.Skipped
		b.check.Summary = where + " does not have this layer; the runtime continues with the next host"
		if b.session.manifest.asked {
			b.check.BlockedBy = report.ManifestID(name)
		}
	case missing && notOfARegistry(rep):
		b.facts[report.KeyContentType] = rep.Header.Get("Content-Type")
		b.fail(report.Undetermined, where+" answers 404 for a layer as a web server does, not as a registry or a store of layers")
	case missing:
		b.facts[report.KeyCode] = answers.StoreCode(rep.Body)
		b.fail(report.LayerCorrupt, where+" does not have a blob that the manifest names (404)")
	case (forbidden || unauthorized) && away:
		// The signature of the URL may be invalid, or the store closed to this node's
		// network: only the store's code tells which.
		b.facts[report.KeyCode] = answers.StoreCode(rep.Body)
		b.elsewhere(report.AccessForbidden, rep.Host, "it answers "+answers.StatusText(status)+inBrackets(b.facts[report.KeyCode]))
	case forbidden, unauthorized:
		b.facts[report.KeyCode] = answers.StoreCode(rep.Body)
		b.fail(report.AccessForbidden, fmt.Sprintf("%s gives the manifest but not the layers (%d)", where, status))
	default:
		b.fail(report.Undetermined, where+" answers "+answers.StatusText(status)+" for a layer")
	}
}

func (b *layerCheck) judgeSize(rep *httpclient.Reply, where string) {
	size, known := answers.TotalSize(rep)
	switch {
	case known && b.layer.Size > 0 && size != b.layer.Size:
		b.wrongSize(size, where)
		return
	case len(rep.Body) == 0 && b.layer.Size != 0:
		b.wrongSize(0, where)
		return
	}
	if rep.Status == http.StatusOK {
		b.facts[report.KeyRangeIgnored] = report.True
	}
	if rep.Dropped && rep.Hops > 0 && httpclient.SameSite(rep.Host, b.session.host.Host) {
		b.facts[report.KeyNotSeen] = "the layer with the login, which the runtime sends along the redirect to " + readable.Clean(rep.Host, 80)
		b.facts[report.KeyRuntimeWouldSend] = report.True
	}
	b.check.Outcome = report.Pass
	b.check.Summary = "layers are available from " + b.session.host.Name()
	if rep.Hops > 0 {
		b.check.Summary = fmt.Sprintf("layers are available: %s redirects them to %s", b.session.host.Name(), readable.Clean(rep.Host, 80))
	}
}

func (b *layerCheck) wrongSize(size int64, where string) {
	b.facts[report.KeySize] = strconv.FormatInt(size, 10)
	b.fail(report.LayerCorrupt, fmt.Sprintf("%s has %d bytes of a blob of %d bytes", where, size, b.layer.Size))
}

// notOfARegistry reports whether the text of a 404 is one that neither registries nor
// stores of layers send: a page, or a text without an error of theirs. A route may be
// missing then, and not the layer.
func notOfARegistry(rep *httpclient.Reply) bool {
	text := strings.TrimSpace(string(rep.Body))
	return answers.StoreCode(rep.Body) == "" && text != "" && !strings.HasPrefix(text, "{")
}

// readRefusal adds to "blob/<host>" the reason of the refusal.
func (b *layerCheck) readRefusal(rep *httpclient.Reply) {
	if b.check.Outcome == report.Fail {
		b.facts[report.KeyRefusedFor] = refusal.ReasonOfAnswer(rep)
	}
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
