package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/fleet/nodetraits"
	"github.com/pullprobe/pullprobe/report"
)

// watcher keeps a cluster up to date. It gets the metadata of the reports, which has the
// facts, and never their content.
type watcher struct {
	core     typedcorev1.CoreV1Interface
	reports  metadata.ResourceInterface
	poolBy   []string
	log      *slog.Logger
	cluster  *cluster
	waiting  *waitingPods
	onChange func()
	onReport func(name string, s statement, changed bool)
}

func newWatcher(cfg *rest.Config, namespace string) (*watcher, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType = runtime.ContentTypeProtobuf // half the size of JSON
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.QPS, cfg.Burst = 20, 40
	core, err := typedcorev1.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for Nodes: %w", err)
	}
	meta, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for reports: %w", err)
	}
	return &watcher{
		core:    core,
		reports: meta.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(namespace),
	}, nil
}

// run watches until ctx ends, and calls synced when all that exists is known.
func (w *watcher) run(ctx context.Context, synced func()) error {
	nodes := cache.NewSharedIndexInformer(paged{&cache.ListWatch{
		ListWithContextFunc: w.listNodes,
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.core.Nodes().Watch(ctx, o)
		},
	}}, &corev1.Node{}, 0, cache.Indexers{})
	reports := cache.NewSharedIndexInformer(paged{&cache.ListWatch{
		ListWithContextFunc: w.listReports,
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = report.LabelReport
			return w.reports.Watch(ctx, o)
		},
	}}, &metav1.PartialObjectMetadata{}, 0, cache.Indexers{})
	pods := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = withoutNode
			return w.core.Pods(metav1.NamespaceAll).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = withoutNode
			return w.core.Pods(metav1.NamespaceAll).Watch(ctx, o)
		},
	}, &corev1.Pod{}, 0, cache.Indexers{})
	for _, i := range []struct {
		cache.SharedIndexInformer
		transform cache.TransformFunc
		handler   cache.ResourceEventHandler
	}{{nodes, w.usedOfNode, w.nodeHandler()}, {reports, usedOfReport, w.reportHandler()}, {pods, usedOfPod, w.podHandler()}} {
		if err := i.SetTransform(i.transform); err != nil {
			return err
		}
		if _, err := i.AddEventHandler(i.handler); err != nil {
			return err
		}
		go i.RunWithContext(ctx)
	}
	if !cache.WaitForCacheSync(ctx.Done(), nodes.HasSynced, reports.HasSynced, pods.HasSynced) {
		return ctx.Err()
	}
	synced()
	<-ctx.Done()
	return nil
}

// paged is a list and watch whose list comes in pages, not as a stream of single objects: the
// API server compresses pages, and no streams. Of a page only what is used stays in memory.
type paged struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported has the reflector list.
func (paged) IsWatchListSemanticsUnSupported() bool { return true }

// pageSize is how many objects a page has.
const pageSize = 500

// listNodes returns all Nodes, without what is not used: most of a Node are its images.
func (w *watcher) listNodes(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	all := &corev1.NodeList{}
	for o = firstPage(o); ; o.Continue = all.Continue {
		page, err := w.core.Nodes().List(ctx, o)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			n := &page.Items[i]
			n.ManagedFields, n.Annotations = nil, nil
			n.Status = corev1.NodeStatus{NodeInfo: n.Status.NodeInfo, Addresses: n.Status.Addresses}
		}
		all.Items = append(all.Items, page.Items...)
		if all.ListMeta = page.ListMeta; all.Continue == "" {
			return all, nil
		}
	}
}

// listReports returns the metadata of all reports.
func (w *watcher) listReports(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.LabelSelector = report.LabelReport
	all := &metav1.PartialObjectMetadataList{}
	for o = firstPage(o); ; o.Continue = all.Continue {
		page, err := w.reports.List(ctx, o)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			all.Items = append(all.Items, *keptOfReport(&page.Items[i]))
		}
		if all.ListMeta = page.ListMeta; all.Continue == "" {
			return all, nil
		}
	}
}

func firstPage(o metav1.ListOptions) metav1.ListOptions {
	o.Limit, o.Continue = pageSize, ""
	o.ResourceVersion, o.ResourceVersionMatch = "", "" // from its cache the API server returns all at once
	return o
}

// usedNode is what is kept of a Node.
type usedNode struct {
	metav1.PartialObjectMetadata
	member
}

// DeepCopyObject returns n: it does not change.
func (n *usedNode) DeepCopyObject() runtime.Object { return n }

func (w *watcher) usedOfNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	u := &usedNode{member: member{
		uid: string(n.UID), traits: nodetraits.Of(n, w.poolBy...),
		labels: n.Labels, taints: n.Spec.Taints, cordoned: n.Spec.Unschedulable,
	}}
	u.Name, u.UID, u.ResourceVersion = n.Name, n.UID, n.ResourceVersion
	return u, nil
}

// usedOfReport keeps the facts of a report's metadata, and when the agent wrote last.
func usedOfReport(o any) (any, error) {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok && m.ManagedFields != nil {
		return keptOfReport(m), nil
	}
	return o, nil // it is of a list
}

func keptOfReport(m *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	kept := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		Annotations: map[string]string{nodefacts.Annotation: m.Annotations[nodefacts.Annotation]},
	}}
	// The API server's clock: a node's own may be wrong.
	var written time.Time
	for _, f := range m.ManagedFields {
		if f.Time != nil && f.Manager == report.FieldManager && f.Time.After(written) {
			written = f.Time.Time
		}
	}
	kept.CreationTimestamp = metav1.NewTime(written)
	return kept
}

func (w *watcher) nodeHandler() cache.ResourceEventHandler {
	set := func(o any) {
		if n, ok := o.(*usedNode); ok && w.cluster.setNode(n.Name, n.member) {
			w.onChange()
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, o any) { set(o) },
		DeleteFunc: func(o any) {
			w.cluster.removeNode(nameOf(o))
			w.onChange()
		},
	}
}

func (w *watcher) reportHandler() cache.ResourceEventHandler {
	set := func(o any) {
		m, ok := o.(*metav1.PartialObjectMetadata)
		if !ok {
			return
		}
		s, changed := w.cluster.setReport(m.Name, m.Annotations[nodefacts.Annotation], m.CreationTimestamp.Time)
		if changed && s.problem != "" {
			w.log.Warn("the facts of a report cannot be read", "configmap", m.Name, "reason", s.problem)
		}
		w.onReport(m.Name, s, changed)
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, o any) { set(o) },
		DeleteFunc: func(o any) {
			w.cluster.removeReport(nameOf(o))
			w.onReport(nameOf(o), statement{}, true)
		},
	}
}

// withoutNode selects the pods that the scheduler has to place.
const withoutNode = "spec.nodeName=,status.phase=Pending"

func (w *watcher) podHandler() cache.ResourceEventHandler {
	set := func(o any) {
		if p, ok := o.(*waitingPod); ok {
			w.waiting.set(p)
			if p.asked || p.preflight != nil {
				w.onChange()
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, o any) { set(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if p, ok := o.(*waitingPod); ok {
				w.waiting.remove(p.UID)
				if p.asked || p.preflight != nil {
					w.onChange()
				}
			}
		},
	}
}

// nameOf returns the name of an object that was deleted.
func nameOf(o any) string {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
	if err != nil {
		return ""
	}
	_, name, _ := cache.SplitMetaNamespaceKey(key)
	return name
}
