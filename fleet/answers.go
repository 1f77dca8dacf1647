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
// few get through to such a host, it has some check it that are unlike the node that asks.
type answerer struct {
	kube      *kube.Client
	namespace string
	cluster   *cluster

	asks    map[question]asked
	chosen  map[origin]choice
	sample  map[string]map[string]bool // by host, all nodes that were chosen
	written map[string]answered        // by node; the empty answer is not kept
	unsure  map[string]bool            // nodes that have an answer of which the content is not known
}

// question is a host of which a node wants a second opinion.
type question struct{ node, host string }

// origin is a host, and where nodes are that do not reach it.
type origin struct{ host, subnet, zone, pool string }

// choice is which nodes check a host for those of one origin.
type choice struct {
	nodes []string
	since nodefacts.Stamp // a check that began later need not be repeated
}

// asked is what was done about a question.
type asked struct {
	since time.Time // when it was seen first
	few   bool      // too few get through, so that others are to check the host
	again time.Time // from when on the node that asks should check it once more; zero: it need not

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
		kube: k, namespace: namespace, cluster: c,
		asks: map[question]asked{}, chosen: map[origin]choice{}, sample: map[string]map[string]bool{},
		written: map[string]answered{}, unsure: map[string]bool{},
	}
}

// How many nodes have to get through to a host, and how many are asked to check it if they are
// fewer. Nodes that fail too may be behind the same broken switch.
const (
	enough  = 2
	askMost = 3
	// maxWrites bounds the answers that are written in one round, so that the comparison
	// does not wait for all of them. What fails first is written first.
	maxWrites = 60
	// maxQuestions bounds the questions that are considered in one round: each takes time
	// and memory in proportion to the nodes. More answers than [maxWrites] are not written.
	maxQuestions = 100
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
	add := func(node string) {
		if uid, ok := a.cluster.uid(node); ok {
			out[report.ConfigMapName(node, uid)] = true
		}
	}
	for _, c := range a.chosen {
		for _, node := range c.nodes {
			add(node)
		}
	}
	for q, x := range a.asks {
		if !x.again.IsZero() {
			add(q.node)
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
		a.learn(order[i], o, in.Now, byName)
	}
	out = map[string]nodefacts.Answers{}
	slices.SortFunc(order, func(x, y question) int {
		return cmp.Or(strings.Compare(x.node, y.node), strings.Compare(x.host, y.host))
	})
	for _, q := range order {
		x := a.asks[q]
		if x.few {
			c := a.choose(q, in, byName)
			for _, node := range c.nodes {
				if !failsItself(byName[node], q.host) { // what it sees counts already
					out[node] = withWanted(out[node], nodefacts.Wanted{Host: q.host, Since: c.since})
				}
			}
		}
		if !x.again.IsZero() {
			out[q.node] = withWanted(out[q.node], nodefacts.Wanted{Host: q.host, Since: nodefacts.StampOf(x.again)})
		}
		if x.opinion.Asked > 0 && !byName[q.node].Facts.CutOff() {
			own := out[q.node]
			own.Opinions = append(own.Opinions, x.opinion)
			out[q.node] = own
		}
	}
	for node, list := range compare.Sightings(in) {
		own := out[node]
		for _, s := range list {
			own.Images = append(own.Images, nodefacts.Sighting{
				Image: s.Image, Found: s.Found, Which: firstOf(s.Which), Around: s.Around,
				Oldest: nodefacts.StampOf(in.Now.Add(-time.Duration(s.Age))),
			})
		}
		out[node] = own
	}
	return out, len(order) > maxQuestions
}

// hear takes over what the nodes ask, and forgets what they no longer do. A node that reaches
// nothing asks nothing, but others have to check whether they still reach what it does not:
// one of its hosts is enough.
func (a *answerer) hear(in compare.Input) {
	open, hosts := map[question]asked{}, map[string]bool{}
	for _, n := range in.Nodes {
		if n.Facts == nil {
			continue
		}
		about := n.Facts.Asks
		if n.Facts.CutOff() {
			about = unreached(n.Facts)
		}
		for _, host := range about {
			q := question{n.Name, host}
			x, known := a.asks[q]
			if !known {
				x.since = in.Now.Truncate(time.Second).Add(time.Second) // facts have whole seconds: what is checked from then on is newer
			}
			open[q] = x
			hosts[host] = true
		}
	}
	a.asks = open
	maps.DeleteFunc(a.chosen, func(o origin, _ choice) bool { return !hosts[o.host] })
	maps.DeleteFunc(a.sample, func(host string, _ map[string]bool) bool { return !hosts[host] })
}

// unreached returns the first host that a node does not reach; none if there is none.
func unreached(f *nodefacts.Facts) []string {
	for _, h := range f.Hosts {
		if h.State == report.Unreachable {
			return []string{h.Name}
		}
	}
	return nil
}

// learn takes over what others see.
func (a *answerer) learn(q question, o compare.Opinion, now time.Time, byName map[string]compare.Node) {
	x := a.asks[q]
	x.few = x.few || o.Reached < enough
	x.at, x.again, x.opinion = now, o.Again, opinionOf(o, now)
	x.opinion.Addresses = addressesOf(q.host, x.opinion.Which, byName)
	a.asks[q] = x
}

// choose returns the nodes that check a host for a node. They are the same for all nodes in one
// place, so that few are asked where many fail. Those that ask about it themselves are not.
//
// A check counts for all whose failure began before it. Facts have the time at which a sweep
// found a failure; one that is in no sweep began not after the fleet heard of it.
func (a *answerer) choose(q question, in compare.Input, byName map[string]compare.Node) choice {
	n := byName[q.node]
	from := origin{q.host, n.Traits[compare.TraitSubnet], n.Traits[compare.TraitZone], n.Traits[compare.TraitPool]}
	heard := nodefacts.StampOf(a.asks[q].since)
	c, known := a.chosen[from]
	useless := func(node string) bool { return node == q.node || byName[node].Facts == nil } // it asks now, or is silent
	if !known || slices.ContainsFunc(c.nodes, useless) {
		asks := func(n compare.Node) bool { return n.Facts != nil && slices.Contains(n.Facts.Asks, q.host) }
		c.nodes = compare.Unlike(n, slices.DeleteFunc(slices.Clone(in.Nodes), asks), q.host, askMost)
		c.since = max(c.since, heard)
		a.sampled(q.host, c.nodes)
	}
	began := heard
	if h, ok := n.Facts.Host(q.host); ok && h.State.Bad() {
		began = min(h.Since, nodefacts.StampOf(in.Now))
	}
	if n.Facts.CutOff() { // from when on it reaches none of them
		for _, h := range n.Facts.Hosts {
			began = max(began, min(h.Since, nodefacts.StampOf(in.Now)))
		}
	}
	c.since = max(c.since, began)
	a.chosen[from] = c
	return c
}

// sampled notes which nodes were chosen.
func (a *answerer) sampled(host string, nodes []string) {
	if a.sample[host] == nil {
		a.sample[host] = map[string]bool{}
	}
	for _, node := range nodes {
		a.sample[host][node] = true
	}
}

// failsItself reports whether a node uses a host, and its sweep found that it does not get through.
// A node that checks the host for others alone has to go on: without a request it forgets the host.
func failsItself(n compare.Node, host string) bool {
	if n.Facts == nil {
		return false
	}
	h, ok := n.Facts.Host(host)
	return ok && h.State.Bad() && !h.Asked
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
		Rivals: o.Rivals, SeesAnother: o.SeesAnother, Oldest: nodefacts.StampOf(now.Add(-time.Duration(o.Age))),
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
	// First what people wait for, then what other nodes wait for: the checks. Then nodes that have no answer yet.
	late := func(node string) int {
		if _, known := a.written[node]; known {
			return 1
		}
		return 0
	}
	order := slices.SortedFunc(maps.Keys(answers), func(x, y string) int {
		return cmp.Or(
			len(answers[y].Preflights)-len(answers[x].Preflights), len(answers[y].Checks)-len(answers[x].Checks),
			late(x)-late(y), strings.Compare(x, y))
	})
	var failed []error
	writes := 0
	for _, node := range order {
		answer := answers[node]
		key, err := keyOf(answer)
		if err != nil {
			return false, err
		}
		empty := len(answer.Opinions)+len(answer.Images)+len(answer.Checks)+len(answer.Preflights) == 0
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

// keyOf returns a text that is equal for answers from which a node would conclude the same: in
// an outage the counts change with each node that reports it.
func keyOf(a nodefacts.Answers) (string, error) {
	a.Opinions, a.Images = slices.Clone(a.Opinions), slices.Clone(a.Images)
	for i := range a.Opinions {
		o := &a.Opinions[i]
		o.Oldest, o.Asked = 0, 0
		o.Reached, o.Which = rounded(o.Reached, o.Which)
		o.Failed, o.Failing = rounded(o.Failed, o.Failing)
	}
	for i := range a.Images {
		a.Images[i].Oldest = 0
	}
	return a.Encode()
}

// rounded returns a count, and the nodes that it counts if they are few; of more it keeps the
// order of magnitude.
func rounded(count int, names []string) (int, []string) {
	if count <= askMost {
		return count, names
	}
	power := 10
	for power <= count {
		power *= 10
	}
	return power, nil
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
