package missing

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/refusal"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Manifest is one that a host refused, with what is needed to ask that host more about it.
type Manifest struct {
	Host runtimeconfig.Host
	Last bool // the registry itself: it gets many requests, a mirror often lacks images
	Ref  reference.Ref

	Status    int              // of the answer that decides
	Login     httpclient.Login // that the answer was given to
	V2Refused bool             // GET /v2/ was answered with 403, too

	Neighbors func() []string // repositories of this registry that may be meant; nil: none are known

	Client *httpclient.Client
	Budget *httpclient.Budget
	LogIn  func(ctx context.Context, repository string) httpclient.Login // as Login, for another repository
}

// Explain returns the check "manifest/<host>" with why the manifest was refused: whether
// the tag or the repository is missing, which name was meant, and the registry's error
// code. An answer to HEAD has no body to say so.
func (m Manifest) Explain(ctx context.Context, check report.Check) report.Check {
	x := explainer{manifest: m, check: &check, facts: check.Evidence}
	if x.facts == nil {
		x.facts = evidence.Facts{}
	}
	switch status := m.Status; {
	case check.BlockedBy != "", status < 400, status >= 500 && status != http.StatusNotImplemented, x.facts[report.KeyNoContentType] != "",
		status == http.StatusUnauthorized, status == http.StatusTooManyRequests:
	case x.answersGet(ctx):
		// The answer to HEAD is the one that the runtime gets; it says nothing of the image.
		check.Cause = report.Undetermined
		check.Summary = fmt.Sprintf("%s answers HEAD of the manifest with %d and GET with %s: the runtime sends HEAD",
			m.Host.Name(), status, x.facts[report.KeyGetStatus])
	case status == http.StatusNotFound && m.Last:
		x.explainNotFound(ctx)
	case status == http.StatusForbidden:
		x.explainForbidden()
	}
	x.readRefusal()
	if m.Last && (check.Cause == report.RepositoryNotFound || check.Cause == report.AccessDeniedOrMissing) {
		x.suggestRepository(ctx)
	}
	x.facts[report.KeyLimited] = m.Budget.LimitOf(m.Host.Host)
	check.Evidence = x.facts.Checked()
	return check
}

// explainer is Explain while it runs.
type explainer struct {
	manifest Manifest
	check    *report.Check
	facts    evidence.Facts
	get      *httpclient.Reply // of the manifest; nil: it was not requested, or there was no answer

	noTokens bool     // the token service gave none for a guessed repository
	list     *catalog // nil: it was not requested
}

// catalog is a registry's list of repositories.
type catalog struct {
	paths    []string
	complete bool // paths are all of them
}

// url returns a URL of the registry API for the manifest's own repository.
func (m Manifest) url(query url.Values, parts ...string) string {
	return requests.URL(m.Host, m.Ref.Domain, m.Ref.Path, query, parts...)
}

// answersGet asks for the same manifest by GET, once, and reports whether the host gives
// it. The answer to GET has the registry's error code, too.
func (x *explainer) answersGet(ctx context.Context) bool {
	if x.get = x.getManifest(ctx); x.get == nil {
		return false
	}
	x.facts[report.KeyGetStatus] = strconv.Itoa(x.get.Status)
	if x.get.Status == x.manifest.Status {
		x.facts[report.KeyCode] = answers.ErrorCode(x.get.Body)
	}
	return x.get.Status == http.StatusOK && !answers.IsWebPage(x.get.Header)
}

func (x *explainer) explainForbidden() {
	if x.manifest.V2Refused {
		// Not this repository alone: the registry refuses every request from here, as
		// those with a list of allowed addresses do.
		x.facts[report.KeyRegistryStatus] = "403"
		x.check.Summary += ", and GET /v2/ too: it may refuse this node's address"
	}
	if rep := x.get; rep != nil {
		if answers.IsWebPage(rep.Header) {
			x.facts[report.KeyContentType] = rep.Header.Get("Content-Type")
			x.check.Summary += ", with a web page: something in front of the registry may be refusing this node"
		}
	}
}

// readRefusal adds the reason of the refusal to the facts. HEAD has no text:
// that of a GET beside it counts if it was refused with the same status, as for
// containerd since 2.3.3 (withGETErrorBody).
func (x *explainer) readRefusal() {
	status := x.manifest.Status
	if x.check.Outcome != report.Fail || x.check.BlockedBy != "" {
		return
	}
	reason := refusal.ReasonOfStatus(status)
	if x.get != nil {
		reason = ""
		if x.get.Status == status {
			reason = refusal.ReasonOfAnswer(x.get)
		}
	}
	x.facts[report.KeyRefusedFor] = reason
}

