package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// labelAnswers is on every answer to a node.
const labelAnswers = "pullprobe.dev/answers"

// answerer gives each node what the others see of the hosts that it asks about. Where too
// few have checked such a host, it has some do that that are unlike the node that asks.
type answerer struct {
	kube      *kube.Client
	namespace string
	cluster   *cluster

	asks    map[question]asked
	written map[string]answered // by node; the empty answer is not kept
	unsure  map[string]bool     // nodes that have an answer of which the content is not known
}

// question is a host of which a node wants a second opinion.
type question struct{ node, host string }

// asked is what was done about a question.
type asked struct {
	since time.Time // when it was seen first
	nodes []string  // that were asked to check the host; nil: enough had checked it

	at      time.Time // when it was answered last
	opinion nodefacts.Opinion
}

// answered is an answer as it was written.
type answered struct {
	key string // without times
	at  time.Time
}

func newAnswerer(k *kube.Client, namespace string, c *cluster) *answerer {
	return &answerer{
		kube: k, namespace: namespace, cluster: c, asks: map[question]asked{}, written: map[string]answered{}, unsure: map[string]bool{},
	}
}

// How many nodes have to have checked a host, and how many are asked to if they are fewer.
const (
	enough  = 2
	askMost = 3
	// maxWrites bounds the answers that are written in one round, so that the comparison
	// does not wait for all of them. What fails first is written first.
	maxWrites = 40
	// maxQuestions bounds the questions that are considered in one round: each takes time
	// and memory in proportion to the nodes.
	maxQuestions = 500
)

// findOld notes which nodes have an answer of an earlier leader.
func (a *answerer) findOld(ctx context.Context, w *watcher) error {
	list, err := w.reports.List(ctx, metav1.ListOptions{LabelSelector: labelAnswers})
	if err != nil {
		return err
	}
	for _, m := range list.Items {
		for _, o := range m.OwnerReferences {
			if o.Kind == "Node" {
				a.unsure[o.Name] = true
			}
		}
	}
	return nil
}

// awaited returns the reports of nodes that were asked to check a host.
func (a *answerer) awaited() map[string]bool {
	out := map[string]bool{}
	for _, x := range a.asks {
		for _, node := range x.nodes {
			if uid, ok := a.cluster.uid(node); ok {
				out[report.ConfigMapName(node, uid)] = true
			}
		}
	}
	return out
}

// answers returns what is to be said to each node, and whether some of it is of an earlier
// round: those questions come first in the next.
func (a *answerer) answers(in compare.Input) (out map[string]nodefacts.Answers, more bool) {
	byName := map[string]compare.Node{}
	for _, n := range in.Nodes {
		byName[n.Name] = n
	}
	a.hear(in)
	order := slices.SortedFunc(maps.Keys(a.asks), func(x, y question) int {
		return cmp.Or(a.asks[x].at.Compare(a.asks[y].at), strings.Compare(x.node, y.node), strings.Compare(x.host, y.host))
	})
	var requests []compare.Request
	for _, q := range order[:min(len(order), maxQuestions)] {
		requests = append(requests, request(byName[q.node], q.host, a.asks[q].since))
	}
	for i, o := range compare.SecondOpinions(in, requests...) {
		a.learn(order[i], o, in, byName)
	}
	out = map[string]nodefacts.Answers{}
	slices.SortFunc(order, func(x, y question) int {
		return cmp.Or(strings.Compare(x.node, y.node), strings.Compare(x.host, y.host))
	})
	for _, q := range order {
		x := a.asks[q]
		want := nodefacts.Wanted{Host: q.host, Since: wantedSince(byName[q.node], q.host, x.since, in.Now)}
		for _, node := range x.nodes {
			out[node] = withWanted(out[node], want)
		}
		if x.opinion.Asked > 0 {
			own := out[q.node]
			own.Opinions = append(own.Opinions, x.opinion)
			out[q.node] = own
		}
	}
	return out, len(order) > maxQuestions
}

// hear takes over what the nodes ask, and forgets what they no longer do.
func (a *answerer) hear(in compare.Input) {
	open := map[question]asked{}
	for _, n := range in.Nodes {
		if n.Facts == nil || n.Facts.CutOff() {
			continue
		}
		for _, host := range n.Facts.Asks {
			q := question{n.Name, host}
			x, known := a.asks[q]
			if !known {
				x.since = in.Now.Truncate(time.Second).Add(time.Second) // facts have whole seconds: what is checked from then on is newer
			}
			open[q] = x
		}
	}
	a.asks = open
}

// learn takes over what others see, and has some check the host if too few have.
func (a *answerer) learn(q question, o compare.Opinion, in compare.Input, byName map[string]compare.Node) {
	x := a.asks[q]
	if o.Asked < enough && x.nodes == nil {
		x.nodes = compare.Unlike(byName[q.node], in.Nodes, q.host, askMost)
	}
	x.at, x.opinion = in.Now, opinionOf(o, in.Now)
	x.opinion.Addresses = addressesOf(q.host, x.opinion.Which, byName)
	a.asks[q] = x
}

