package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/preflight"
)

// gatesSince is the minor version of Kubernetes 1 in which pods have scheduling gates whatever
// its feature gates are. An older API server may drop the gate, and then the pod would run.
const gatesSince = 30

// WhyNoPreflight returns why the cluster cannot do a preflight; empty: nothing that the caller may
// read says so.
func (c *Client) WhyNoPreflight(ctx context.Context) (string, error) {
	v, err := c.Kube.Discovery().ServerVersion()
	if err != nil {
		return "", err
	}
	minor, err := strconv.Atoi(strings.TrimRight(v.Minor, "+"))
	if err == nil && v.Major == "1" && minor < gatesSince {
		return fmt.Sprintf("a preflight needs Kubernetes 1.%d, for scheduling gates; this cluster has %s", gatesSince, v.GitVersion), nil
	}
	list, err := c.Kube.AppsV1().Deployments(c.home).List(ctx, metav1.ListOptions{LabelSelector: fleetLabels})
	if err == nil && len(list.Items) == 0 {
		return "a preflight needs pullprobe-fleet, and namespace " + c.home + " has none (component fleet)", nil
	}
	return "", nil // whether it is there shows
}

// CreateGated creates a pod with the scheduling gate of preflights. If the cluster removes the
// gate, it removes the pod.
func (c *Client) CreateGated(ctx context.Context, p *corev1.Pod) (*corev1.Pod, error) {
	made, err := c.Kube.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{FieldManager: "kubectl-pullprobe"})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(made.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == preflight.Gate }) {
		return made, nil
	}
	if err := c.Remove(ctx, made); err != nil {
		return nil, fmt.Errorf("the cluster removes scheduling gates, and pod %s/%s cannot be deleted: %w", made.Namespace, made.Name, err)
	}
	return nil, fmt.Errorf("the cluster, perhaps an admission webhook, removes the scheduling gate %s: the pod was deleted", preflight.Gate)
}

// Remove deletes a pod, unless another one has its name by now.
func (c *Client) Remove(ctx context.Context, p *corev1.Pod) error {
	err := c.Kube.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// Preflight is what the fleet and the agents have answered so far.
type Preflight struct {
	Plan    *preflight.Plan               // nil: none yet
	Results map[string][]preflight.Result // by node, in the order of the images
}

// Complete reports whether each node of the plan has given all its results.
func (p Preflight) Complete() bool { return p.Plan != nil && len(p.Missing()) == 0 }

// Missing returns the nodes that have not given all their results.
func (p Preflight) Missing() (out []string) {
	for _, k := range p.Plan.Kinds {
		list := p.Results[k.Node]
		if k.Node != "" && (len(list) == 0 || len(list) < list[0].Of) {
			out = append(out, k.Node)
		}
	}
	return out
}

// PreflightOn reads the answers on a pod. Who may create Events in its namespace can forge them.
func (c *Client) PreflightOn(ctx context.Context, namespace string, pod types.UID) (Preflight, error) {
	list, err := c.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: onPod(pod)})
	if err != nil {
		return Preflight{}, err
	}
	out := Preflight{Results: map[string][]preflight.Result{}}
	for _, e := range list.Items {
		text := e.Annotations[preflight.Annotation]
		switch {
		case e.Reason == preflight.ReasonPlanned && e.ReportingController == preflight.FleetController:
			plan, err := preflight.DecodePlan(text)
			if err != nil {
				return out, err
			}
			out.Plan = &plan
		case e.Reason == preflight.ReasonChecked && e.ReportingController == preflight.AgentController:
			r, err := preflight.DecodeResult(text)
			if err != nil {
				return out, err
			}
			out.Results[e.Source.Host] = append(out.Results[e.Source.Host], r)
		}
	}
	for node, results := range out.Results {
		slices.SortFunc(results, func(a, b preflight.Result) int { return cmp.Compare(a.Index, b.Index) })
		out.Results[node] = slices.CompactFunc(results, func(a, b preflight.Result) bool { return a.Index == b.Index })
	}
	return out, nil
}

// onPod selects the Events on a pod.
func onPod(uid types.UID) string {
	return fields.OneTermEqualSelector("involvedObject.uid", string(uid)).String()
}
