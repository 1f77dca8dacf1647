package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/credentials"
)

// tokenSeconds is how long a requested token is valid: the shortest time that the API
// server permits (pkg/apis/authentication/validation). The kubelet requests an hour.
const tokenSeconds = 600

// accountTimeout bounds each of the two requests about a pod's ServiceAccount: the
// provider needs the rest of the time.
const accountTimeout = 500 * time.Millisecond

// PodAccount is the ServiceAccount NAMESPACE/NAME of a pod. It is read, and its tokens are requested, as
// the node that the pod runs on (constrained impersonation, KEP 5284, on since Kubernetes
// 1.36), and never with a right of the agent's own: the API server refuses what it refuses
// to the kubelet. As for the kubelet, its Node authorizer permits ServiceAccounts of pods of
// this node only, and its admission plugin NodeRestriction tokens that are bound to such a
// pod, for an audience that a volume of the pod or the verb
// request-serviceaccounts-token-audience permits
// (plugin/pkg/admission/noderestriction/admission.go, admitServiceAccount).
type PodAccount struct {
	Client          *Client
	Node            string
	Namespace, Name string
	Pod, PodUID     string // the pod that a token is bound to
}

// Account returns the ServiceAccount's UID and annotations; nil if it does not exist.
func (a PodAccount) Account(ctx context.Context) (*credentials.AccountMetadata, error) {
	var account corev1.ServiceAccount
	get := a.Client.client.Get().Namespace(a.Namespace).Resource("serviceaccounts").Name(a.Name)
	err := a.send(ctx, get, Right{Verb: "get", Resource: "serviceaccounts"}, func(r rest.Result) error { return r.Into(&account) })
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &credentials.AccountMetadata{UID: string(account.UID), Annotations: account.Annotations}, nil
}

// Token requests a token for an audience, of the ServiceAccount with this UID and bound to
// the pod, as the kubelet does (pkg/credentialprovider/plugin/plugin.go,
// getServiceAccountToken). No error of it contains what the API server answered.
func (a PodAccount) Token(ctx context.Context, uid, audience string) (string, error) {
	body, err := json.Marshal(map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"metadata": map[string]any{"uid": uid},
		"spec": map[string]any{
			"audiences":         []string{audience},
			"expirationSeconds": tokenSeconds,
			"boundObjectRef":    map[string]any{"kind": "Pod", "apiVersion": "v1", "name": a.Pod, "uid": a.PodUID},
		},
	})
	if err != nil {
		return "", err
	}
	var answer struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	post := a.Client.client.Post().Namespace(a.Namespace).Resource("serviceaccounts").Name(a.Name).SubResource("token").
		SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON).Body(body)
	err = a.send(ctx, post, Right{Verb: "create", Resource: "serviceaccounts", Subresource: "token"}, func(r rest.Result) error {
		text, err := r.Raw()
		if err != nil {
			return r.Error() // more precise than Raw's error
		}
		return json.Unmarshal(text, &answer)
	})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // its UID or that of the pod
		return "", errors.New("the pod or its ServiceAccount was deleted or replaced in the meantime")
	case err == nil && answer.Status.Token == "":
		return "", errors.New("the API server's answer has no token")
	}
	return answer.Status.Token, err
}

// send makes a request as the node. Its error leaves out the API server's message; that an
// object does not exist, or is another one, stays as it is.
func (a PodAccount) send(ctx context.Context, r *rest.Request, right Right, read func(rest.Result) error) error {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	// The user only: the API server sets the groups, and refuses a request that does.
	err := read(r.SetHeader(transport.ImpersonateUserHeader, "system:node:"+a.Node).Do(ctx))
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return err
	case !apierrors.IsForbidden(err):
		return fmt.Errorf("the API server did not answer: %s", apierrors.ReasonForError(err))
	}
	right.Namespace, right.Name = a.Namespace, a.Name
	why := a.Client.whyNotAsNode(ctx, err, a.Node, right)
	if why.lacks {
		why.reason = "apply manifests/components/credential-provider-tokens: " + why.reason
	}
	return &credentials.NodeForbiddenError{
		Node: a.Node, Verb: right.Verb, Resource: right.resource(), Namespace: a.Namespace, Object: a.Name,
		Reason: why.reason, NodeRefused: why.node,
	}
}