// request returns what a node asks about a host. A failure that is in no sweep, or in a later
// one, began not after it was heard of.
func request(n compare.Node, host string, since time.Time) compare.Request {
	r := compare.Request{Node: n.Name, Host: host, Since: since}
	if h, ok := n.Facts.Host(host); ok && h.State.Bad() {
		if h.Since.Time().Before(since) {
			r.Since = time.Time{}
		}
		return r
	}
	for _, i := range n.Facts.Images {
		if i.Host == host && !i.Good() {
			r.Cause = i.Cause
		}
	}
	return r
}

// wantedSince returns from when on a check of a host counts for a node that asks: since the
// fleet heard of it, or since the node's sweep found it, whatever is later. What was before
// the latter says nothing against it when nodes are compared.
func wantedSince(n compare.Node, host string, heard, now time.Time) nodefacts.Stamp {
	since := nodefacts.StampOf(heard)
	if h, ok := n.Facts.Host(host); ok && h.State.Bad() {
		since = max(since, min(h.Since, nodefacts.StampOf(now)))
	}
	return since
}

// withWanted adds a host to those that a node should check, once, with the latest time.
func withWanted(a nodefacts.Answers, w nodefacts.Wanted) nodefacts.Answers {
	for i := range a.Checks {
		if a.Checks[i].Host == w.Host {
			a.Checks[i].Since = max(a.Checks[i].Since, w.Since)
			return a
		}
	}
	a.Checks = append(a.Checks, w)
	slices.SortFunc(a.Checks, func(x, y nodefacts.Wanted) int { return strings.Compare(x.Host, y.Host) })
	return a
}

// opinionOf returns an opinion as it is sent.
func opinionOf(o compare.Opinion, now time.Time) nodefacts.Opinion {
	out := nodefacts.Opinion{
		Host: o.Host, Asked: o.Asked, Reached: o.Reached, Failed: o.Failed, Which: firstOf(o.Which), Failing: firstOf(o.Failing),
		Oldest: nodefacts.StampOf(now.Add(-time.Duration(o.Age))),
	}
	for _, c := range o.How {
		out.How = append(out.How, string(c.Cause))
	}
	for _, s := range o.SetsApart {
		out.SetsApart = append(out.SetsApart, s.Trait+" "+s.Value)
	}
	return out
}

// addressesOf returns the addresses of a host that nodes connect to.
func addressesOf(host string, nodes []string, byName map[string]compare.Node) []string {
	var out []string
	for _, name := range nodes {
		if f := byName[name].Facts; f != nil {
			if h, ok := f.Host(host); ok && h.Used != "" && !slices.Contains(out, h.Used) {
				out = append(out, h.Used)
			}
		}
	}
	slices.Sort(out)
	return out
}

func firstOf(n compare.Names) []string { return n.First[:min(len(n.First), 5)] }

// write writes the answers that have changed, and reports whether some are left.
func (a *answerer) write(ctx context.Context, answers map[string]nodefacts.Answers, now time.Time) (more bool, err error) {
	for node := range a.unsure {
		if _, ok := answers[node]; !ok {
			answers[node] = nodefacts.Answers{}
		}
	}
	for node := range a.written {
		if _, ok := answers[node]; !ok {
			answers[node] = nodefacts.Answers{}
		}
	}
	// First what people wait for, then what other nodes wait for: the checks.
	order := slices.SortedFunc(maps.Keys(answers), func(x, y string) int {
		return cmp.Or(len(answers[y].Preflights)-len(answers[x].Preflights), len(answers[y].Checks)-len(answers[x].Checks), strings.Compare(x, y))
	})
	var failed []error
	writes := 0
	for _, node := range order {
		answer := answers[node]
		key, err := keyOf(answer)
		if err != nil {
			return false, err
		}
		empty := len(answer.Opinions)+len(answer.Checks)+len(answer.Preflights) == 0
		old, known := a.written[node]
		if !a.unsure[node] && known && old.key == key && now.Sub(old.at) < heartbeat {
			continue
		}
		uid, exists := a.cluster.uid(node)
		if !exists { // its answer goes with it
			delete(a.written, node)
			delete(a.unsure, node)
			continue
		}
		if writes++; writes > maxWrites {
			return true, errors.Join(failed...)
		}
		if err := a.apply(ctx, node, uid, answer); err != nil {
			failed = append(failed, err)
			continue
		}
		delete(a.unsure, node)
		if empty {
			delete(a.written, node)
			continue
		}
		a.written[node] = answered{key, now}
	}
	return false, errors.Join(failed...)
}

// keyOf returns a text that is equal for answers that differ only in the age of opinions.
func keyOf(a nodefacts.Answers) (string, error) {
	a.Opinions = slices.Clone(a.Opinions)
	for i := range a.Opinions {
		a.Opinions[i].Oldest = 0
	}
	return a.Encode()
}

func (a *answerer) apply(ctx context.Context, node, uid string, answer nodefacts.Answers) error {
	text, err := answer.Encode()
	if err != nil {
		return err
	}
	_, err = a.kube.Apply(ctx, kube.ConfigMap{
		Name: report.AnswersName(node, uid), Namespace: a.namespace, Node: node, NodeUID: types.UID(uid),
		Labels: map[string]string{labelAnswers: "", "app.kubernetes.io/name": Name, "app.kubernetes.io/managed-by": Name},
		Data:   map[string]string{nodefacts.AnswersKey: text},
	})
	return err
}
