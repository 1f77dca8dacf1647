package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// imageRule says what it means that an image fails on some nodes.
type imageRule struct {
	id       string
	when     string
	evaluate func(*group) (verdict, bool)
}

// imageRules returns the rules about an image that fails on some nodes.
func imageRules() []imageRule {
	return []imageRule{
		{"mirror-lacks-it", "a mirror lacks what another host has", mirrorLacksIt},
		{"found-elsewhere", "the same name was found by one node and not by another", func(g *group) (verdict, bool) {
			return verdict{
				fault: report.FaultUndetermined, cause: g.cause(), headline: g.counts(),
				wouldDecide: []string{"check the image on both again: it may have been pushed or removed in between"},
			}, notThere(g.cause()) && len(g.finders()) > 0
		}},
		{"platform", "the image lacks the platform of some nodes", func(g *group) (verdict, bool) {
			arch := slices.ContainsFunc(g.setsApart(), func(s Share) bool { return s.Trait == TraitArch })
			return verdict{fault: claimed(g.failing), cause: report.PlatformMismatch, sure: arch, headline: g.counts()},
				g.cause() == report.PlatformMismatch && len(g.through) > 0
		}},
		{"image-everywhere", "every node fails alike", func(g *group) (verdict, bool) {
			return verdict{
				fault: claimed(g.failing), cause: g.cause(), headline: g.failed(),
				// That more nodes sent the same request to the same registry proves no more than
				// one does.
				sure: g.all(func(o *observation) bool { return o.image.Confidence == report.Confirmed }),
			}, len(g.through)+len(g.others) == 0
		}},
		{"image-some", "some nodes fail", func(g *group) (verdict, bool) {
			return verdict{fault: claimed(g.failing), cause: g.cause(), headline: g.counts()}, true
		}},
	}
}

// mirrorLacksIt returns the verdict on an image that a mirror does not have, and another host
// has.
func mirrorLacksIt(g *group) (verdict, bool) {
	finders := g.finders()
	if len(finders) == 0 || !(notThere(g.cause()) || g.cause() == report.MirrorFaulty) {
		return verdict{}, false
	}
	found := union(foundAt, finders)
	missing := common(func(o *observation) []string { return o.image.Missing }, g.failing)
	upstream := registryOf(g.name)
	missing = slices.DeleteFunc(missing, func(h string) bool { return isUpstream(h, upstream) })
	if len(missing) == 0 || !disjoint(union(func(o *observation) []string { return o.image.Missing }, g.failing), found) {
		return verdict{}, false
	}
	// A tag that was pushed or removed in between seems the same, unless it was seen both
	// before and after.
	v := verdict{
		fault: report.FaultNode, cause: report.MirrorFaulty,
		sure:     len(finders) >= minOthers && g.all(func(bad *observation) bool { return around(bad, finders) }),
		headline: fmt.Sprintf("%s lacks it (%s); %s has it (%s)", list(missing), g.nodes(), list(found), list(namesOf(finders).First)),
	}
	if !v.sure {
		v.wouldDecide = []string{"check the image again on " + g.nodes() + " and on another node"}
	}
	return v, true
}

// finders returns the observations of other nodes that found the manifest somewhere.
func (g *group) finders() []*observation {
	return slices.DeleteFunc(slices.Concat(g.through, g.earlier, g.later, g.others), func(o *observation) bool {
		return len(o.image.Found) == 0
	})
}

func notThere(c report.Cause) bool {
	return c == report.TagNotFound || c == report.RepositoryNotFound
}

// aboutPod reports whether a cause is that of a pod's login. Pods differ in it, not nodes: their
// Events and the reports of their nodes have it.
func aboutPod(c report.Cause) bool {
	switch c {
	case report.PullSecretMissing, report.PullSecretMalformed, report.PullSecretOtherRegistry, report.PullSecretNotAttached,
		report.PresentNotAuthorized:
		return true
	}
	return c.AboutLogin()
}

// registryOf returns the registry in the name of an image, as a runtime reads it.
func registryOf(image string) string {
	first, _, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return report.DockerHub
	}
	return strings.ToLower(first)
}

// isUpstream reports whether a host is the registry itself. Docker Hub answers under
// another name than images have.
func isUpstream(host, registry string) bool {
	return report.Serves(host, registry) || registry == report.DockerHub && host == "index.docker.io"
}

// claimed returns who must act by what the nodes say, if they agree.
func claimed(failing []*observation) report.Fault {
	f := failing[0].image.Fault
	if slices.ContainsFunc(failing, func(o *observation) bool { return o.image.Fault != f }) {
		return report.FaultUndetermined
	}
	return f
}

// imageFindings returns the findings about images that fail on some node. What keeps nodes
// from a host is in the findings about that host, and what a pod's login lacks is in none. One
// node alone has nothing to compare.
func (c *comparison) imageFindings() []draft {
	var out []draft
	for _, s := range c.imageObservations() {
		for _, g := range c.groups(s.name, s.sorted) {
			if g.counted()+len(g.earlier)+len(g.later) < minSide || aboutPod(g.cause()) {
				continue
			}
			if g.cause() == report.Undetermined && len(g.failing) < minSide {
				continue // nothing is known of it, perhaps because its pull is still running
			}
			// An image is checked when a pod asks for it, not at an interval: there is no
			// time in which it was bad, only a moment.
			g.through, g.earlier, g.later = slices.Concat(g.through, g.earlier, g.later), nil, nil
			out = append(out, c.imageFinding(g, s.sorted))
		}
	}
	return out
}

// sortedImage are the observations of one image.
type sortedImage struct {
	name string
	sorted
}

// imageObservations returns the observations of every image, in the order of their names. What keeps
// nodes from a host is left out.
func (c *comparison) imageObservations() []sortedImage {
	all := map[string][]*observation{}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.Facts == nil {
			continue
		}
		seen := map[string]bool{} // the first of a name is one that fails, if any does
		for _, x := range n.Facts.Images {
			if o := observeImage(n, x, c.skewed[n.Name]); !aboutHost(o.cause) && !seen[x.Name] {
				all[x.Name], seen[x.Name] = append(all[x.Name], o), true
			}
		}
	}
	var out []sortedImage
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, sortedImage{name, c.sortOut(all[name])})
	}
	return out
}

func (c *comparison) imageFinding(g *group, s sorted) draft {
	v := verdict{rule: "undecided", fault: report.FaultUndetermined, cause: g.cause(), headline: g.counts()}
	for _, r := range c.images {
		if x, ok := r.evaluate(g); ok {
			v = x
			v.rule = r.id
			break
		}
	}
	if v.fault == report.FaultUndetermined && len(v.wouldDecide) == 0 {
		v.wouldDecide = []string{"read the report of " + g.nodes()}
	}
	return g.finding(AboutImage, v, s)
}

// aboutHost reports whether a cause is that of a host and not of an image.
func aboutHost(c report.Cause) bool {
	return c.OnTheNetwork() || c == report.RateLimited || c == report.RegistryUnavailable || c == report.TokenServiceFailed
}
