package examine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/probes/similar"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

// This file finds the image that was probably meant by a name that leads nowhere: in
// another registry than the one that the name leads to. It costs one HEAD.

// Neighbors is what other pods of this node run.
type Neighbors struct {
	Hosts  []HostUse // registries of their images, the most used first
	Images []string  // of pods of the same namespace; those of others are not for this pod's owner
}

// HostUse is how many other pods of this node run images of a registry.
type HostUse struct {
	Host      string
	Pods      int
	Namespace int // how many of them are in the pod's namespace
}

// suggestTimeout limits what is found out about another image.
const suggestTimeout = time.Second

// candidate is an image that may be meant.
type candidate struct {
	image string  // its name
	use   HostUse // of its registry; zero: it does not come from there
	like  string  // the image of the namespace that it resembles; empty: none
}

// suggest returns the check "reference/suggested" of an image of another registry that may
// be meant, and the credentials that were used for it; a check without id: there is none.
func (e *Examiner) suggest(
	ctx context.Context, s Subject, known gathered, found []report.Check, t registry.Target,
) (report.Check, []credentials.Credential) {
	c, ok := candidateFor(s, known, found)
	if !ok {
		return report.Check{}, nil
	}
	start := time.Now()
	parsed, ref := reference.Parse(c.image)
	if parsed.Outcome != report.Pass {
		return report.Check{}, nil
	}
	sight, used := e.glance(ctx, s, known.node, ref, t)
	if !sight.Exists && (c.use.Host == "" || !sight.IsRegistry) {
		return report.Check{}, used
	}
	check := c.check(sight)
	check.Duration = report.Millis(time.Since(start))
	return check, used
}

// glance looks for another image in its registry, with the credentials that the kubelet
// would use for it.
func (e *Examiner) glance(
	ctx context.Context, s Subject, node nodeView, ref reference.Ref, t registry.Target,
) (registry.Sight, []credentials.Credential) {
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	own := e.Credentials(ctx, ref.Domain+"/"+ref.Path, s)
	t.Credentials = slices.Concat(own.Matched, own.Runtime)
	return registry.Glance(ctx, node.Prober, ref, t), own.Used
}

// check returns the check "reference/suggested".
func (c candidate) check(sight registry.Sight) report.Check {
	check := report.Check{ID: report.IDSuggested, Kind: report.KindReference, Outcome: report.Pass}
	check.Target = readable.Clean(c.image, evidence.MaxValue)
	e := evidence.Facts{}
	var sentence []string
	if c.use.Host != "" {
		e[report.KeySuggestHost], e[report.KeyUsedBy] = c.use.Host, strconv.Itoa(c.use.Pods)
		used := fmt.Sprintf("%s is the registry of %d other pods of this node", c.use.Host, c.use.Pods)
		if c.use.Pods == 1 {
			used = c.use.Host + " is the registry of another pod of this node"
		}
		if c.use.Namespace > 0 {
			e[report.KeyUsedByNamespace] = strconv.Itoa(c.use.Namespace)
			if c.use.Pods > 1 {
				used += fmt.Sprintf(", %d of them", c.use.Namespace)
			}
			used += " in this namespace"
		}
		sentence = append(sentence, used)
	}
	if c.like != "" {
		sentence = append(sentence, "this namespace runs "+c.like)
	}
	switch {
	case sight.Exists:
		e[report.KeySuggestImage] = c.image
		sentence = append(sentence, c.image+" exists")
	case sight.Missing:
		e[report.KeyMissingThere] = report.True
		sentence = append(sentence, c.image+" does not exist there")
	default:
		sentence = append(sentence, "whether "+c.image+" exists was not seen")
	}
	check.Summary = readable.Clean(strings.Join(sentence, "; "), 500)
	check.Evidence = e.Checked()
	return check
}

// candidateFor returns the image that may be meant by one that no registry has.
func candidateFor(s Subject, known gathered, found []report.Check) (candidate, bool) {
	ref, named := known.ref, namesRegistry(s.Image, known.ref)
	available := slices.ContainsFunc(found, func(c report.Check) bool { return c.Kind == report.KindManifest && c.Outcome == report.Pass })
	if available || named && (pulledFrom(known.local) || !nowhere(ref.Domain, found)) || !named && busy(found) {
		return candidate{}, false
	}
	var around Neighbors
	if s.Neighbors != nil {
		around = s.Neighbors()
	}
	if named {
		return otherHost(s.Image, ref, around)
	}
	return inRegistryOf(ref, around.Images)
}

// pulledFrom reports whether the node has images of the registry, so that its name is right.
func pulledFrom(local report.Check) bool {
	n, _ := strconv.Atoi(local.Evidence[report.KeyCount]) // absent: it is not known
	return n > 0
}

// namesRegistry reports whether the name of an image has a registry. One without is looked
// for on Docker Hub.
func namesRegistry(image string, ref reference.Ref) bool {
	return ref.Domain != "docker.io" || strings.HasPrefix(image, "docker.io/") || strings.HasPrefix(image, "index.docker.io/")
}

// nowhere reports whether every resolver answers that the host does not exist.
func nowhere(host string, found []report.Check) bool {
	name := report.Find(found, report.DNSID(host))
	return name.Outcome == report.Fail && name.Cause == report.HostNotFound &&
		!slices.ContainsFunc(report.Below(found, name.ID), func(c report.Check) bool { return c.Cause != report.HostNotFound })
}

