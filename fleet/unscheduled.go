package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/fleet/placement"
	"github.com/pullprobe/pullprobe/preflight"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// waitingPod is what is kept of a pod without a node.
type waitingPod struct {
	metav1.PartialObjectMetadata
	asked  bool   // it has the annotation probe
	reason string // of its condition PodScheduled
	text   string // of the same
	gates  []string

	preflight *corev1.Pod // of a pod that asks for a preflight, what decides where it may run; nil: it does not
	made      bool        // the plugin made it, for that alone
}

// DeepCopyObject returns the pod: it does not change.
func (p *waitingPod) DeepCopyObject() runtime.Object { return p }

// Unscheduled is a pod that the scheduler finds no node for.
type Unscheduled struct {
	Pod   string    `json:"pod"`   // namespace/name
	Since time.Time `json:"since"` // when it was created
	Why   string    `json:"why"`   // in plain words
	uid   types.UID
}

// overdue is how long a pod may be without a node before the fleet says why without a request.
const overdue = 30 * time.Second

// waitingPods are the pods without a node.
type waitingPods struct {
	mu    sync.Mutex
	byUID map[types.UID]*waitingPod
}

func newWaitingPods() *waitingPods { return &waitingPods{byUID: map[types.UID]*waitingPod{}} }

func (w *waitingPods) set(p *waitingPod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byUID[p.UID] = p
}

func (w *waitingPods) remove(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byUID, uid)
}

// usedOfPod keeps what is used of a pod without a node.
func usedOfPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	out := &waitingPod{}
	out.ObjectMeta = metav1.ObjectMeta{
		Name: p.Name, Namespace: p.Namespace, UID: p.UID, ResourceVersion: p.ResourceVersion, CreationTimestamp: p.CreationTimestamp,
	}
	out.asked = p.Annotations["probe"] != "" || p.Annotations["pullprobe.dev/probe"] != ""
	for _, g := range p.Spec.SchedulingGates {
		out.gates = append(out.gates, g.Name)
		if g.Name == preflight.Gate && p.DeletionTimestamp == nil {
			out.preflight = placement.Of(p)
		}
	}
	_, out.made = p.Labels[preflight.Label]
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			out.reason, out.text = c.Reason, c.Message
		}
	}
	return out, nil
}

// why says why a pod has no node, in plain words.
func (p *waitingPod) why() string {
	switch {
	case len(p.gates) > 0:
		return readable.Clean("it waits until its scheduling gates are removed: "+strings.Join(p.gates, ", "), 300)
	case p.text != "":
		return plainWords(p.text)
	case p.reason != "":
		return readable.Clean("the scheduler says "+p.reason, 100)
	}
	return "the scheduler has not decided yet"
}

// list returns the pods that were asked about, and those that wait for too long, the oldest
// first.
func (w *waitingPods) list(now time.Time) []Unscheduled {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []Unscheduled{}
	for _, p := range w.byUID {
		if p.preflight == nil && (p.asked || now.Sub(p.CreationTimestamp.Time) > overdue) {
			out = append(out, Unscheduled{
				Pod: p.Namespace + "/" + p.Name, Since: p.CreationTimestamp.UTC(), Why: p.why(), uid: p.UID,
			})
		}
	}
	slices.SortFunc(out, func(a, b Unscheduled) int { return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Pod, b.Pod)) })
	return out
}

// eventReason is the reason of the Events on such pods.
const eventReason = "Unscheduled"

// podEvents writes an Event on each pod that has no node, with the reason. It writes it
// again before the API server deletes it, as the agents do with theirs.
type podEvents struct {
	events  typedcorev1.EventsGetter
	written map[types.UID]toldPod
}

// toldPod is the last Event that was written on a pod.
type toldPod struct {
	why       string
	first, at time.Time // when it was written first, and last
	count     int32     // how often it was written
}

// How often Events are written.
const (
	renewal   = 20 * time.Minute
	maxEvents = 20 // in one round, because users can create any number of pods
)

// write writes the Events that are due, and reports whether some are left.
func (e *podEvents) write(ctx context.Context, list []Unscheduled, now time.Time) (more bool, err error) {
	waits := map[types.UID]bool{}
	var failed []error
	writes := 0
	for _, p := range list {
		waits[p.uid] = true
		told := e.written[p.uid]
		if told.why == p.Why && now.Sub(told.at) < renewal {
			continue
		}
		if writes++; writes > maxEvents {
			more = true
			continue
		}
		if told.why != p.Why {
			told = toldPod{why: p.Why, first: now}
		}
		told.at, told.count = now, told.count+1
		if err := e.apply(ctx, p, told); err != nil {
			failed = append(failed, err)
			continue
		}
		e.written[p.uid] = told
	}
	maps.DeleteFunc(e.written, func(uid types.UID, _ toldPod) bool { return !waits[uid] })
	return more, errors.Join(failed...)
}

func (e *podEvents) apply(ctx context.Context, p Unscheduled, told toldPod) error {
	namespace, name, _ := strings.Cut(p.Pod, "/")
	message := fmt.Sprintf("none / Unscheduled: no image is pulled yet: the pod has no node: %s. More: kubectl -n %s describe pod %s",
		p.Why, namespace, name)
	obj := podEvent(namespace, name, p.uid, told)
	obj.Name, obj.Reason, obj.Message = "unscheduled."+string(p.uid), eventReason, readable.Truncate(message, kube.MaxMessage)
	return applyEvent(ctx, e.events, obj)
}

// applyEvent writes an Event, or writes it again.
func applyEvent(ctx context.Context, events typedcorev1.EventsGetter, obj corev1.Event) error {
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	force := true
	o := metav1.PatchOptions{FieldManager: report.FieldManager, Force: &force}
	_, err = events.Events(obj.Namespace).Patch(ctx, obj.Name, types.ApplyPatchType, body, o)
	if err != nil {
		return fmt.Errorf("Event on the pod %s/%s: %w", obj.Namespace, obj.InvolvedObject.Name, err)
	}
	return nil
}
