// Package kube is the client of the Kubernetes API server: the few calls that
// the agent makes.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/report/redact"
)

// Client is a client of the Kubernetes API server for the few calls that the agent
// makes: a REST client for core/v1 with a scheme of the few kinds used, because
// the whole clientset costs as much memory as the rest of the agent.
type Client struct {
	client rest.Interface
	AsNode string // the node that secrets and ServiceAccounts are read as; empty: the agent's own ServiceAccount
}

// New returns a client for the API server of a kubeconfig; without one it connects
// with the pod's ServiceAccount. It sends nothing yet. With asNode it reads secrets
// and ServiceAccounts as that node.
func New(kubeconfig, userAgent, asNode string) (*Client, error) {
	cfg, err := RESTConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return ForConfig(cfg, userAgent, asNode)
}

// ForConfig returns the client that [New] does, for an API server of which the caller knows
// the address.
func ForConfig(cfg *rest.Config, userAgent, asNode string) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	gv := corev1.Version()
	scheme := runtime.NewScheme()
	corev1.AddToScheme(scheme)
	cfg.GroupVersion = &gv
	cfg.APIPath = "/api"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.UserAgent = userAgent
	cfg.QPS, cfg.Burst = 20, 40
	cfg.Timeout = 0 // a watch has no deadline; every other call brings its own
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for the API server: %w", err)
	}
	return ForREST(client, asNode), nil
}

// ForREST returns a client that sends its requests through another one.
func ForREST(client rest.Interface, asNode string) *Client {
	return &Client{client: client, AsNode: asNode}
}

// RESTConfig returns the configuration for the API server of a kubeconfig; without one, that
// of the pod's ServiceAccount.
func RESTConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a cluster (%w): name a file with --kubeconfig", err)
		}
		return cfg, nil
	}
	if _, err := os.Stat(kubeconfig); err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

// Pods returns the list and watch of the pods on one node. failed is called for
// every list and watch that the API server refuses.
func (k *Client) Pods(node string, failed func()) *cache.ListWatch {
	selector := fields.OneTermEqualSelector("spec.nodeName", node)
	return onFailure(cache.NewListWatchFromClient(k.client, "pods", metav1.NamespaceAll, selector), failed)
}

// Pod returns one pod; nil if it does not exist. It lists the pods of this name: the agent has no
// right to get one.
func (k *Client) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var list corev1.PodList
	selector := fields.OneTermEqualSelector("metadata.name", name).String()
	err := k.client.Get().Namespace(namespace).Resource("pods").Param("fieldSelector", selector).Do(ctx).Into(&list)
	if err != nil || len(list.Items) == 0 {
		return nil, err
	}
	return &list.Items[0], nil
}

// ConfigMap returns the list and watch of one ConfigMap. failed is called for every list and
// watch that the API server refuses.
func (k *Client) ConfigMap(namespace, name string, failed func()) *cache.ListWatch {
	selector := fields.OneTermEqualSelector("metadata.name", name)
	return onFailure(cache.NewListWatchFromClient(k.client, "configmaps", namespace, selector), failed)
}

// callTimeout bounds one call to the API server.
const callTimeout = 10 * time.Second

// NodeUID returns the UID of the Node object.
func (k *Client) NodeUID(ctx context.Context, name string) (types.UID, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var n corev1.Node
	err := k.client.Get().Resource("nodes").Name(name).Do(ctx).Into(&n)
	return n.UID, err
}

// NodeConditions returns the conditions of the Node object that matter for image
// pulls.
func (k *Client) NodeConditions(ctx context.Context, name string) ([]report.Condition, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var n corev1.Node
	if err := k.client.Get().Resource("nodes").Name(name).Do(ctx).Into(&n); err != nil {
		return nil, err
	}
	var out []report.Condition
	relevant := []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeDiskPressure, corev1.NodeNetworkUnavailable}
	for _, c := range n.Status.Conditions {
		if slices.Contains(relevant, c.Type) {
			out = append(out, report.Condition{
				Type:   string(c.Type),
				Status: string(c.Status),
				Reason: c.Reason,
				Since:  c.LastTransitionTime.UTC(),
			})
		}
	}
	return out, nil
}

// Secret reads one pull secret. If it does not exist, the result has neither a
// secret nor an error.
func (k *Client) Secret(ctx context.Context, namespace, name string) credentials.SecretLookup {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found := credentials.SecretLookup{Namespace: namespace, Name: name}
	var s corev1.Secret
	err := k.read(ctx, "secrets", namespace, name, &s)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		found.Err = err
	default:
		found.Secret = &credentials.Secret{Namespace: namespace, Name: name, Type: s.Type, Data: s.Data}
	}
	return found
}

// ConfigMap is the part of a ConfigMap that the agent writes.
type ConfigMap struct {
	Name, Namespace string
	Labels          map[string]string
	Annotations     map[string]string
	Data            map[string]string
	Node            string    // the owner
	NodeUID         types.UID // empty: there is no owner
}

// Apply writes a ConfigMap by server-side apply, so that fields of other writers
// stay. It returns the resource version after that.
func (k *Client) Apply(ctx context.Context, cm ConfigMap) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj := corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: cm.Name, Namespace: cm.Namespace, Labels: cm.Labels, Annotations: cm.Annotations},
		Data:       cm.Data,
	}
	if cm.NodeUID != "" {
		obj.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: cm.Node, UID: cm.NodeUID}}
	}
	body, err := json.Marshal(obj)
	if err != nil {
		return "", err
	}
	return versionOf(k.client.Patch(types.ApplyPatchType).Namespace(cm.Namespace).Resource("configmaps").Name(cm.Name).
		Param("fieldManager", report.FieldManager).Param("force", "true").SetHeader("Accept", metadataOnly).Body(body).Do(ctx))
}

