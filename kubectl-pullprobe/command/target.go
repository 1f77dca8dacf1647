package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report/readable"
)

// target is what a POD or TYPE/NAME of the arguments is.
type target struct {
	namespace string
	name      string                     // as kubectl names it: pod/web, deployment/web
	kind      string                     // in lower case
	object    *unstructured.Unstructured // nil for a pod
	selector  labels.Selector            // of its pods; nil: they are known by their owner
	pod       *corev1.Pod                // if it is one
}

// target finds what an argument names.
func (a *App) target(ctx context.Context, r *reader, arg string) (*target, error) {
	namespace, err := a.Namespace()
	if err != nil {
		return nil, err
	}
	kind, name, typed := strings.Cut(arg, "/")
	if !typed {
		kind, name = "pod", arg
	}
	if name == "" || strings.Contains(name, "/") {
		return nil, usagef("%q is neither a POD nor TYPE/NAME", arg)
	}
	if kind == "pod" || kind == "pods" || kind == "po" {
		pod, err := r.Pod(ctx, namespace, name)
		if err != nil {
			return nil, a.podNotFound(ctx, r, namespace, name, err)
		}
		return &target{namespace: namespace, name: "pod/" + pod.Name, kind: "pod", pod: pod}, nil
	}
	info, err := resource.NewBuilder(a.kube).Unstructured().NamespaceParam(namespace).DefaultNamespace().
		ResourceTypeOrNameArgs(false, kind+"/"+name).Do().Infos()
	switch {
	case meta.IsNoMatchError(err), err != nil && strings.Contains(err.Error(), "doesn't have a resource type"): // an error without a type
		return nil, usagef("the cluster has no resource type %q", kind)
	case err != nil:
		return nil, err
	}
	object, ok := info[0].Object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%s: cannot read it", arg)
	}
	t := &target{namespace: namespace, kind: strings.ToLower(object.GetKind()), object: object}
	t.name = t.kind + "/" + object.GetName()
	t.selector, err = selectorOf(object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	if t.selector == nil && t.kind != "cronjob" {
		return nil, usagef("%s has no pods of its own", t.name)
	}
	return t, nil
}

// podNotFound returns the error on a pod that is not there, with the namespaces that have one of
// this name, and what a report still says about it.
func (a *App) podNotFound(ctx context.Context, r *reader, namespace, name string, err error) error {
	switch {
	case cluster.Denied(err):
		return errors.New(cluster.MayNot("get", "pods", namespace, "nothing can be shown of it"))
	case !apierrors.IsNotFound(err):
		return err
	}
	text := fmt.Sprintf("pod %q not found in namespace %q", name, namespace)
	if others := r.NamespacesOf(ctx, name, namespace); len(others) > 0 {
		return fmt.Errorf("%s; namespace %s has one: add -n %s", text, readable.Abbreviate(others), others[0])
	}
	reports, errReports := r.Reports(ctx, r.limits)
	if errReports != nil {
		return errors.New(text)
	}
	for _, x := range reports {
		if x.Content == nil {
			continue
		}
		for _, d := range x.Content.Diagnoses {
			for _, ref := range d.Refs() {
				if ref.Pod == namespace+"/"+name {
					return fmt.Errorf("%s; it was deleted. Its last verdict, on %s: %s: %s", text, x.Node, d.Verdict.Title(), d.Verdict.Summary)
				}
			}
		}
	}
	return errors.New(text)
}

// selectorOf returns the selector of an object's pods; nil: it has none.
func selectorOf(o *unstructured.Unstructured) (labels.Selector, error) {
	raw, found, err := unstructured.NestedMap(o.Object, "spec", "selector")
	if err != nil || !found {
		return nil, err
	}
	if raw["matchLabels"] == nil && raw["matchExpressions"] == nil { // ReplicationController, Service
		plain, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector")
		if err != nil {
			return nil, err
		}
		return labels.SelectorFromSet(plain), nil
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil, err
	}
	return metav1.LabelSelectorAsSelector(&selector)
}

// pods returns the pods of a target as they are now.
func (t *target) pods(ctx context.Context, r *reader) ([]corev1.Pod, error) {
	if t.pod != nil {
		p, err := r.Pod(ctx, t.namespace, t.pod.Name)
		if err != nil {
			return nil, err
		}
		return []corev1.Pod{*p}, nil
	}
	o := metav1.ListOptions{}
	if t.selector != nil {
		o.LabelSelector = t.selector.String()
	}
	list, err := r.Pods(ctx, t.namespace, o)
	if err != nil || t.selector != nil {
		return list, err
	}
	var out []corev1.Pod
	for _, p := range list {
		if waiting.OwnerOf(&p) == t.name {
			out = append(out, p)
		}
	}
	return out, nil
}
