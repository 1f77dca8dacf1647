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
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/report"
)

// fieldManager owns the fields that pullprobe writes (server-side apply).
const fieldManager = "pullprobe"

// kube is the Kubernetes API as far as the agent needs it: a REST client for
// core/v1 with a scheme of the few kinds used, because the whole clientset
// costs as much memory as the rest of the agent.
type Client struct {
	client rest.Interface
	AsNode string // the node that secrets and ServiceAccounts are read as; empty: the agent's own ServiceAccount
}

// newKube connects with the pod's ServiceAccount, or with a kubeconfig if one
// is named. It sends nothing yet. With asNode it reads secrets and
// ServiceAccounts as that node.
func New(kubeconfig, userAgent, asNode string) (*Client, error) {
	cfg, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	gv := corev1.SchemeGroupVersion
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(gv, &corev1.Pod{}, &corev1.PodList{}, &corev1.Node{}, &corev1.Secret{}, &corev1.ServiceAccount{}, &corev1.ConfigMap{}, &corev1.Event{})
	metav1.AddToGroupVersion(scheme, gv)
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

// newKubeFor returns a client that sends its requests by this one.
func ForREST(client rest.Interface, asNode string) *Client {
	return &Client{client: client, AsNode: asNode}
}

func restConfig(kubeconfig string) (*rest.Config, error) {
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

// pods is the list and watch of the pods on one node. failed is called whenever
// the API server gives neither a list nor a watch.
func (k *Client) Pods(node string, failed func()) *cache.ListWatch {
	return onFailure(cache.NewListWatchFromClient(k.client, "pods", metav1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", node)), failed)
}

// callTimeout bounds one call to the API server.
const callTimeout = 10 * time.Second

// nodeUID is the UID of the Node object.
func (k *Client) NodeUID(ctx context.Context, name string) (types.UID, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var n corev1.Node
	err := k.client.Get().Resource("nodes").Name(name).Do(ctx).Into(&n)
	return n.UID, err
}

// nodeConditions are the conditions of the Node object that have to do with
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
			out = append(out, report.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Since: c.LastTransitionTime.UTC()})
		}
	}
	return out, nil
}

// secret reads one pull secret. Absent: neither secret nor error.
func (k *Client) Secret(ctx context.Context, namespace, name string) credentials.Found {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found := credentials.Found{Namespace: namespace, Name: name}
	var s corev1.Secret
	err := k.read(ctx, "secrets", namespace, name, &s)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		found.Err = err
	default:
		found.Secret = &credentials.Secret{Namespace: namespace, Name: name, Type: string(s.Type), Data: s.Data}
	}
	return found
}

// configMap is what the agent writes of one.
type ConfigMap struct {
	Name, Namespace string
	Labels          map[string]string
	Data            map[string]string
	Node            string    // the owner
	NodeUID         types.UID // empty: no owner is set
}

// apply writes the ConfigMap by server-side apply, so that what other writers
// own in it stays theirs.
// It returns the resource version that the ConfigMap has then.
func (k *Client) Apply(ctx context.Context, cm ConfigMap) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj := corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: cm.Name, Namespace: cm.Namespace, Labels: cm.Labels},
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
		Param("fieldManager", fieldManager).Param("force", "true").SetHeader("Accept", metadataOnly).Body(body).Do(ctx))
}

// metadataOnly asks for an object without all that it carries.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// configMapVersion is the resource version of a ConfigMap; empty if there is none.
func (k *Client) ConfigMapVersion(ctx context.Context, namespace, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	version, err := versionOf(k.client.Get().Namespace(namespace).Resource("configmaps").Name(name).SetHeader("Accept", metadataOnly).Do(ctx))
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return version, err
}

func versionOf(r rest.Result) (string, error) {
	body, err := r.Raw()
	if err != nil {
		return "", r.Error() // Raw's own says less
	}
	var meta metav1.PartialObjectMetadata
	err = json.Unmarshal(body, &meta)
	return meta.ResourceVersion, err
}

// review puts a question to the API server, in the form of an object whose
// status is the answer. These kinds are not in the client's scheme.
func (k *Client) review(ctx context.Context, apiVersion, kind string, spec, status any) error {
	body, err := json.Marshal(map[string]any{"kind": kind, "apiVersion": apiVersion, "spec": spec})
	if err != nil {
		return err
	}
	r := k.client.Post().AbsPath("/apis/"+apiVersion+"/"+strings.ToLower(kind)+"s").
		SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON).Body(body).Do(ctx)
	answer, err := r.Raw()
	if err != nil {
		return r.Error() // Raw's own says less
	}
	return json.Unmarshal(answer, &struct {
		Status any `json:"status"`
	}{status})
}

