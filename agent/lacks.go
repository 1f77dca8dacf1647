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
		add(impersonationSince, impersonation, "the agent reads pull secrets with its own rights, not as its node")
	}
	if providerTokens {
		add(impersonationSince, impersonation, "credential providers that take a ServiceAccount's token are not run")
	}
	return all
}

// logLacking logs what the cluster's version of Kubernetes lacks, once the API server
// answers.
func (a *Agent) logLacking(ctx context.Context) {
	minor, err := a.kube.Minor(ctx)
	for ; err != nil; minor, err = a.kube.Minor(ctx) {
		a.log.Debug("the version of Kubernetes is not known", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
	for _, sentence := range lacking(minor, a.opts.ReadAsNode, a.live.Get().ProviderTokens) {
		a.log.Warn(sentence)
	}
}
