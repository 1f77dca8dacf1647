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
		why := k.whyNotAsNode(ctx, refused, k.AsNode, Right{Verb: "get", Resource: resource, Namespace: namespace, Name: name})
		forbidden.Node, forbidden.NodeReason = k.AsNode, why.reason
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
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
}

// resource returns the resource as a rule of RBAC names it.
func (r Right) resource() string {
	if r.Subresource == "" {
		return r.Resource
	}
	return r.Resource + "/" + r.Subresource
}

// denial is why a request as the node was refused.
type denial struct {
	reason string
	lacks  bool // the agent lacks a permission
	node   bool // it lacks none: the API server refuses the node
}

// whyNotAsNode returns why a request as a node was refused, for which the node needs that
// right (k8s.io/apiserver, pkg/endpoints/filters/impersonation/mode.go,
// associatedNodeImpersonationMode).
func (k *Client) whyNotAsNode(ctx context.Context, refused error, node string, needs Right) denial {
	// Without the feature the API server requires the right to impersonate that user.
	var answer apierrors.APIStatus
	if errors.As(refused, &answer) && answer.Status().Details != nil && answer.Status().Details.Kind == "users" {
		return denial{reason: "this API server has no constrained impersonation (Kubernetes 1.36, or the feature gate ConstrainedImpersonation)"}
	}
	on := needs
	on.Verb = "impersonate-on:associated-node:" + needs.Verb
	to := Right{Verb: "impersonate:associated-node", Group: "authentication.k8s.io", Resource: "nodes", Name: "*"}
	var lacks []string
	for _, r := range []struct {
		Right
		name string
	}{{to, to.Verb + " on nodes." + to.Group}, {on, on.Verb + " on " + on.resource() + " in this namespace"}} {
		if allowed, err := k.Allowed(ctx, r.Right); err != nil {
			return denial{reason: "which permission it lacks is not known"}
		} else if !allowed {
			lacks = append(lacks, r.name)
		}
	}
	own, err := k.ownNode(ctx)
	switch {
	case len(lacks) > 0:
		return denial{reason: "it lacks " + strings.Join(lacks, " and "), lacks: true}
	case err != nil:
		return denial{reason: "which node its token is bound to is not known"}
	case own != node:
		return denial{reason: "its token is not bound to this node"}
	case needs.Verb == "get":
		return denial{reason: "the API server lets a node read only what its pods refer to", node: true}
	}
	return denial{
		reason: "the API server gives a node only tokens that are bound to one of its pods, for an audience that a volume of the pod " +
			"names or that the node may request",
		node: true,
	}
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

// ownNode returns the node that the client's token is bound to; empty: none.
func (k *Client) ownNode(ctx context.Context) (string, error) {
	var answer struct {
		User userInfo `json:"userInfo"`
	}
	err := k.review(ctx, "authentication.k8s.io/v1", "SelfSubjectReview", nil, &answer)
	if names := answer.User.Extra["authentication.kubernetes.io/node-name"]; len(names) == 1 {
		return names[0], err
	}
	return "", err
}