// busy reports whether a registry answered that it cannot say now whether it has the image.
func busy(found []report.Check) bool {
	return slices.ContainsFunc(found, func(c report.Check) bool {
		return c.Kind == report.KindManifest && (c.Cause == report.RateLimited || c.Cause == report.RegistryUnavailable)
	})
}

// otherHost returns the image on the host that was probably meant by one that does not
// exist.
func otherHost(image string, ref reference.Ref, around Neighbors) (candidate, bool) {
	hosts := make([]string, len(around.Hosts))
	for i, u := range around.Hosts {
		hosts[i] = u.Host
	}
	if host := similar.Host(ref.Domain, hosts); host != "" {
		ref.Domain = host
		return candidate{image: ref.String(), use: around.Hosts[slices.Index(hosts, host)]}, true
	}
	// A first part with upper-case letters is taken for a host: MyCompany/api.
	if first, _, _ := strings.Cut(image, "/"); !strings.ContainsAny(first, ".:") && strings.ToLower(first) != first {
		return candidate{image: strings.ToLower(first) + strings.TrimPrefix(image, first)}, true
	}
	return candidate{}, false
}

// inRegistryOf returns the image in the registry, and in the project, of the images that
// the namespace runs.
func inRegistryOf(ref reference.Ref, images []string) (candidate, bool) {
	likes, votes := map[string]string{}, map[string]int{}
	for _, image := range slices.Sorted(slices.Values(images)) {
		_, neighbor := reference.Parse(image)
		if neighbor.Domain == "" || neighbor.Domain == "docker.io" {
			continue
		}
		there := ref
		there.Domain = neighbor.Domain
		project, name := path.Split(neighbor.Path)
		if short, official := strings.CutPrefix(ref.Path, "library/"); official {
			there.Path = project + short
			if name == short {
				votes[there.String()] += len(images) // the same repository
			}
		} else if first, _, _ := strings.Cut(ref.Path, "/"); strings.HasPrefix(neighbor.Path, first+"/") {
			votes[there.String()] += len(images) // the same project
		}
		votes[there.String()]++
		likes[there.String()] = cmp.Or(likes[there.String()], neighbor.Domain+"/"+neighbor.Path)
	}
	best := ""
	for _, image := range slices.Sorted(maps.Keys(votes)) {
		if best == "" || votes[image] > votes[best] {
			best = image
		}
	}
	return candidate{image: best, like: likes[best]}, best != ""
}

// repositoriesOf returns the repositories of a registry whose images the namespace runs.
func (s Subject) repositoriesOf(domain string) []string {
	if s.Neighbors == nil {
		return nil
	}
	var out []string
	for _, image := range s.Neighbors().Images {
		if _, ref := reference.Parse(image); ref.Domain == domain && !slices.Contains(out, ref.Path) {
			out = append(out, ref.Path)
		}
	}
	slices.Sort(out)
	return out
}

// completeDigest adds to the check of an invalid name whose digest was cut short the name
// with the whole digest: that of an image of this repository on the node, or of the tag that
// the name has, too.
func (e *Examiner) completeDigest(ctx context.Context, s Subject, check report.Check) (report.Check, redact.Redactor) {
	redactor := redact.New()
	ref, cut, ok := reference.CutDigest(s.Image)
	if !ok {
		return check, redactor
	}
	whole := e.Node.localDigest(ctx, ref.Domain+"/"+ref.Path, cut)
	if whole == "" && ref.Tag != "" {
		secrets := secretList{image: s.Image}
		node := e.Node.read(ctx)
		defer node.close()
		sight, used := e.glance(ctx, s, node, ref, registry.Target{
			Image: s.Image, Platform: e.Platform, Refusals: e.rejections(s), Secret: secrets.add,
		})
		redactor = redactorFor(used).With(secrets.list...)
		if strings.HasPrefix(sight.Digest, cut) {
			whole = sight.Digest
		}
	}
	name, _, _ := strings.Cut(s.Image, "@")
	if parsed, _ := reference.Parse(name + "@" + whole); parsed.Outcome == report.Pass {
		check.Evidence = evidence.With(check.Evidence, report.KeySuggestImage, name+"@"+whole)
		check.Summary += "; probably meant: " + name + "@" + whole
	}
	return check, redactor
}

// localDigest returns the digest that begins so of an image of a repository on this node;
// empty if there is none, or more than one.
func (n *NodeReader) localDigest(ctx context.Context, repository, begin string) string {
	if n.Runtime == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	images, _ := n.Runtime.Images(ctx) // none: there is nothing to suggest
	whole := ""
	for _, image := range images {
		for _, name := range image.Digests {
			digest, ok := strings.CutPrefix(name, repository+"@")
			switch {
			case !ok || !strings.HasPrefix(digest, begin) || digest == whole:
			case whole != "":
				return ""
			default:
				whole = digest
			}
		}
	}
	return whole
}

// readOnce returns the subject whose secrets are read once, for however many images.
func (s Subject) readOnce() Subject {
	s.Secrets = once(s.Secrets)
	if s.Account != nil {
		s.Account = once(s.Account)
	}
	return s
}

// once returns a function that calls f the first time, and returns its result each time.
func once[T any](f func(context.Context) T) func(context.Context) T {
	var call sync.Once
	var result T
	return func(ctx context.Context) T {
		call.Do(func() { result = f(ctx) })
		return result
	}
}
