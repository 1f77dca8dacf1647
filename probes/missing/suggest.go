package missing

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/probes/requests"
	"github.com/pullprobe/pullprobe/probes/similar"
	"github.com/pullprobe/pullprobe/report"
)

// suggestTag sets the fact suggestTag to a tag that may have been meant, once the
// same login was seen to have access to it, similarTags to tags that are listed nearby,
// and newestTag to the one that was pushed last.
func (x *explainer) suggestTag(ctx context.Context, tags []string, list *httpclient.Reply) {
	ref := x.manifest.Ref
	meant, near := similar.Tags(ref.Tag, tags)
	listed := slices.Concat(meant, near)
	x.facts[report.KeySimilarTags] = strings.Join(listed[:min(len(listed), 3)], ", ")
	if len(tags) == 0 || answers.HasMore(list) {
		meant = append(meant, similar.GuessTags(ref.Tag)...)
	}
	newest := ""
	if list != nil && list.Status == http.StatusOK && !answers.HasMore(list) {
		newest = similar.Valid(answers.NewestTag(list.Body))
		x.facts[report.KeyNewestTag] = newest
	}
	for _, tag := range without(meant, ref.Tag) {
		if x.exists(ctx, ref.Path, tag) {
			x.facts[report.KeySuggestTag] = tag
			x.check.Summary += `; closest existing tag: "` + tag + `"`
			break
		}
	}
	if x.facts[report.KeySuggestTag] == "" && list != nil && list.Status == http.StatusOK && !answers.HasMore(list) {
		x.nameTags(tags)
	}
	if newest != "" && newest != x.facts[report.KeySuggestTag] {
		x.check.Summary += `; newest: "` + newest + `"`
	}
}

// maxNamedTags is how many of the existing tags a check names.
const maxNamedTags = 5

// nameTags sets the fact existingTags to some of the tags that the repository has: a
// registry lists them by name, so that the last ones are most often the newest.
func (x *explainer) nameTags(tags []string) {
	var named []string
	for _, tag := range tags[max(0, len(tags)-maxNamedTags):] {
		if tag = similar.Valid(tag); tag != "" {
			named = append(named, tag)
		}
	}
	if len(named) == 0 {
		return
	}
	x.facts[report.KeyExistingTags] = strings.Join(named, ", ")
	x.check.Summary += `; existing tags: "` + strings.Join(named, `", "`) + `"`
	if more := len(tags) - len(named); more > 0 {
		x.check.Summary += " and " + strconv.Itoa(more) + " more"
	}
}

// suggestRepository sets the fact suggestRepository to the repository that may have been
// meant: it exists, has the tag, and the same login has access to it. A repository without
// access is never named: a private sibling is no typo. The fact shortName says that only a
// short name was similar.
func (x *explainer) suggestRepository(ctx context.Context) {
	if path := x.meantRepository(ctx); path != "" {
		x.facts[report.KeySuggestRepository] = path
		x.check.Summary += "; closest existing repository: " + x.manifest.Ref.Domain + "/" + path
	}
}

func (x *explainer) meantRepository(ctx context.Context) string {
	m := x.manifest
	var tried []string
	for _, candidates := range []func() []string{
		func() []string { return similar.Repositories(m.Ref.Path, x.neighbors()) },
		func() []string { list, _ := x.catalog(ctx); return similar.Repositories(m.Ref.Path, list) },
		func() []string { return similar.GuessRepositories(m.Ref.Domain, m.Ref.Path) },
	} {
		for _, path := range without(candidates(), m.Ref.Path) {
			if slices.Contains(tried, path) {
				continue
			}
			tried = append(tried, path)
			if x.exists(ctx, path, m.Ref.TagOrDigest()) {
				return path
			}
		}
	}
	return x.shortRepository(ctx)
}

// shortRepository returns the one repository whose short name is similar, among those that
// the namespace runs, and all that the registry has if it lists them.
func (x *explainer) shortRepository(ctx context.Context) string {
	m := x.manifest
	known := x.neighbors()
	if list, complete := x.catalog(ctx); complete {
		known = slices.Concat(known, list)
	}
	path := similar.ShortRepository(m.Ref.Path, known)
	if path == "" || !x.exists(ctx, path, m.Ref.TagOrDigest()) {
		return ""
	}
	x.facts[report.KeyShortName] = report.True
	return path
}

// neighbors returns the repositories that are known without a request.
func (x *explainer) neighbors() []string {
	if x.manifest.Neighbors == nil {
		return nil
	}
	return x.manifest.Neighbors()
}

// catalog returns the beginning of the registry's list of repositories, and whether it is all
// of it; nil if the registry does not show one. It is requested once. A token for one repository gives no access to it, and a login of the
// node may show the repositories of all teams to the owner of one pod.
func (x *explainer) catalog(ctx context.Context) (list []string, complete bool) {
	if x.list == nil {
		paths, all := x.getCatalog(ctx)
		x.list = &catalog{paths, all}
	}
	return x.list.paths, x.list.complete
}

func (x *explainer) getCatalog(ctx context.Context) (paths []string, complete bool) {
	m := x.manifest
	source := m.Login.Cred.Source
	ofPod := strings.HasPrefix(source, "secret ") || strings.HasPrefix(source, "file ")
	if m.Login.IsToken || !m.Login.Anonymous() && !ofPod {
		return nil, false
	}
	address := m.Host.Scheme + "://" + m.Host.Host + strings.TrimSuffix(m.Host.Path, "/") +
		"/_catalog?" + url.Values{"n": {"100"}}.Encode()
	rep, err := m.Client.Send(ctx, httpclient.Request{
		Method:   http.MethodGet,
		URL:      address,
		By:       m.Login,
		Limit:    tagPageBytes,
		Question: true,
	})
	if err != nil || rep.Status != http.StatusOK {
		return nil, false
	}
	var list struct {
		Repositories []string `json:"repositories"`
	}
	answers.ReadList(rep.Body, &list)
	return list.Repositories, !answers.HasMore(rep)
}

// exists reports, by a HEAD within the budget, whether another tag or repository
// exists for the same login.
func (x *explainer) exists(ctx context.Context, path, object string) bool {
	m := x.manifest
	if !m.Budget.TakeGuess() {
		return false
	}
	by := m.Login
	if by.IsToken && path != m.Ref.Path {
		if x.noTokens {
			return false
		}
		if by = m.LogIn(ctx, path); !by.Sent() {
			x.noTokens = true // a login that is refused is not sent again for a guess
			return false
		}
	}
	rep, err := m.Client.Send(ctx, httpclient.Request{
		Method: http.MethodHead, URL: requests.URL(m.Host, m.Ref.Domain, path, nil, "manifests", object),
		Header: http.Header{"Accept": {requests.AcceptManifests}}, By: by, Question: true,
	})
	return err == nil && rep.Status == http.StatusOK && !answers.IsWebPage(rep.Header)
}

// without returns the names in list other than name, each once.
func without(list []string, name string) []string {
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
