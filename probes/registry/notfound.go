package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// explain finds out more about a refusal: whether it is the tag or the
// repository that is missing, what was meant, and the registry's error code.
// HEAD has no body to say so. Only the last host, the registry itself, is
// asked at length: mirrors lack images as a rule.
func (s *session) explainRefusal(ctx context.Context, last bool) {
	if !s.manifest.asked {
		return
	}
	check := &s.checks[s.manifest.at]
	e := evidence.Facts(check.Evidence)
	if check.Outcome != report.Fail {
		return
	}
	switch status := s.manifest.status; {
	case status == http.StatusNotFound && last:
		s.explainNotFound(ctx, check, e)
	case status == http.StatusNotFound:
		if rep := s.getManifestError(ctx); rep != nil && rep.status == http.StatusNotFound {
			e["code"] = errorCode(rep.body)
		}
	case status == http.StatusForbidden && check.BlockedBy == "":
		s.explainForbidden(ctx, check, e)
	}
	if last && (check.Cause == report.RepositoryNotFound || check.Cause == report.AccessDeniedOrMissing) {
		e["suggestRepository"] = s.suggestRepository(ctx)
	}
	check.Evidence = e.Checked()
}

func (s *session) explainForbidden(ctx context.Context, check *report.Check, e evidence.Facts) {
	for _, c := range s.checks {
		if c.ID == "registry/"+s.host.Name() && c.Evidence["status"] == "403" {
			// Not this repository: the registry opens its door to nobody from here,
			// as those with a list of allowed addresses do.
			e["registryStatus"] = "403"
			check.Summary += ", and GET /v2/ too: it may refuse this node's address"
		}
	}
	if rep := s.getManifestError(ctx); rep != nil {
		e["code"] = errorCode(rep.body)
		if isWebPage(rep.header) {
			e["contentType"] = rep.header.Get("Content-Type")
			check.Summary += ", with a web page: something in front of the registry may be refusing this node"
		}
	}
}

func (s *session) explainNotFound(ctx context.Context, check *report.Check, e evidence.Facts) {
	tags, list := s.listTags(ctx)
	exists := list != nil && list.status == http.StatusOK && len(tags) > 0
	gone := list != nil && noRepository(list)
	if list != nil {
		e["code"] = errorCode(list.body)
	}
	if !exists && !gone {
		if rep := s.getManifestError(ctx); rep != nil && rep.status == http.StatusNotFound {
			e["code"] = errorCode(rep.body)
			gone = e["code"] == "NAME_UNKNOWN"
		}
	}
	what := "tag " + s.ref.Tag
	if s.ref.Digest != "" {
		what = "manifest " + s.ref.Digest
	}
	switch {
	case gone:
		check.Cause = report.RepositoryNotFound
		check.Summary = fmt.Sprintf("%s has no repository %s", s.host.Name(), s.ref.Path)
		e["repository"] = "missing"
		if s.manifest.anonymous() {
			check.Summary += " that anyone may see without credentials"
		}
	case exists:
		e["repository"] = "exists"
		check.Summary = fmt.Sprintf("%s has the repository %s, but no %s in it", s.host.Name(), s.ref.Path, what)
	case list != nil && list.status == http.StatusOK && !list.cut:
		// Some say so of any name that is asked for.
		check.Summary = fmt.Sprintf("%s knows no tag at all of %s; whether the repository exists is not known", s.host.Name(), s.ref.Path)
		e["tags"] = "none"
	default:
		check.Summary += "; whether the repository exists is not known"
	}
	if s.ref.Digest == "" && !gone {
		s.suggestTag(ctx, check, e, tags, list)
	}
}

// Bounds of a page of tags.
const (
	tagsPerPage  = "100"
	tagPageBytes = 8 << 10
)

// listTags gets a page of the repository's tags, and if there are more, the
// page of those that sort near the one that was asked for. The reply is the
// first page's, nil if there was no answer.
func (s *session) listTags(ctx context.Context) ([]string, *reply) {
	page := func(query url.Values) *reply {
		query.Set("n", tagsPerPage)
		rep, err := s.client.send(ctx, request{
			method: http.MethodGet, url: s.apiURL(query, "tags", "list"),
			authorization: s.manifest.authorization, limit: tagPageBytes,
		})
		if err != nil {
			return nil
		}
		return rep
	}
	first := page(url.Values{})
	if first == nil || first.status != http.StatusOK || isWebPage(first.header) {
		return nil, first
	}
	tags := tagsIn(first.body)
	if s.ref.Tag != "" && hasMore(first) {
		// Those after last come in lexical order, by the specification.
		if next := page(url.Values{"last": {stem(s.ref.Tag)}}); next != nil && next.status == http.StatusOK {
			tags = append(tags, tagsIn(next.body)...)
		}
	}
	return tags, first
}

// more reports whether a list goes on after this page.
func hasMore(list *reply) bool { return list.cut || list.header.Get("Link") != "" }

// stem is a beginning of tag that its neighbours share: up to the last
// separator, or else its first half.
func stem(tag string) string {
	if i := strings.LastIndexAny(tag, ".-_"); i > 0 {
		return tag[:i+1]
	}
	return tag[:(len(tag)+1)/2]
}

// getError gets the manifest for the error in its body, if the budget allows.
func (s *session) getManifestError(ctx context.Context) *reply {
	if !s.budget.takeManifest() {
		return nil
	}
	rep, err := s.client.send(ctx, request{
		method: http.MethodGet, url: s.apiURL(nil, "manifests", s.ref.TagOrDigest()),
		header: http.Header{"Accept": {acceptManifests}}, authorization: s.manifest.authorization, limit: 4 << 10,
	})
	if err != nil {
		return nil
	}
	return rep
}

// tagsIn reads the tags of a tag list, of which the end may be cut off.
func tagsIn(body []byte) []string {
	var list struct {
		Tags []string `json:"tags"`
	}
	readList(body, &list)
	return list.Tags
}

// readList reads a JSON object that ends with a list of strings, of which the
// end may be cut off.
func readList(body []byte, into any) {
	if json.Unmarshal(body, into) == nil {
		return
	}
	if i := strings.LastIndex(string(body), `",`); i > 0 {
		_ = json.Unmarshal(append(body[:i+1:i+1], "]}"...), into) // not a list: nothing is read
	}
}
