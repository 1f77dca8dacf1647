package cluster

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/pullprobe/pullprobe/report"
)

// rewatch is the pause before a watch that has ended begins again.
const rewatch = time.Second

// Changes returns a channel that gets a value when pods of a namespace or reports change, until
// ctx ends. What the caller may not watch is left out.
func (c *Client) Changes(ctx context.Context, namespace string) <-chan struct{} {
	out := make(chan struct{}, 1)
	configMaps := corev1.SchemeGroupVersion.WithResource("configmaps")
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	go follow(ctx, c.Meta.Resource(pods).Namespace(namespace), metav1.ListOptions{}, out)
	go follow(ctx, c.Meta.Resource(configMaps).Namespace(c.home), metav1.ListOptions{LabelSelector: report.LabelReport}, out)
	return out
}

// EventsChange returns a channel as [Client.Changes] does, for the Events on a pod.
func (c *Client) EventsChange(ctx context.Context, p *corev1.Pod) <-chan struct{} {
	out := make(chan struct{}, 1)
	events := corev1.SchemeGroupVersion.WithResource("events")
	go follow(ctx, c.Meta.Resource(events).Namespace(p.Namespace), metav1.ListOptions{FieldSelector: onPod(p.UID)}, out)
	return out
}

// follow writes to out when objects change.
func follow(ctx context.Context, objects metadata.ResourceInterface, o metav1.ListOptions, out chan<- struct{}) {
	for ctx.Err() == nil {
		// Of the list, only as of when it is matters.
		first := o
		first.Limit = 1
		list, err := objects.List(ctx, first)
		if Denied(err) {
			return
		}
		if err == nil {
			then := o
			then.ResourceVersion = list.ResourceVersion
			w, err := objects.Watch(ctx, then)
			if Denied(err) {
				return
			}
			if err == nil {
				for range w.ResultChan() {
					notify(out)
				}
				w.Stop()
			}
		}
		notify(out) // what happened in between is not known
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
}

func notify(out chan<- struct{}) {
	select {
	case out <- struct{}{}:
	default:
	}
}
