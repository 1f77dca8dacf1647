package waiting

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Group is what one who must act has to fix: containers that wait for the same reason.
type Group struct {
	Verdict report.Verdict // of the first case
	Unheard bool           // no agent has said anything: the verdict is from the kubelet's message
	Cases   []Case
}

// Groups returns the cases by who must act and why: a fault of a host or of a node for all of
// its images, any other for one image. The most severe fault comes first, and of these what most
// pods wait for; what no agent has checked comes last.
func Groups(cases []Case) []Group {
	type key struct {
		unheard bool
		fault   report.Fault
		cause   report.Cause
		scope   string
	}
	at := map[key]int{}
	var out []Group
	for _, c := range cases {
		k := key{c.Source == FromMessage, c.Verdict.Fault, c.Verdict.Cause, c.scope()}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Group{Verdict: c.Verdict, Unheard: k.unheard})
		}
		out[i].Cases = append(out[i].Cases, c)
	}
	for i := range out {
		out[i].choose()
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		switch {
		case a.Unheard != b.Unheard:
			if a.Unheard {
				return 1
			}
			return -1
		case report.Worse(a.Verdict.Fault, b.Verdict.Fault):
			return -1
		case report.Worse(b.Verdict.Fault, a.Verdict.Fault):
			return 1
		}
		return cmp.Or(b.Pods()-a.Pods(), cmp.Compare(a.Verdict.Cause, b.Verdict.Cause), cmp.Compare(a.Cases[0].Image, b.Cases[0].Image))
	})
	return out
}

// choose puts the case first that speaks for the group: the surest, with most evidence, newest.
func (g *Group) choose() {
	sure := []report.Confidence{report.Confirmed, report.Likely, report.ConfidenceUndetermined}
	evidence := func(c Case) int {
		if c.Diagnosis == nil {
			return 0
		}
		return len(c.Diagnosis.Checks)
	}
	best := slices.MinFunc(g.Cases, func(a, b Case) int {
		return cmp.Or(slices.Index(sure, a.Verdict.Confidence)-slices.Index(sure, b.Verdict.Confidence),
			evidence(b)-evidence(a), b.At.Compare(a.At), cmp.Compare(a.Pod, b.Pod))
	})
	at := slices.IndexFunc(g.Cases, func(c Case) bool { return c.UID == best.UID && c.Container == best.Container })
	g.Cases = append([]Case{best}, slices.Delete(g.Cases, at, at+1)...)
	g.Verdict = best.Verdict
}

// scope returns what cases of one cause have in common: the host, the node, or the image.
func (c Case) scope() string {
	switch stage := c.Verdict.Cause.Stage(); {
	case c.Verdict.Cause.OnTheNetwork(), slices.Contains(aboutHost, c.Verdict.Cause):
		return c.Host()
	case stage == report.StageWrite, slices.Contains(aboutNode, c.Verdict.Cause):
		return ""
	}
	return c.Image
}

// aboutHost are causes of a host, beside those of reaching it; aboutNode are those of a node,
// beside those of its disk.
var (
	aboutHost = []report.Cause{
		report.RateLimited, report.RegistryUnavailable, report.TokenServiceFailed, report.MirrorFaulty, report.BlobHostUnreachable,
	}
	aboutNode = []report.Cause{
		report.RuntimeUnavailable, report.RuntimeConfigStale, report.RuntimeConfigInvalid, report.SandboxImageUnavailable,
		report.PullQueueLimited,
	}
)

// Host returns the host that decided, or the registry of the image.
func (c Case) Host() string {
	if c.Diagnosis != nil {
		for _, id := range c.Verdict.Because {
			if x := report.Find(c.Diagnosis.Checks, id); x.Host != "" {
				return x.Host
			}
		}
	}
	return Registry(c.Image)
}

// Registry returns the host that an image names, docker.io if it names none.
func Registry(image string) string {
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "docker.io"
	}
	return strings.TrimSuffix(host, ":443")
}

// Pods returns how many pods the group has.
func (g Group) Pods() int { return len(g.distinct(func(c Case) string { return c.UID })) }

// Nodes returns the names of the nodes.
func (g Group) Nodes() []string {
	return slices.DeleteFunc(g.distinct(func(c Case) string { return c.Node }), func(s string) bool { return s == "" })
}

// Images returns the images.
func (g Group) Images() []string { return g.distinct(func(c Case) string { return c.Image }) }

// Since returns since when the first waits.
func (g Group) Since() time.Time {
	first := g.Cases[0].Since
	for _, c := range g.Cases {
		if c.Since.Before(first) {
			first = c.Since
		}
	}
	return first
}

// distinct returns the distinct values of the cases, in their order.
func (g Group) distinct(of func(Case) string) (out []string) {
	seen := map[string]bool{}
	for _, c := range g.Cases {
		if v := of(c); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// Share is how many pods of a group have the same owner.
type Share struct {
	Owner string // empty: these pods have none
	Pods  int
}

// Owners returns what the pods were made from, with most pods first.
func (g Group) Owners() []Share {
	pods := map[string]map[string]bool{}
	var names []string
	for _, c := range g.Cases {
		if pods[c.Owner] == nil {
			pods[c.Owner] = map[string]bool{}
			names = append(names, c.Owner)
		}
		pods[c.Owner][c.UID] = true
	}
	out := make([]Share, len(names))
	for i, name := range names {
		out[i] = Share{name, len(pods[name])}
	}
	slices.SortStableFunc(out, func(a, b Share) int { return cmp.Or(b.Pods-a.Pods, cmp.Compare(a.Owner, b.Owner)) })
	return out
}

// OtherFixes returns the cases whose fix differs from that of the group, one for each fix.
func (g Group) OtherFixes() (out []Case) {
	seen := map[string]bool{g.Verdict.Fix: true}
	for _, c := range g.Cases {
		if !seen[c.Verdict.Fix] && c.Verdict.Fix != "" {
			seen[c.Verdict.Fix] = true
			out = append(out, c)
		}
	}
	return out
}
