package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/fleet/placement"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report/readable"
)

// preflights has nodes check the images of the pods that ask for it, and says on each pod which
// nodes these are. The agents answer on the pod themselves.
type preflights struct {
	core    typedcorev1.CoreV1Interface
	log     *slog.Logger
	planned map[types.UID]*plannedPod

	removeAgain time.Time // after a failure, when pods are removed again
}

// plannedPod is a pod whose nodes were chosen.
type plannedPod struct {
	namespace, name string
	at              time.Time
	plan            preflight.Plan
	told            bool // the Event is written
}

const (
	// preflightTime is how long the agents are asked about a pod: they answer within seconds.
	preflightTime = 2 * time.Minute
	// maxPreflights is for how many pods at a time agents are asked, and maxOfNamespace how many
	// of them may be of one namespace.
	maxPreflights, maxOfNamespace = 16, 4
	// orphanAge is the age at which a pod is removed that the plugin made and did not remove.
	orphanAge = 15 * time.Minute
	// removeRetry is the pause after a pod could not be removed.
	removeRetry = time.Minute
)

func newPreflights(core typedcorev1.CoreV1Interface, log *slog.Logger) *preflights {
	return &preflights{core: core, log: log, planned: map[types.UID]*plannedPod{}}
}

// asking returns the pods that ask for a preflight: the oldest of each namespace, then the second
// of each, and so on.
func (w *waitingPods) asking() []*waitingPod {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*waitingPod
	for _, p := range w.byUID {
		if p.preflight != nil {
			out = append(out, p)
		}
	}
	byAge := func(a, b *waitingPod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(string(a.UID), string(b.UID)))
	}
	slices.SortFunc(out, byAge)
	rank, ofNamespace := map[types.UID]int{}, map[string]int{}
	for _, p := range out {
		rank[p.UID] = ofNamespace[p.Namespace]
		ofNamespace[p.Namespace]++
	}
	slices.SortStableFunc(out, func(a, b *waitingPod) int { return cmp.Or(rank[a.UID]-rank[b.UID], byAge(a, b)) })
	return out
}

// requests chooses nodes for the pods that ask, and returns which pods each node is to check.
func (f *preflights) requests(asking []*waitingPod, nodes func() []placement.Node, now time.Time) map[string][]nodefacts.Pod {
	exists := map[types.UID]bool{}
	for _, p := range asking {
		exists[p.UID] = true
	}
	maps.DeleteFunc(f.planned, func(uid types.UID, _ *plannedPod) bool { return !exists[uid] })
	total, ofNamespace := 0, map[string]int{}
	for _, p := range f.planned {
		if now.Sub(p.at) < preflightTime {
			total++
			ofNamespace[p.namespace]++
		}
	}
	var known []placement.Node
	out := map[string][]nodefacts.Pod{}
	for _, p := range asking {
		if f.planned[p.UID] == nil {
			if total >= maxPreflights || ofNamespace[p.Namespace] >= maxOfNamespace {
				continue
			}
			if known == nil {
				known = nodes()
			}
			f.planned[p.UID] = &plannedPod{namespace: p.Namespace, name: p.Name, at: now, plan: placement.Choose(p.preflight, known)}
			total++
			ofNamespace[p.Namespace]++
		}
		x := f.planned[p.UID]
		if now.Sub(x.at) >= preflightTime {
			continue
		}
		for _, k := range x.plan.Kinds {
			if k.Node != "" {
				out[k.Node] = append(out[k.Node], nodefacts.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)})
			}
		}
	}
	return out
}

// tell writes the plans into Events on the pods.
func (f *preflights) tell(ctx context.Context, now time.Time) error {
	var failed []error
	for uid, x := range f.planned {
		if x.told {
			continue
		}
		text, err := x.plan.Encode()
		if err == nil {
			e := podEvent(x.namespace, x.name, uid, toldPod{first: now, at: now, count: 1})
			e.Name, e.Reason, e.Message = "preflight."+string(uid), preflight.ReasonPlanned, readable.Truncate(planText(x.plan), kube.MaxMessage)
			e.Annotations = map[string]string{preflight.Annotation: text}
			err = applyEvent(ctx, f.core, e)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		x.told = true
	}
	return errors.Join(failed...)
}

// planText returns a plan for people.
func planText(p preflight.Plan) string {
	var out strings.Builder
	if len(p.Kinds) == 0 {
		out.WriteString("no node may run this pod, so that none checks its images")
	} else {
		out.WriteString("one node of each kind that may run this pod checks its images: ")
	}
	for i, k := range p.Kinds {
		if i > 0 {
			out.WriteString("; ")
		}
		fmt.Fprintf(&out, "%s (%s, %d in all)", cmp.Or(k.Node, "none, as no agent there reports,"), k, k.Nodes)
	}
	if p.KindsOmitted > 0 {
		fmt.Fprintf(&out, "; %d kinds more are not checked", p.KindsOmitted)
	}
	for i, x := range p.Excluded {
		out.WriteString([]string{". Other nodes: ", "; "}[min(i, 1)])
		fmt.Fprintf(&out, "%d %s", x.Nodes, x.Why)
	}
	return readable.Clean(out.String(), kube.MaxMessage)
}

// removeOrphans removes the pods that the plugin made and did not remove: it was killed, or has
// lost its connection. The admission policy permits no other pods.
func (f *preflights) removeOrphans(ctx context.Context, asking []*waitingPod, now time.Time) {
	for _, p := range asking {
		if !p.made || now.Sub(p.CreationTimestamp.Time) < orphanAge || now.Before(f.removeAgain) {
			continue
		}
		err := f.core.Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
		switch {
		case err == nil:
			f.log.Info("a preflight pod was left behind; removed it", "pod", p.Namespace+"/"+p.Name)
		case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err):
			f.log.Warn("cannot remove a preflight pod, will retry", "pod", p.Namespace+"/"+p.Name, "error", err)
			f.removeAgain = now.Add(removeRetry)
		}
	}
}

// podEvent returns an Event of the fleet on a pod, without its name, reason and message.
func podEvent(namespace, name string, uid types.UID, told toldPod) corev1.Event {
	return corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: uid},
		Type:           corev1.EventTypeNormal,
		Source:         corev1.EventSource{Component: Name},
		FirstTimestamp: metav1.NewTime(told.first), LastTimestamp: metav1.NewTime(told.at), Count: told.count,
		EventTime: metav1.NewMicroTime(told.first), Action: "Compare",
		ReportingController: preflight.FleetController, ReportingInstance: Name,
	}
}
