package agent

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
)

// secretReader reads the pull secrets of pods from the API server.
type secretReader struct{ api *kube.Client }

// pullSecrets reads the pod's pull secrets.
func (r secretReader) pullSecrets(ctx context.Context, p pods.Pod) []credentials.SecretLookup {
	var out []credentials.SecretLookup
	for _, name := range p.PullSecrets {
		out = append(out, r.api.Secret(ctx, p.Namespace, name))
	}
	return out
}

// maxUnattached limits how many secrets of a ServiceAccount are read that the pod does not
// name.
const maxUnattached = 4

// account returns the pod's ServiceAccount with the secrets that it lists and the pod does
// not name; nil if there is none (static pods).
func (r secretReader) account(ctx context.Context, p pods.Pod) *credentials.ServiceAccount {
	if p.ServiceAccount == "" {
		return nil
	}
	out := &credentials.ServiceAccount{Namespace: p.Namespace, Name: p.ServiceAccount}
	listed, err := r.api.ServiceAccountSecrets(ctx, p.Namespace, p.ServiceAccount)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		out.Err = err
		return out
	}
	// If the ServiceAccount lists all of the pod's secrets, they come from it.
	out.PodListsOwn = slices.ContainsFunc(p.PullSecrets, func(name string) bool { return !slices.Contains(listed, name) })
	for _, name := range listed {
		if name != "" && !slices.Contains(p.PullSecrets, name) && len(out.NotAttached) < maxUnattached {
			out.NotAttached = append(out.NotAttached, r.api.Secret(ctx, p.Namespace, name))
		}
	}
	return out
}

// accountReader reads ServiceAccounts of pods, and requests their tokens, as the node.
type accountReader struct {
	api  *kube.Client
	node string
}

// identity returns the pod as a credential provider gets it.
func (r accountReader) identity(p pods.Pod) *credentials.Identity {
	return &credentials.Identity{Namespace: p.Namespace, Account: p.ServiceAccount, Tokens: kube.PodAccount{
		Client: r.api, Node: r.node, Namespace: p.Namespace, Name: p.ServiceAccount, Pod: p.Name, PodUID: string(p.UID),
	}}
}
