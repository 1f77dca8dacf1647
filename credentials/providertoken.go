package credentials

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	kubeletv1 "k8s.io/kubelet/config/v1"
)

// This file holds what the kubelet gives to a provider that takes a token of the
// pod's ServiceAccount (KEP 4412, beta since Kubernetes 1.34): a new token for the
// provider's audience, bound to the pod, and annotations of the ServiceAccount
// (pkg/credentialprovider/plugin/plugin.go, provide).

// Identity is the pod for which a provider is run, with its ServiceAccount.
type Identity struct {
	Namespace, Account string // Account is empty: the pod has no ServiceAccount, as a static pod
	Tokens             TokenSource
}

// TokenSource reads a pod's ServiceAccount and requests tokens of it.
type TokenSource interface {
	// Account returns the ServiceAccount; nil without an error: it does not exist.
	Account(context.Context) (*AccountMetadata, error)
	// Token requests a token for an audience, of the ServiceAccount with this UID and
	// bound to the pod.
	Token(ctx context.Context, uid, audience string) (string, error)
}

// AccountMetadata is what a provider may depend on of a ServiceAccount.
type AccountMetadata struct {
	UID         string
	Annotations map[string]string
}

// NodeForbiddenError explains why the API server refused a request that the agent made
// as its node.
type NodeForbiddenError struct {
	Node                              string
	Verb, Resource, Namespace, Object string
	Reason                            string
	// NodeRefused: the agent may make the request as the node, and the API server
	// refuses it to the node, so to the kubelet as well.
	NodeRefused bool
}

func (e *NodeForbiddenError) Error() string {
	return fmt.Sprintf("cannot %s %s in namespace %s (%s) as node %s: %s", e.Verb, e.Resource, e.Namespace, e.Object, e.Node, e.Reason)
}

// RequiresAccount reports whether the kubelet skips the provider for a pod without a
// ServiceAccount.
func (p Provider) RequiresAccount() bool {
	return p.NeedsToken() && p.TokenAttributes.RequireServiceAccount != nil && *p.TokenAttributes.RequireServiceAccount
}

// Reasons for which the kubelet does not run a provider for a pod.
const (
	notForNoAccount      = "noServiceAccount"
	notForAbsentAccount  = "serviceAccountAbsent"
	notForLackAnnotation = "annotationMissing"
)

// NotForPod explains why the kubelet does not run a provider for this pod.
type NotForPod struct {
	Kind       string // noServiceAccount, serviceAccountAbsent, annotationMissing
	Annotation string // of annotationMissing
	Reason     string
}

// WithoutAccount returns the result for a pod without a ServiceAccount of a provider
// that requires one.
func WithoutAccount(p Provider) ProviderResult {
	return ProviderResult{Provider: p.Name, NotForPod: &NotForPod{Kind: notForNoAccount, Reason: "the pod has no ServiceAccount"}}
}

// tokenInput is what a provider gets of the pod's ServiceAccount. The zero value is
// nothing.
type tokenInput struct {
	uid         string
	annotations map[string]string
	token       string
}

// readAccount returns the ServiceAccount's UID and the annotations that the provider
// takes. ok is false if the provider is not run; a has the reason then.
func (c ProviderCall) readAccount(ctx context.Context, a *ProviderResult) (in tokenInput, ok bool) {
	name := c.Identity.Namespace + "/" + c.Identity.Account
	account, err := c.Identity.Tokens.Account(ctx)
	switch {
	case err != nil:
		a.skip("pullprobe cannot read ServiceAccount "+name, err)
		return in, false
	case account == nil:
		a.NotForPod = &NotForPod{Kind: notForAbsentAccount, Reason: "ServiceAccount " + name + " does not exist"}
		return in, false
	}
	in.uid, in.annotations = account.UID, map[string]string{}
	for _, key := range c.Provider.TokenAttributes.RequiredServiceAccountAnnotationKeys {
		value, has := account.Annotations[key]
		if !has {
			a.NotForPod = &NotForPod{
				Kind: notForLackAnnotation, Annotation: clean(key),
				Reason: "ServiceAccount " + name + " has no annotation " + clean(key) + ", which the provider requires",
			}
			return in, false
		}
		in.annotations[key] = value
	}
	for _, key := range c.Provider.TokenAttributes.OptionalServiceAccountAnnotationKeys {
		if value, has := account.Annotations[key]; has {
			in.annotations[key] = value
		}
	}
	return in, true
}

// requestToken gets the token for the provider. ok is false if there is none; a has the
// reason then.
func (c ProviderCall) requestToken(ctx context.Context, in *tokenInput, a *ProviderResult) (ok bool) {
	token, err := c.Identity.Tokens.Token(ctx, in.uid, c.Provider.TokenAttributes.ServiceAccountTokenAudience)
	if err != nil {
		a.skip("pullprobe got no token of ServiceAccount "+c.Identity.Namespace+"/"+c.Identity.Account, err)
		return false
	}
	in.token = token
	// Only for the redaction: the text forms of a credential do not show it.
	a.Token = Credential{Source: "ServiceAccount " + c.Identity.Namespace + "/" + c.Identity.Account, IdentityToken: token}
	return true
}

// skip records why the provider was not run here: what failed, and the error.
func (a *ProviderResult) skip(what string, err error) {
	if refused, ok := errors.AsType[*NodeForbiddenError](err); ok { // it names the object itself
		a.Skipped, a.KubeletToo = "pullprobe "+refused.Error(), refused.NodeRefused
		return
	}
	a.Skipped = what + ": " + err.Error()
}

// scope returns the part of a cache key that depends on the ServiceAccount (plugin.go,
// generateServiceAccountCacheKey, for the cache type ServiceAccount).
func (c ProviderCall) scope(in tokenInput) string {
	if in.uid == "" {
		return ""
	}
	parts := []string{c.Identity.Namespace, c.Identity.Account, in.uid}
	for _, key := range slices.Sorted(maps.Keys(in.annotations)) {
		parts = append(parts, strconv.Quote(key), strconv.Quote(in.annotations[key]))
	}
	return strings.Join(parts, "\x00")
}

// cacheable reports whether another examination may use what the provider returned for a
// token. With the cache type Token it is for that token alone, and each is requested once.
func (c ProviderCall) cacheable(in tokenInput) bool {
	return in.token == "" || c.Provider.TokenAttributes.CacheType == kubeletv1.ServiceAccountServiceAccountTokenCacheType
}

// returnsToken returns the error of the kubelet for a provider that returns the token as a
// password, which only the cache type Token permits (plugin.go, provide).
func (c ProviderCall) returnsToken(in tokenInput, r response) *ProviderError {
	if !c.cacheable(in) || in.token == "" {
		return nil
	}
	for _, auth := range r.Auth {
		if auth.Password == in.token {
			return &ProviderError{
				Kind:   "tokenReturned",
				Reason: "it returned the ServiceAccount's token as the password, which its cacheType ServiceAccount does not permit (only Token does)",
			}
		}
	}
	return nil
}