// metadataOnly requests an object without its content.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// ConfigMapVersion returns the resource version of a ConfigMap; empty if it does not
// exist.
func (k *Client) ConfigMapVersion(ctx context.Context, namespace, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	version, err := versionOf(k.client.Get().Namespace(namespace).Resource("configmaps").Name(name).SetHeader("Accept", metadataOnly).Do(ctx))
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return version, err
}

// ConfigMapLabel returns the value of a label of a ConfigMap; empty if neither exists.
func (k *Client) ConfigMapLabel(ctx context.Context, namespace, name, label string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	meta, err := metaOf(k.client.Get().Namespace(namespace).Resource("configmaps").Name(name).SetHeader("Accept", metadataOnly).Do(ctx))
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return meta.Labels[label], err
}

func versionOf(r rest.Result) (string, error) {
	meta, err := metaOf(r)
	return meta.ResourceVersion, err
}

func metaOf(r rest.Result) (meta metav1.PartialObjectMetadata, err error) {
	body, err := r.Raw()
	if err != nil {
		return meta, r.Error() // more precise than Raw's error
	}
	return meta, json.Unmarshal(body, &meta)
}

// ConfigMapData returns the value of one key of a ConfigMap.
func (k *Client) ConfigMapData(ctx context.Context, namespace, name, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var cm corev1.ConfigMap
	err := k.client.Get().Namespace(namespace).Resource("configmaps").Name(name).Do(ctx).Into(&cm)
	return cm.Data[key], err
}

// Event is one Event on a pod or on the Node.
type Event struct {
	Name           string // the same for every write
	Namespace, Pod string
	Node           bool // it is about the Node: Pod is empty, and the namespace is default
	UID            types.UID
	Container      string
	Warning        bool
	Reason         string
	Message        string // at most 1 KiB
	Annotation     Annotation
	First, Time    time.Time // when it was written with this content first, and now
	Count          int       // how often
}

// Annotation is one annotation of an Event; without a key there is none.
type Annotation struct{ Key, Value string }

// MaxMessage is the longest message of an Event, in bytes (events.k8s.io, validation
// of Event.note).
const MaxMessage = 1024

// MinSummary is how much of a message the summary may take at least, in bytes.
const MinSummary = 200

// Message returns the message of an Event. Only the summary, which may quote a server, is cut
// for its length and can add no part of its own; the fix in the tail has several lines.
func Message(head, summary, tail string) string {
	text := redact.New()
	room := max(MaxMessage-len(head)-len(tail)-1, MinSummary)
	return text.Lines(head+text.Text(readable.NeutralizeLabels(summary), room)+"."+tail, MaxMessage)
}

// ApplyEvent writes an Event, or writes it again: its content, and its time. Its source is
// the agent of this node.
func (k *Client) ApplyEvent(ctx context.Context, node string, e Event) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	obj := corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Name: e.Name, Namespace: e.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: e.Namespace, Name: e.Pod, UID: e.UID,
		},
		Reason: e.Reason, Message: e.Message, Type: kind,
		Source:         corev1.EventSource{Component: report.FieldManager, Host: node},
		FirstTimestamp: metav1.NewTime(e.First), LastTimestamp: metav1.NewTime(e.Time), Count: int32(e.Count),
		EventTime:           metav1.NewMicroTime(e.First),
		Action:              "Diagnose",
		ReportingController: "pullprobe.dev/agent",
		ReportingInstance:   reportingInstance(node),
	}
	if a := e.Annotation; a.Key != "" {
		obj.Annotations = map[string]string{a.Key: a.Value}
	}
	if e.Node {
		obj.InvolvedObject = corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: e.UID}
		obj.Action = "Sweep"
	}
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	return k.client.Patch(types.ApplyPatchType).Namespace(e.Namespace).Resource("events").Name(e.Name).
		Param("fieldManager", report.FieldManager).Param("force", "true").SetHeader("Accept", metadataOnly).Body(body).Do(ctx).Error()
}

// reportingInstance returns the node's name, truncated to the 128 characters of
// Event.reportingInstance.
func reportingInstance(node string) string {
	return node[:min(len(node), 128)]
}

// ServiceAccountSecrets returns the names of the pull secrets that a ServiceAccount
// lists.
func (k *Client) ServiceAccountSecrets(ctx context.Context, namespace, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var sa corev1.ServiceAccount
	if err := k.read(ctx, "serviceaccounts", namespace, name, &sa); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sa.ImagePullSecrets {
		names = append(names, s.Name)
	}
	return names, nil
}

// onFailure calls failed for every list and watch that the API server refuses. Those
// that the agent cancels do not count.
func onFailure(lw *cache.ListWatch, failed func()) *cache.ListWatch {
	list, begin := lw.ListWithContextFunc, lw.WatchFuncWithContext
	lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		got, err := list(ctx, o)
		if err != nil && ctx.Err() == nil {
			failed()
		}
		return got, err
	}
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		w, err := begin(ctx, o)
		if err != nil && ctx.Err() == nil {
			failed()
		}
		return w, err
	}
	return lw
}

// Retriable reports whether the same call may succeed later.
func Retriable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true // the API server was not reached
	}
	return apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) || status.Status().Code >= http.StatusInternalServerError
}
