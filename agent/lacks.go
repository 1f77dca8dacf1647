package agent

import (
	"context"
	"fmt"
	"time"
)

// First minor versions of Kubernetes with a feature that pullprobe uses, on by default
// (k8s.io/kubernetes, pkg/features/kube_features.go).
const (
	admissionPolicySince = 30 // ValidatingAdmissionPolicy
	impersonationSince   = 36 // ConstrainedImpersonation; a gate that is off in 1.35
)

// lacking returns what Kubernetes 1.MINOR lacks of what these settings use, and what
// follows: one sentence each.
func lacking(minor int, readAsNode, providerTokens bool) []string {
	var all []string
	add := func(first int, feature, follows string) {
		if minor < first {
			all = append(all, fmt.Sprintf("Kubernetes 1.%d has no %s (1.%d is the first): %s", minor, feature, first, follows))
		}
	}
	add(admissionPolicySince, "ValidatingAdmissionPolicy", "an agent's token can write the reports of all nodes")
	impersonation := "constrained impersonation"
	if minor == impersonationSince-1 {
		impersonation += " without the feature gate ConstrainedImpersonation"
	}
	if readAsNode {
		add(impersonationSince, impersonation, "the agent reads no pull secrets without the component secrets")
	}
	if providerTokens {
		add(impersonationSince, impersonation, "credential providers that take a ServiceAccount's token are not run")
	}
	return all
}

// readVersions logs what the cluster's version of Kubernetes lacks, once the API server
// answers, and keeps the version of the node's kubelet, which decides how it uses
// credentials.
func (a *Agent) readVersions(ctx context.Context) {
	logged := false
	for {
		next := time.Hour // the kubelet may be updated
		if kubelet, err := a.kube.KubeletMinor(ctx, a.opts.NodeName); err == nil {
			a.state.kubeletMinor.Store(int32(kubelet))
		} else {
			a.log.Debug("the version of the kubelet is not known", "error", err)
			next = time.Minute
		}
		if minor, err := a.kube.Minor(ctx); err == nil && !logged {
			logged = true
			for _, sentence := range lacking(minor, a.opts.ReadAsNode, a.live.Get().ProviderTokens) {
				a.log.Warn(sentence)
			}
		} else if err != nil {
			a.log.Debug("the version of Kubernetes is not known", "error", err)
			next = time.Minute
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}