// person is who a token is for (authentication.k8s.io/v1, UserInfo).
type userInfo struct {
	Name   string              `json:"username"`
	UID    string              `json:"uid"`
	Groups []string            `json:"groups"`
	Extra  map[string][]string `json:"extra"`
}

// whose tells who a token is for; ok is false if it is not good.
func (k *Client) reviewToken(ctx context.Context, token string) (who userInfo, ok bool, err error) {
	var answer struct {
		Authenticated bool     `json:"authenticated"`
		User          userInfo `json:"user"`
	}
	err = k.review(ctx, "authentication.k8s.io/v1", "TokenReview", map[string]any{"token": token}, &answer)
	return answer.User, answer.Authenticated && answer.User.Name != "", err
}

// mayGet tells whether somebody may get a path that is no resource.
func (k *Client) allowedPath(ctx context.Context, who userInfo, path string) (bool, error) {
	var answer struct {
		Allowed bool `json:"allowed"`
		Denied  bool `json:"denied"`
	}
	err := k.review(ctx, "authorization.k8s.io/v1", "SubjectAccessReview", map[string]any{
		"user": who.Name, "uid": who.UID, "groups": who.Groups, "extra": who.Extra,
		"nonResourceAttributes": map[string]string{"path": path, "verb": "get"},
	}, &answer)
	return answer.Allowed && !answer.Denied, err
}

// configMapData reads one key of a ConfigMap.
func (k *Client) ConfigMapData(ctx context.Context, namespace, name, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var cm corev1.ConfigMap
	err := k.client.Get().Namespace(namespace).Resource("configmaps").Name(name).Do(ctx).Into(&cm)
	return cm.Data[key], err
}

// event is one Event on a pod, or on the Node.
type Event struct {
	Name           string // the same for every attempt to write it
	Namespace, Pod string
	Node           bool // on the Node: Pod is empty, and the namespace is default, as for all that is in none
	UID            types.UID
	Container      string
	Warning        bool
	Reason         string
	Message        string // at most 1 KiB
	Time           time.Time
}

// maxEvent is the longest Event message that the API takes in events.k8s.io
// (validation of Event.note), in bytes.
const MaxMessage = 1024

// createEvent writes one Event, signed with the node's name.
func (k *Client) CreateEvent(ctx context.Context, node string, e Event) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	at := metav1.NewTime(e.Time)
	obj := corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Name: e.Name, Namespace: e.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: e.Namespace, Name: e.Pod, UID: e.UID,
		},
		Reason: e.Reason, Message: e.Message, Type: kind,
		Source:         corev1.EventSource{Component: fieldManager, Host: node},
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
		EventTime:           metav1.NewMicroTime(e.Time),
		Action:              "Diagnose",
		ReportingController: "pullprobe.dev/agent",
		ReportingInstance:   reportingInstance(node),
	}
	if e.Node {
		obj.InvolvedObject = corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: e.UID}
		obj.Action = "Sweep"
	}
	return k.client.Post().Namespace(e.Namespace).Resource("events").Body(&obj).Do(ctx).Error()
}

// reportingInstance is the node's name, cut to the 128 characters that
// Event.reportingInstance may have.
func reportingInstance(node string) string {
	return node[:min(len(node), 128)]
}

// accountSecrets are the names of the pull secrets that a ServiceAccount lists.
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

// visitor is the status for whoever has this token.
func (k *Client) Authorize(ctx context.Context, token string) (int, error) {
	who, ok, err := k.reviewToken(ctx, token)
	if err != nil || !ok {
		return http.StatusUnauthorized, err
	}
	if ok, err = k.allowedPath(ctx, who, "/metrics"); err != nil || !ok {
		return http.StatusForbidden, err
	}
	return http.StatusOK, nil
}

// watched has failed called whenever the API server gives neither a list nor a
// watch.
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

// retriable reports whether the same call may succeed later.
func Retriable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true // the API server was not reached
	}
	return apierrors.IsConflict(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || status.Status().Code >= 500
}
