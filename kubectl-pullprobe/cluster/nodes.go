package cluster

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/fleet/nodetraits"
	"github.com/pullprobe/pullprobe/report"
)

// Node is a node as its report's metadata shows it.
type Node struct {
	Name    string
	UID     string
	Traits  compare.Traits    // of the Node object; nil: not known
	Facts   *nodefacts.Facts  // nil: there is no report, or its facts cannot be read
	Problem string            // why the facts cannot be read
	Labels  map[string]string // of the report; nil: there is none
	Written time.Time         // by the API server's clock
}

// Reports reports whether the node has a report.
func (n Node) Reports() bool { return n.Labels != nil }

// Silent reports whether nothing has come from the node for too long.
func (n Node) Silent(now time.Time) bool {
	if n.Facts == nil {
		return !n.Reports() || now.Sub(n.Written) > Silent
	}
	fresh := max(maxAge, min(time.Duration(n.Facts.Fresh)*time.Second, time.Hour))
	return now.Sub(n.last()) > fresh+silentAfter
}

// How long an observation counts if its node does not say, and how much later than it says an
// agent may write before it is silent: as for the fleet.
const (
	maxAge      = 10 * time.Minute
	silentAfter = 2 * time.Minute
)

// last returns when the node wrote last.
func (n Node) last() time.Time {
	if n.Written.IsZero() && n.Facts != nil {
		return n.Facts.At.Time()
	}
	return n.Written
}

// Stuck returns how many pods of the node wait for an image.
func (n Node) Stuck() int {
	stuck, _ := strconv.Atoi(n.Labels[report.LabelStuck])
	return stuck
}

// Comparison is what all nodes show together.
type Comparison struct {
	Nodes  []Node
	Result compare.Result
}

// Compare returns the nodes that exist, with what they say and what that shows together. It
// reads the metadata of the reports, which have the facts, and the Node objects.
func (c *Client) Compare(ctx context.Context, now time.Time, limits *Limits) (Comparison, error) {
	reports, err := c.statements(ctx, limits)
	if err != nil {
		return Comparison{}, err
	}
	if slices.ContainsFunc(reports, func(n Node) bool { return n.Problem == noFacts }) {
		if err := c.addFacts(ctx, reports, limits); err != nil {
			return Comparison{}, err
		}
	}
	nodes, err := c.nodes(ctx)
	switch {
	case Denied(err):
		limits.Add(MayNot("list", "nodes", "", "compared are the nodes that have a report, without their zones, pools and subnets"))
		for _, r := range reports {
			nodes = append(nodes, Node{Name: r.Name})
		}
	case err != nil:
		return Comparison{}, err
	}
	return merge(nodes, reports, now), nil
}

// addFacts takes the facts of older agents from their reports.
func (c *Client) addFacts(ctx context.Context, statements []Node, limits *Limits) error {
	full, err := c.Reports(ctx, limits)
	if err != nil {
		return err
	}
	for _, r := range full {
		at := slices.IndexFunc(statements, func(n Node) bool { return n.Name == r.Node })
		if at >= 0 && statements[at].Problem == noFacts && r.Content != nil {
			facts := nodefacts.Of(*r.Content)
			statements[at].Facts, statements[at].Problem = &facts, ""
		}
	}
	return nil
}

// merge joins the nodes that exist with their statements, and compares them. Only nodes that
// exist count, each with the report of its own name: an agent can write no other.
func merge(nodes, reports []Node, now time.Time) Comparison {
	byName := map[string]Node{}
	for _, r := range reports {
		byName[report.ConfigMapName(r.Name, "")] = r
	}
	out := Comparison{Nodes: nodes}
	in := compare.Input{Now: now, MaxAge: maxAge}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		if r, ok := byName[report.ConfigMapName(n.Name, n.UID)]; ok {
			n.Facts, n.Problem, n.Labels, n.Written = r.Facts, r.Problem, r.Labels, r.Written
		}
		x := compare.Node{Name: n.Name, Traits: n.Traits}
		if !n.Silent(now) {
			x.Facts = n.Facts
		}
		in.Nodes = append(in.Nodes, x)
	}
	slices.SortFunc(out.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	out.Result = compare.Compare(in)
	return out
}

// statements returns what the metadata of the reports says, by the names of their ConfigMaps.
func (c *Client) statements(ctx context.Context, limits *Limits) (out []Node, err error) {
	list := func(namespace string) error {
		p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
			return c.Meta.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(namespace).List(ctx, o)
		}))
		return p.EachListItem(ctx, metav1.ListOptions{LabelSelector: report.LabelReport}, func(o runtime.Object) error {
			if m, ok := o.(*metav1.PartialObjectMetadata); ok {
				out = append(out, statementOf(m))
			}
			return nil
		})
	}
	if err = list(c.home); c.fixed || err != nil && !Denied(err) || len(out) > 0 {
		return out, err
	}
	// [Client.Reports] finds the namespace.
	before := c.home
	if _, errFind := c.Reports(ctx, limits); errFind != nil || c.home == before {
		return out, err
	}
	return out, list(c.home)
}

// noFacts is the problem of a report that an older agent wrote.
const noFacts = "its report has no facts: its agent is older than this plugin"

func statementOf(m *metav1.PartialObjectMetadata) Node {
	n := Node{Name: nodeOf(m.Name), Labels: m.Labels, Written: writtenAt(&m.ObjectMeta)}
	text, ok := m.Annotations[nodefacts.Annotation]
	switch facts, err := nodefacts.Decode(text); {
	case !ok:
		n.Problem = noFacts
	case err != nil:
		n.Problem = err.Error()
	default:
		n.Facts = &facts
	}
	return n
}

// nodes returns the Node objects.
func (c *Client) nodes(ctx context.Context) (out []Node, err error) {
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return c.Kube.CoreV1().Nodes().List(ctx, o)
	}))
	err = p.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
		if n, ok := o.(*corev1.Node); ok {
			out = append(out, Node{Name: n.Name, UID: string(n.UID), Traits: nodetraits.Of(n)})
		}
		return nil
	})
	return out, err
}
