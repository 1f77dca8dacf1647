package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
)

// rolls reports whether a target can be waited for.
func (t *target) rolls() bool {
	return slices.Contains([]string{"pod", "deployment", "daemonset", "statefulset", "job"}, t.kind)
}

// refresh reads the object of a target again.
func (a *App) refresh(_ context.Context, t *target) error {
	info, err := resource.NewBuilder(a.kube).Unstructured().NamespaceParam(t.namespace).DefaultNamespace().
		ResourceTypeOrNameArgs(false, t.kind+"/"+t.object.GetName()).Do().Infos()
	if err != nil {
		return err
	}
	now, ok := info[0].Object.(*unstructured.Unstructured)
	if !ok || now.GetUID() != t.object.GetUID() {
		return fmt.Errorf("%s in namespace %s was deleted meanwhile", t.name, t.namespace)
	}
	t.object = now
	return nil
}

// observed returns the generation that the controller has seen.
func observed(o *unstructured.Unstructured) int64 {
	n, _, err := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	if err != nil {
		return 0
	}
	return n
}

// status returns how far a target is.
func (t *target) status(pods []corev1.Pod) (done, failed bool, message string) {
	switch t.kind {
	case "pod":
		p := &pods[0]
		state := view.StateOf(p)
		done = p.Status.Phase == corev1.PodSucceeded || view.Ready(p)
		return done, p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil, t.name + " " + state.Text
	case "job":
		return jobStatus(t)
	}
	done, message, err := statusOf(t.object)
	if err != nil {
		return false, true, err.Error()
	}
	return done, false, message
}

func jobStatus(t *target) (done, failed bool, message string) {
	list, _, err := unstructured.NestedSlice(t.object.Object, "status", "conditions")
	if err != nil {
		list = nil
	}
	for _, x := range list {
		c, ok := x.(map[string]any)
		if !ok || c["status"] != "True" {
			continue
		}
		text, _ := c["message"].(string)
		switch c["type"] {
		case "Complete":
			return true, false, t.name + " is complete"
		case "Failed":
			return false, true, t.name + " has failed: " + text
		}
	}
	return false, false, "Waiting for " + t.name + " to complete..."
}

// newest returns the pods of the newest revision of a workload: an older one that cannot be
// pulled does not fail the rollout that replaces it. If the caller may not read the revisions, it
// returns the pods whose images are those of the template.
func newest(ctx context.Context, r *reader, t *target, pods []corev1.Pod) []corev1.Pod {
	if t.object == nil || t.kind == "job" {
		return pods
	}
	label, value, ok := r.revision(ctx, t)
	return slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool {
		if ok {
			return p.Labels[label] != value
		}
		return !t.hasImages(&p)
	})
}

// revision returns the label of the pods of the newest revision.
func (r *reader) revision(ctx context.Context, t *target) (label, value string, ok bool) {
	switch t.kind {
	case "statefulset":
		value, _, err := unstructured.NestedString(t.object.Object, "status", "updateRevision")
		return appsv1.ControllerRevisionHashLabelKey, value, err == nil && value != ""
	case "deployment":
		list, err := r.Kube.AppsV1().ReplicaSets(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: t.selector.String()})
		if err != nil {
			return "", "", false
		}
		const revision = "deployment.kubernetes.io/revision"
		highest := -1
		for _, rs := range list.Items {
			n, err := strconv.Atoi(rs.Annotations[revision])
			if err == nil && n > highest && metav1.IsControlledBy(&rs, t.object) {
				highest, value = n, rs.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
			}
		}
		return appsv1.DefaultDeploymentUniqueLabelKey, value, value != ""
	case "daemonset":
		list, err := r.Kube.AppsV1().ControllerRevisions(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: t.selector.String()})
		if err != nil {
			return "", "", false
		}
		highest := int64(-1)
		for _, c := range list.Items {
			if c.Revision > highest && metav1.IsControlledBy(&c, t.object) {
				highest, value = c.Revision, c.Labels[appsv1.ControllerRevisionHashLabelKey]
			}
		}
		return appsv1.ControllerRevisionHashLabelKey, value, value != ""
	}
	return "", "", false
}

// hasImages reports whether a pod has the images of the workload's template.
func (t *target) hasImages(p *corev1.Pod) bool {
	list, _, err := unstructured.NestedSlice(t.object.Object, "spec", "template", "spec", "containers")
	if err != nil {
		return true
	}
	for _, x := range list {
		c, ok := x.(map[string]any)
		if !ok {
			continue
		}
		for _, have := range p.Spec.Containers {
			if have.Name == c["name"] && have.Image != c["image"] {
				return false
			}
		}
	}
	return true
}
