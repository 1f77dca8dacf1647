package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/pager"

	"github.com/pullprobe/pullprobe/report"
)

// Pods returns the pods of a namespace, or of all if it is empty.
func (c *Client) Pods(ctx context.Context, namespace string, o metav1.ListOptions) (out []corev1.Pod, err error) {
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return c.Kube.CoreV1().Pods(namespace).List(ctx, o)
	}))
	err = p.EachListItem(ctx, o, func(o runtime.Object) error {
		if pod, ok := o.(*corev1.Pod); ok {
			out = append(out, *pod)
		}
		return nil
	})
	return out, err
}

// Pod returns a pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return c.Kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

// NamespacesOf returns the other namespaces that have a pod of this name; none if the caller
// may not list pods in all of them.
func (c *Client) NamespacesOf(ctx context.Context, pod, namespace string) (out []string) {
	selector := fields.OneTermEqualSelector("metadata.name", pod).String()
	list, err := c.Pods(ctx, metav1.NamespaceAll, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		return nil
	}
	for _, p := range list {
		if p.Namespace != namespace {
			out = append(out, p.Namespace)
		}
	}
	return out
}

// Diagnosed is the reason of the Events that agents write on pods.
const Diagnosed = "ImagePullDiagnosed"

// Events returns what the agents say in Events on the pods of a namespace, by the pod's UID, the
// newest first. Who may create Events there can forge one.
func (c *Client) Events(ctx context.Context, namespace string, pod types.UID) (map[types.UID][]corev1.Event, error) {
	selector := fields.Set{"reason": Diagnosed}
	if pod != "" {
		selector["involvedObject.uid"] = string(pod)
	}
	out := map[types.UID][]corev1.Event{}
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return c.Kube.CoreV1().Events(namespace).List(ctx, o)
	}))
	err := p.EachListItem(ctx, metav1.ListOptions{FieldSelector: selector.AsSelector().String()}, func(o runtime.Object) error {
		if e, ok := o.(*corev1.Event); ok && e.Source.Component == report.FieldManager {
			out[e.InvolvedObject.UID] = append(out[e.InvolvedObject.UID], *e)
		}
		return nil
	})
	for _, list := range out {
		slices.SortFunc(list, func(a, b corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	}
	return out, err
}

// Annotation is the annotation that requests a diagnosis.
const Annotation = "probe"

// Request annotates a pod, which requests a new diagnosis, and returns the value: a time, which
// differs from the one that is there.
func (c *Client) Request(ctx context.Context, p *corev1.Pod, now time.Time) (value string, err error) {
	at := now.Unix()
	for value = strconv.FormatInt(at, 10); value == p.Annotations[Annotation]; value = strconv.FormatInt(at, 10) {
		at++
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         p.UID, // not another pod of this name
		"annotations": map[string]string{Annotation: value},
	}})
	if err != nil {
		return "", err
	}
	_, err = c.Kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return "", fmt.Errorf("annotate the pod: %w", err)
	}
	return value, nil
}

// Agent returns the pod of pullprobe on a node; nil: there is none.
func (c *Client) Agent(ctx context.Context, node string) (*corev1.Pod, error) {
	list, err := c.Pods(ctx, c.home, metav1.ListOptions{
		LabelSelector: agentLabels, FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	newest := slices.MaxFunc(list, func(a, b corev1.Pod) int {
		return cmp.Compare(a.CreationTimestamp.Unix(), b.CreationTimestamp.Unix())
	})
	return &newest, nil
}

// agentLabels selects the pods of the agents.
const agentLabels = "app.kubernetes.io/name=pullprobe"
