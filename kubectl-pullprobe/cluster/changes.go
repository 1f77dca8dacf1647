package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/report"
)

// Changes returns a channel that gets a value when pods of a namespace or reports change. Where
// the caller may not watch, it stays silent. It lives as long as ctx, or until the first change.
func (c *Client) Changes(ctx context.Context, namespace string) <-chan struct{} {
	out := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(ctx)
	follow := func(resource, namespace string, o metav1.ListOptions) {
		objects := c.Meta.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Namespace(namespace)
		o.Limit = 1 // of interest is as of when the watch begins
		now, err := objects.List(ctx, o)
		if err != nil {
			return
		}
		o.Limit, o.ResourceVersion = 0, now.ResourceVersion
		w, err := objects.Watch(ctx, o)
		if err != nil {
			return
		}
		defer w.Stop()
		select {
		case <-ctx.Done():
		case _, open := <-w.ResultChan():
			if open {
				select {
				case out <- struct{}{}:
				default:
				}
				stop()
			}
		}
	}
	go follow("pods", namespace, metav1.ListOptions{})
	go follow("configmaps", c.home, metav1.ListOptions{LabelSelector: report.LabelReport})
	return out
}
