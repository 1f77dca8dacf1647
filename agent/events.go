package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/report"
)

// eventFor is what stands in `kubectl describe pod`.
func eventFor(p pods.Pod, d report.Diagnosis) kube.Event {
	v := d.Verdict
	tail := ""
	if v.Fix != "" {
		tail += " Fix: " + neutralizeLabels(v.Fix) + "."
	}
	if len(v.WouldDecide) > 0 && v.Confidence != report.Confirmed {
		tail += " Would decide: " + neutralizeLabels(v.WouldDecide[0]) + "."
	}
	tail += " Ask again: " + report.Ask(d.Pod)
	head := string(v.Fault) + " / " + string(v.Cause) + " (" + string(v.Confidence) + "): "
	text := report.NewRedactor()
	message := head + text.Text(neutralizeLabels(v.Summary), max(kube.MaxMessage-len(head)-len(tail)-1, 200)) + "." + tail
	return kube.Event{
		Name: eventName(p.Name, d), Namespace: p.Namespace, Pod: p.Name, UID: p.UID, Container: d.Container,
		Warning: v.Fault != report.FaultNone, Reason: "ImagePullDiagnosed", Message: text.Text(message, kube.MaxMessage), Time: d.Time,
	}
}

var eventLabel = regexp.MustCompile(`(?i)\b(fix|would decide|ask again)\s*:`)

// noLabel takes the colon from what looks like a part of an Event's message: a
// verdict may quote a registry, and that must not write a fix of its own.
func neutralizeLabels(s string) string { return eventLabel.ReplaceAllString(s, "$1 -") }

// Events on the Node come at most this often beyond the first few: a node whose
// network flickers must not flood the API server.
const (
	nodeEventEvery = time.Minute
	nodeEventBurst = 10
)

// sayOfNode has an Event written on the Node object.
func (a *Agent) emitNodeEvent(e sweep.NodeEvent) {
	if !a.nodeEventLimit.Allow() {
		a.log.Warn("an Event on the Node is left out: there were too many", "reason", e.Reason, "registry", e.Host)
		return
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{a.opts.NodeName, e.Reason, e.Host, now.Format(time.RFC3339Nano)}))
	a.publisher.EnqueueEvent(kube.Event{
		Name: strings.TrimRight(a.opts.NodeName[:min(len(a.opts.NodeName), 200)], ".-") + "." + hex.EncodeToString(sum[:8]), Namespace: metav1.NamespaceDefault,
		Node: true, Warning: e.Warning, Reason: e.Reason, Message: report.NewRedactor().Text(e.Message, kube.MaxMessage), Time: now,
	})
}

// eventName is the same for the same diagnosis, so that an attempt that is made
// again, because its answer got lost, makes no second Event.
func eventName(pod string, d report.Diagnosis) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{d.UID, d.Container, d.Image, d.Time.UTC().Format(time.RFC3339Nano)}))
	suffix := hex.EncodeToString(sum[:8])
	const longest = 253
	if room := longest - len(".") - len(suffix); len(pod) > room {
		pod = strings.TrimRight(pod[:room], ".-")
	}
	return pod + "." + suffix
}
