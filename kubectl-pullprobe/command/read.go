package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// reader reads what is known of pods, and notes what the caller may not read.
type reader struct {
	*cluster.Client
	limits *cluster.Limits
	now    time.Time
}

func (a *App) reader() (*reader, error) {
	c, err := a.Cluster()
	if err != nil {
		return nil, err
	}
	return &reader{Client: c, limits: &cluster.Limits{}, now: a.Now()}, nil
}

// writeNotes writes what could not be read.
func (a *App) writeNotes(limits *cluster.Limits) {
	for _, text := range limits.All() {
		a.remark("note: ", text)
	}
}

// overview returns the pods of a namespace that wait for an image; of all if it is empty.
func (r *reader) overview(ctx context.Context, namespace, labels string) (view.Overview, error) {
	out := view.Overview{Namespace: namespace, Now: r.now}
	reports, err := r.reports(ctx)
	if err != nil {
		return out, err
	}
	out.Nodes = len(reports)
	pods, err := r.Pods(ctx, namespace, metav1.ListOptions{LabelSelector: labels})
	switch {
	case cluster.Denied(err) && len(reports) == 0:
		return out, err
	case cluster.Denied(err):
		r.limits.Add(cluster.MayNot("list", "pods", namespace,
			"shown are the pods that the reports name, at most ten for one reason on one node"))
		out.Cases = waiting.Named(reports, namespace)
		return out, nil
	case err != nil:
		return out, err
	}
	from := waiting.Sources{Reports: reports}
	if len(reports) == 0 {
		from.Events = r.events(ctx, namespace, "")
	}
	out.Cases = waiting.Cases(pods, from)
	r.noteNodes(out.Cases, reports)
	return out, nil
}

// reports returns the reports that can be read, by node. None is no error.
func (r *reader) reports(ctx context.Context) (map[string]*report.NodeReport, error) {
	list, err := r.Reports(ctx, r.limits)
	switch {
	case cluster.Denied(err):
		r.limits.Add(cluster.MayNot("list", "configmaps", r.Home(), "shown are the Events on the pods; "+cluster.ReaderRole))
		return nil, nil
	case err != nil:
		return nil, err
	case len(list) == 0:
		r.limits.Add(r.noReports())
	}
	out := map[string]*report.NodeReport{}
	for _, x := range list {
		if x.Content == nil {
			r.limits.Add("the report of node " + x.Node + " cannot be read: " + x.Problem)
			continue
		}
		out[x.Node] = r.checked(x)
	}
	return out, nil
}

// noAgent is why a node has no report.
const noAgent = "no agent runs there, or it has not reported yet (kubectl pullprobe doctor)"

// noReports returns the sentence on a cluster without reports.
func (r *reader) noReports() string {
	return "there is no report in namespace " + r.Home() +
		": pullprobe is not installed there, or has not reported yet (kubectl pullprobe doctor)"
}

// checked returns the content of a report, and notes that it is old.
func (r *reader) checked(x cluster.Report) *report.NodeReport {
	at := x.Content.Time
	if !x.Written.IsZero() {
		at = x.Written
	}
	if age := r.now.Sub(at); age > cluster.Silent {
		r.limits.Add(fmt.Sprintf(
			"the report of node %s is %s old: its agent is silent (kubectl pullprobe doctor)", x.Node, readable.Roughly(age)))
	}
	return x.Content
}

// noteNodes notes the nodes of pods that wait and that have no report.
func (r *reader) noteNodes(cases []waiting.Case, reports map[string]*report.NodeReport) {
	if len(reports) == 0 {
		return // said already
	}
	var missing []string
	for _, c := range cases {
		if c.Node != "" && reports[c.Node] == nil && !slices.Contains(missing, c.Node) {
			missing = append(missing, c.Node)
		}
	}
	if len(missing) > 0 {
		r.limits.Add("there is no report of " + readable.Abbreviate(missing) + ": " + noAgent)
	}
}

// reportOf returns the report of one node; nil: there is none that can be read, which is noted.
func (r *reader) reportOf(ctx context.Context, node string) (*report.NodeReport, error) {
	x, err := r.Report(ctx, node)
	switch {
	case cluster.Denied(err):
		r.limits.Add(cluster.MayNot("get", "configmaps", r.Home(), "shown are the Events on the pod; "+cluster.ReaderRole))
		return nil, nil
	case apierrors.IsNotFound(err):
		r.limits.Add("there is no report of " + node + " in namespace " + r.Home() + ": " + noAgent)
		return nil, nil
	case err != nil:
		return nil, err
	case x.Content == nil:
		r.limits.Add("the report of node " + node + " cannot be read: " + x.Problem)
		return nil, nil
	}
	return r.checked(x), nil
}

// events returns what Events say on pods; none if they may not be read, which is noted.
func (r *reader) events(ctx context.Context, namespace string, pod types.UID) map[string][]waiting.Event {
	list, err := r.Events(ctx, namespace, pod)
	if err != nil {
		if cluster.Denied(err) {
			r.limits.Add(cluster.MayNot("list", "events", namespace, "shown is what the kubelet's message alone means"))
		}
		return nil
	}
	out := map[string][]waiting.Event{}
	for uid, events := range list {
		for _, e := range events {
			if x, ok := waiting.ParseEvent(e.Message); ok {
				x.Version = e.ResourceVersion
				out[string(uid)] = append(out[string(uid)], x)
			}
		}
	}
	return out
}

// sources returns what is known of the nodes of some pods, and of the pods.
func (r *reader) sources(ctx context.Context, pods []corev1.Pod) (waiting.Sources, error) {
	from := waiting.Sources{Reports: map[string]*report.NodeReport{}}
	var nodes []string
	for _, p := range pods {
		if p.Spec.NodeName != "" && !slices.Contains(nodes, p.Spec.NodeName) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	const many = 5 // a list of all is cheaper
	if len(nodes) > many {
		all, err := r.reports(ctx)
		if err != nil {
			return from, err
		}
		from.Reports = all
	} else {
		for _, node := range nodes {
			rep, err := r.reportOf(ctx, node)
			if err != nil {
				return from, err
			}
			if rep != nil {
				from.Reports[node] = rep
			}
		}
	}
	if len(from.Reports) < len(nodes) {
		uid := types.UID("")
		if len(pods) == 1 {
			uid = pods[0].UID
		}
		from.Events = r.events(ctx, pods[0].Namespace, uid)
	}
	return from, nil
}

// outcome returns the exit code for pods that wait: 1 if a fault is known, 3 if none is.
func outcome(cases []waiting.Case) Exit {
	code := ExitOK
	for _, c := range cases {
		switch c.Verdict.Fault {
		case report.FaultNone:
		case report.FaultUndetermined:
			if code == ExitOK {
				code = ExitUnknown
			}
		default:
			return ExitFault
		}
	}
	return code
}