func (x *explainer) explainNotFound(ctx context.Context) {
	m := x.manifest
	tags, list := x.listTags(ctx)
	exists := list != nil && list.Status == http.StatusOK && len(tags) > 0
	gone := list != nil && answers.NoRepository(list)
	switch code := x.facts[report.KeyCode]; {
	case list != nil && answers.ErrorCode(list.Body) != "" && (gone || code == ""):
		x.facts[report.KeyCode] = answers.ErrorCode(list.Body)
	case !exists && !gone:
		gone = code == "NAME_UNKNOWN"
	}
	what := fmt.Sprintf("tag %q", m.Ref.Tag)
	if m.Ref.Digest != "" {
		what = "manifest " + m.Ref.Digest
	}
	switch {
	case gone:
		x.check.Cause = report.RepositoryNotFound
		x.check.Summary = fmt.Sprintf("%s has no repository %s", m.Host.Name(), m.Ref.Path)
		x.facts[report.KeyRepository] = "missing"
		if m.Login.Anonymous() {
			x.check.Summary += " that is visible without credentials"
		}
	case exists:
		x.facts[report.KeyRepository] = "exists"
		x.check.Summary = fmt.Sprintf("%s does not exist in %s/%s", what, m.Host.Name(), m.Ref.Path)
	case list != nil && list.Status == http.StatusOK && !list.Cut:
		// Some registries answer this for any name.
		x.check.Summary = fmt.Sprintf("%s has no tags of %s; whether the repository exists is unknown", m.Host.Name(), m.Ref.Path)
		x.facts[report.KeyTags] = "none"
	default:
		x.check.Summary += "; whether the repository exists is unknown"
	}
	switch {
	case m.Ref.Digest == "" && !gone:
		x.suggestTag(ctx, tags, list)
	case m.Ref.IgnoredTag != "" && slices.Contains(tags, m.Ref.IgnoredTag) && x.lacksTag(ctx, m.Ref.IgnoredTag):
		x.facts[report.KeyListed] = report.True
		x.check.Summary += ", nor does the tag " + strconv.Quote(m.Ref.IgnoredTag) + ", which the registry lists"
	}
}

// lacksTag reports, by a HEAD within the budget, whether the registry answers 404 for a tag.
func (x *explainer) lacksTag(ctx context.Context, tag string) bool {
	m := x.manifest
	if !m.Budget.TakeGuess() {
		return false
	}
	rep, err := m.Client.Send(ctx, httpclient.Request{
		Method: http.MethodHead, URL: m.url(nil, "manifests", tag),
		Header: http.Header{"Accept": {requests.AcceptManifests}}, By: m.Login, Question: true,
	})
	return err == nil && rep.Status == http.StatusNotFound
}

// getManifest gets the manifest for the error in the body of the answer, if the
// budget allows; nil if it does not, or if there is no answer.
func (x *explainer) getManifest(ctx context.Context) *httpclient.Reply {
	m := x.manifest
	if !m.Budget.TakeManifest() {
		return nil
	}
	rep, err := m.Client.Send(ctx, httpclient.Request{
		Method: http.MethodGet, URL: m.url(nil, "manifests", m.Ref.TagOrDigest()),
		Header: http.Header{"Accept": {requests.AcceptManifests}}, By: m.Login, Limit: 4 << 10, Question: true,
	})
	if err != nil {
		return nil
	}
	return rep
}

// Bounds of a page of tags.
const (
	tagsPerPage  = "100"
	tagPageBytes = 8 << 10
)

// listTags gets a page of the repository's tags and, if there are more, the page
// of those that sort near the wanted one. The reply is that of the first page;
// nil if there was no answer.
func (x *explainer) listTags(ctx context.Context) ([]string, *httpclient.Reply) {
	m := x.manifest
	wanted := cmp.Or(m.Ref.Tag, m.Ref.IgnoredTag)
	page := func(query url.Values) *httpclient.Reply {
		if !query.Has("n") {
			query.Set("n", tagsPerPage)
		}
		rep, err := m.Client.Send(ctx, httpclient.Request{
			Method: http.MethodGet, URL: m.url(query, "tags", "list"),
			By: m.Login, Limit: tagPageBytes, Question: true,
		})
		if err != nil {
			return nil
		}
		return rep
	}
	first := page(url.Values{})
	if first == nil || first.Status != http.StatusOK || answers.IsWebPage(first.Header) {
		return nil, first
	}
	tags := answers.Tags(first.Body)
	complete := !answers.HasMore(first)
	if wanted != "" && !complete && !slices.Contains(tags, wanted) {
		// The tags after last follow in lexical order, by the specification.
		if next := page(url.Values{"last": {stem(wanted)}}); next != nil && next.Status == http.StatusOK {
			near := answers.Tags(next.Body)
			complete = covers(near, wanted, answers.HasMore(next))
			tags = append(tags, near...)
		}
		if !complete && len(wanted) > 1 && slices.IsSorted(answers.Tags(first.Body)) && !slices.Contains(tags, wanted) {
			// The one tag that follows just before the wanted one.
			next := page(url.Values{"n": {"1"}, "last": {wanted[:len(wanted)-1]}})
			if next != nil && next.Status == http.StatusOK {
				at := answers.Tags(next.Body)
				complete = len(at) > 0 && covers(at, wanted, true)
				tags = append(tags, at...)
			}
		}
	}
	switch {
	case m.Ref.Tag == "" || first.Encoded != "":
	case slices.Contains(tags, m.Ref.Tag):
		x.facts[report.KeyListed] = report.True
	case complete && len(tags) > 0:
		x.facts[report.KeyListed] = "false"
	}
	return tags, first
}

// covers reports whether a page of tags, in lexical order from just before a tag on,
// would have that tag: its last tag comes after, or no page follows.
func covers(page []string, tag string, more bool) bool {
	return slices.IsSorted(page) && (!more || len(page) > 0 && page[len(page)-1] > tag)
}

// stem returns a beginning of tag that its neighbours share: up to the last
// separator, or else its first half.
func stem(tag string) string {
	if i := strings.LastIndexAny(tag, ".-_"); i > 0 {
		return tag[:i+1]
	}
	return tag[:(len(tag)+1)/2]
}
