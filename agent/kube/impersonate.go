package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/transport"

	"github.com/pullprobe/pullprobe/credentials"
)

// read gets one object that contains or lists credentials. With AsNode it asks as
// the node (constrained impersonation, KEP 5284, on since Kubernetes 1.36): the API
// server's Node authorizer then shows only what pods of the node refer to. If that
// is refused, and without AsNode, it asks as the agent's ServiceAccount.
func (k *Client) read(ctx context.Context, resource, namespace, name string, into runtime.Object) error {
	get := k.client.Get().Namespace(namespace).Resource(resource).Name(name)
	if k.AsNode == "" {
		return readError(get.Do(ctx).Into(into), resource, namespace, name)
	}
	// The user only: the API server sets the groups, and refuses a request that does.
	refused := k.client.Get().Namespace(namespace).Resource(resource).Name(name).
		SetHeader(transport.ImpersonateUserHeader, "system:node:"+k.AsNode).Do(ctx).Into(into)
	if !apierrors.IsForbidden(refused) {
		return readError(refused, resource, namespace, name)
	}
	err := readError(get.Do(ctx).Into(into), resource, namespace, name)
	if forbidden, ok := errors.AsType[*credentials.ForbiddenError](err); ok {
		forbidden.Node, forbidden.NodeReason = k.AsNode, k.whyNotAsNode(ctx, refused, resource, namespace, name)
	}
	return err
}

// readError describes why an object could not be read: which permission is missing,
// or that the API server did not answer. It leaves out the API server's message. An
// error that the object does not exist stays as it is.
func readError(err error, resource, namespace, name string) error {
	switch {
	case err == nil || apierrors.IsNotFound(err):
		return err
	case apierrors.IsForbidden(err):
		return &credentials.ForbiddenError{Verb: "get", Resource: resource, Namespace: namespace, Name: name}
	}
	return fmt.Errorf("the API server did not answer: %s", apierrors.ReasonForError(err))
}

// Right is an action that RBAC may grant (authorization.k8s.io/v1,
// ResourceAttributes).
type Right struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// whyNotAsNode returns why reading as the node was refused (k8s.io/apiserver,
// pkg/endpoints/filters/impersonation/mode.go, associatedNodeImpersonationMode).
func (k *Client) whyNotAsNode(ctx context.Context, refused error, resource, namespace, name string) string {
	// Without the feature the API server requires the right to impersonate that user.
	var answer apierrors.APIStatus
	if errors.As(refused, &answer) && answer.Status().Details != nil && answer.Status().Details.Kind == "users" {
		return "this API server has no constrained impersonation (Kubernetes 1.36, or the feature gate ConstrainedImpersonation)"
	}
	on := Right{Verb: "impersonate-on:associated-node:get", Resource: resource, Namespace: namespace, Name: name}
	to := Right{Verb: "impersonate:associated-node", Group: "authentication.k8s.io", Resource: "nodes", Name: "*"}
	var lacks []string
	for _, r := range []struct {
		Right
		name string
	}{{to, to.Verb + " on nodes." + to.Group}, {on, on.Verb + " on " + resource + " in this namespace"}} {
		if allowed, err := k.Allowed(ctx, r.Right); err != nil {
			return "which permission it lacks is not known"
		} else if !allowed {
			lacks = append(lacks, r.name)
		}
	}
	if len(lacks) > 0 {
		return "it lacks " + strings.Join(lacks, " and ")
	}
	return "the API server lets a node read only what its pods refer to"
}

// Allowed reports whether the agent's ServiceAccount has a right. Every user may ask
// that about itself.
func (k *Client) Allowed(ctx context.Context, r Right) (bool, error) {
	var answer struct {
		Allowed bool `json:"allowed"`
	}
	err := k.review(ctx, "authorization.k8s.io/v1", "SelfSubjectAccessReview", map[string]any{"resourceAttributes": r}, &answer)
	return answer.Allowed, err
}
