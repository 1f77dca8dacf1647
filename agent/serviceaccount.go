package agent

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
)

// maxUnattached bounds how many secrets of a ServiceAccount are read that the
// pod does not carry.
const maxUnattached = 4

// account is the pod's ServiceAccount with the secrets that it lists and the
// pod does not carry; nil if it has none (static pods) or it is gone.
func (a *Agent) account(ctx context.Context, p pods.Pod) *credentials.Account {
	if p.ServiceAccount == "" {
		return nil
	}
	out := &credentials.Account{Namespace: p.Namespace, Name: p.ServiceAccount}
	listed, err := a.kube.ServiceAccountSecrets(ctx, p.Namespace, p.ServiceAccount)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		out.Err = err
		return out
	}
	// If the pod's secrets are all the ServiceAccount's, they came from there.
	out.PodListsOwn = slices.ContainsFunc(p.PullSecrets, func(name string) bool { return !slices.Contains(listed, name) })
	for _, name := range listed {
		if name != "" && !slices.Contains(p.PullSecrets, name) && len(out.Unattached) < maxUnattached {
			out.Unattached = append(out.Unattached, a.kube.Secret(ctx, p.Namespace, name))
		}
	}
	return out
}
