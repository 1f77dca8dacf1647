package registry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// suggestTag offers, as suggestTag, a tag that may have been meant, once it was
// seen to exist with the same login; and as similarTags what is listed nearby.
func (s *session) suggestTag(ctx context.Context, check *report.Check, e evidence.Facts, tags []string, list *reply) {
	meant, near := similar(s.ref.Tag, tags)
	listed := slices.Concat(meant, near)
	e["similarTags"] = strings.Join(listed[:min(len(listed), 3)], ", ")
	if len(tags) == 0 || hasMore(list) {
		meant = append(meant, guessTags(s.ref.Tag)...)
	}
	for _, tag := range unequal(meant, s.ref.Tag) {
		if s.exists(ctx, s.ref.Path, tag) {
			e["suggestTag"] = tag
			check.Summary += "; it has " + tag
			return
		}
	}
}

// suggestRepository looks for the repository that may have been meant: one
// that exists, has the tag, and opens to the same login. What the login may
// not read is never named: a private sibling is no typo.
func (s *session) suggestRepository(ctx context.Context) string {
	candidates := guessRepositories(s.ref.Domain, s.ref.Path)
	if !s.manifest.isToken {
		// A token for one repository does not open the catalog.
		candidates = append(similarRepositories(s.ref.Path, s.catalog(ctx)), candidates...)
	}
	for _, path := range unequal(candidates, s.ref.Path) {
		if s.exists(ctx, path, s.ref.TagOrDigest()) {
			return path
		}
	}
	return ""
}

// catalog is the beginning of the registry's list of repositories, if it
// shows one.
func (s *session) catalog(ctx context.Context) []string {
	at := s.host.Scheme + "://" + s.host.Host + strings.TrimSuffix(s.host.Path, "/") + "/_catalog?" + url.Values{"n": {"100"}}.Encode()
	rep, err := s.client.send(ctx, request{method: http.MethodGet, url: at, authorization: s.manifest.authorization, limit: tagPageBytes})
	if err != nil || rep.status != http.StatusOK {
		return nil
	}
	var list struct {
		Repositories []string `json:"repositories"`
	}
	readList(rep.body, &list)
	return list.Repositories
}

// exists asks by HEAD, within the budget, whether another tag or repository is
// there for the same login.
func (s *session) exists(ctx context.Context, path, object string) bool {
	if !s.budget.takeGuess() {
		return false
	}
	other := *s
	other.ref.Path = path
	by := s.manifest.login
	if by.isToken && path != s.ref.Path {
		if by, _ = s.logIn(ctx, s.manifest.challenge, by.cred, path); by.authorization == "" {
			return false
		}
	}
	rep, err := s.client.send(ctx, request{
		method: http.MethodHead, url: other.apiURL(nil, "manifests", object),
		header: http.Header{"Accept": {acceptManifests}}, authorization: by.authorization,
	})
	return err == nil && rep.status == http.StatusOK && !isWebPage(rep.header)
}

// unequal are the names in list that are not name, each once.
func unequal(list []string, name string) []string {
	seen := map[string]bool{name: true}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
