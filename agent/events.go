package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

// eventFor returns the Event on a pod, which `kubectl describe pod` shows.
func eventFor(p pods.Pod, d report.Diagnosis) kube.Event {
	v := d.Verdict
	tail := ""
	if who := whoActs(p, v); who != "" {
		tail = "\nWho acts: " + who + "."
	}
	if v.Fix != "" {
		tail += "\nFix: " + readable.NeutralizeLabels(v.Fix)
	}
	if confirm := v.ToConfirm(); len(confirm) > 0 && v.Confidence != report.Confirmed {
		tail += "\nTo confirm: " + readable.NeutralizeLabels(confirm[0])
	}
	checked := "\nChecked " + readable.Time(d.Time) + ". Check again:\n" + report.RetryCommand(d.Pod)
	head := v.Inline() + ": "
	for _, also := range d.AlsoFound() {
		also = "\nAlso: " + readable.NeutralizeLabels(also) + "."
		if len(head)+min(len(v.Summary), kube.MinSummary)+len(tail)+len(also)+len(checked) < kube.MaxMessage {
			tail += also
		}
	}
	return kube.Event{
		Namespace: p.Namespace,
		Pod:       p.Name,
		UID:       p.UID,
		Container: d.Container,
		Warning:   v.Fault != report.FaultNone,
		Reason:    "ImagePullDiagnosed",
		Message:   kube.Message(head, v.Summary, tail+checked),
	}
}

// whoActs returns who must act on a pod, in words.
func whoActs(p pods.Pod, v report.Verdict) string {
	if p.Owner.Name == "" {
		return v.Who()
	}
	return strings.Replace(v.Who(), "the owner of the workload", "the owner of "+p.Owner.Name, 1)
}

// Rate limit of Events on the Node, so that an unstable network does not flood the API
// server.
const (
	nodeEventInterval = time.Minute
	nodeEventBurst    = 10
)

// nodeEvents writes Events on the Node object.
type nodeEvents struct {
	node      string
	namespace string // of the agents
	log       *slog.Logger
	publisher *publish.Publisher
	limit     *rate.Limiter
}

func newNodeEvents(node, namespace string, log *slog.Logger, p *publish.Publisher) nodeEvents {
	return nodeEvents{
		node: node, namespace: namespace, log: log, publisher: p,
		limit: rate.NewLimiter(rate.Every(nodeEventInterval), nodeEventBurst),
	}
}

// message returns the text of an Event, with what fixes it and how to check the node again.
func (n nodeEvents) message(e sweep.NodeEvent) string {
	if !e.Warning || e.Fix == "" {
		return redact.New().Text(e.Message, kube.MaxMessage)
	}
	tail := "\nWho acts: " + e.Who + ".\nFix: " + readable.NeutralizeLabels(e.Fix) +
		"\nCheck this node again:\nkubectl -n " + n.namespace + " annotate pod" +
		" -l app.kubernetes.io/name=pullprobe --field-selector spec.nodeName=" + n.node + " probe=$(date +%s) --overwrite"
	return kube.Message("", e.Message, tail)
}

// emit writes an Event, unless there were too many.
func (n nodeEvents) emit(e sweep.NodeEvent) {
	if !n.limit.Allow() {
		n.log.Warn("node Event dropped: rate limit", "reason", e.Reason, "registry", e.Host)
		return
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	n.publisher.EnqueueEvent(kube.Event{
		Name:      nodeEventName(n.node, e, now),
		Namespace: metav1.NamespaceDefault,
		Node:      true,
		Warning:   e.Warning,
		Reason:    e.Reason,
		Message:   n.message(e),
		First:     now,
		Time:      now,
		Count:     1,
	})
}

// nodeEventName returns the name of an Event on a Node at a time.
func nodeEventName(node string, e sweep.NodeEvent, at time.Time) string {
	return boundedName(node, 200, node, e.Reason, e.Host, at.Format(time.RFC3339Nano))
}

// eventName returns the name of the Event on a container of a pod. It is the same for
// every verdict and for every agent, so that there is one Event.
func eventName(p pods.Pod, key subjectKey) string {
	const longest = 253
	return boundedName(p.Name, longest-1-hashLength, p.UID, key.container, key.volume)
}

// hashLength is the length of the hash in the name of an Event.
const hashLength = 16

// boundedName returns a name that begins with up to limit bytes of prefix and ends with a
// hash of the fields.
func boundedName(prefix string, limit int, fields ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", fields))
	if len(prefix) > limit {
		prefix = strings.TrimRight(prefix[:limit], ".-")
	}
	return prefix + "." + hex.EncodeToString(sum[:hashLength/2])
}
