package credentials

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// fillEvidence writes the evidence of the check "credentials".
func (r *resolver) fillEvidence() {
	e := r.overall.Evidence
	for key, values := range map[string][]string{
		"absent":         r.absent,
		"unreadable":     r.unreadable,
		"malformed":      r.malformed,
		"ignored":        r.ignored,
		"servers":        r.servers,
		"matched":        describeAll(r.matched),
		"runtime":        describeAll(r.ownCredentials()),
		"provider":       r.providers,
		"providerFailed": r.providersFailed,
		"providerNotRun": r.providersNotRun,
		"notAttached":    r.notAttached,
		"unknown":        r.unknown,
	} {
		if len(values) > 0 {
			e[key] = strings.Join(values, "; ")
		}
	}
	if len(r.malformed) > 0 {
		e["fatal"] = "true"
	}
	if len(r.matched) > 0 {
		e["source"] = r.matched[0].Source
	} else if p := r.idleProvider(); p != "" {
		key := "possibleProvider" // the node may have it
		if e["node"] == "read" {
			key = "expectedProvider"
		}
		e[key] = p
	}
}

// idleProvider returns the provider that a cloud offers for its registry, if the node
// has none that matches, or if those that match succeeded and returned no credentials:
// GKE's does so if it cannot reach the metadata server (kubernetes/cloud-provider-gcp,
// cmd/auth-provider-gcp/provider, GetResponse). A provider that failed, or that was not
// run, has evidence of its own.
func (r *resolver) idleProvider() string {
	p := expectedProvider(r.repository)
	if p == "" || len(r.providersFailed)+len(r.providersNotRun) > 0 || r.notForPod != "" {
		return ""
	}
	if len(r.providers) > 0 {
		return r.providers[0]
	}
	return p
}

// decide sets outcome, cause and summary of the check "credentials", and the
// secret that it is about.
func (r *resolver) decide(secrets []SecretLookup) {
	c := &r.overall
	fail := func(cause report.Cause, summary string) {
		c.Outcome, c.Cause, c.Summary = report.Fail, cause, summary
	}
	switch {
	case len(r.malformed) > 0:
		fail(report.PullSecretMalformed, r.malformedSummary)
	case len(r.unreadable) > 0:
		c.Outcome, c.Summary = report.Skipped, "cannot read "+strings.Join(r.unreadable, ", ")
	case len(r.matched) > 0:
		c.Outcome, c.Summary = report.Pass, "the kubelet would use "+strings.Join(describeAll(r.matched), ", then ")
		if !slices.ContainsFunc(r.matched, Credential.anonymous) {
			c.Summary += ", and does not pull anonymously"
		}
	case len(r.providersFailed) > 0:
		fail(report.CredentialProviderFailed, r.providerFailure)
	case len(r.providersNotRun) > 0:
		c.Outcome = report.Skipped
		c.Summary = cmp.Or(r.providerRefused, "credential provider "+r.providersNotRun[0]+" was not run; the kubelet runs it for this image")
	case len(r.absent) > 0:
		verb := " does"
		if len(r.missing) > 1 {
			verb = " do"
		}
		fail(report.PullSecretMissing, strings.Join(r.missing, ", ")+verb+" not exist")
	case len(r.notAttached) > 0:
		fail(report.PullSecretNotAttached, r.notAttachedSummary)
		r.secret = r.notAttached[0]
	case len(r.ignored) > 0:
		fail(report.PullSecretMalformed, r.ignoredSummary)
	case len(secrets) > 0:
		fail(report.PullSecretOtherRegistry, r.otherRegistrySummary(secrets[0]))
		r.secret = secrets[0].Name
	default:
		c.Outcome, c.Summary = report.Pass, "the pod has no pull secrets"
		if c.Evidence["node"] == "read" {
			c.Summary += ", and the node has no credentials for this image"
		}
		if r.notForPod != "" {
			c.Summary += "; " + r.notForPod
		}
	}
	if own := r.ownCredentials(); len(own) > 0 && c.Outcome == report.Pass {
		c.Summary += "; containerd has its own credentials for " + clean(own[0].Host)
	}
	if r.secret != "" {
		c.Evidence["secret"] = r.secret
	}
}

// otherRegistrySummary names the servers that the pod's secrets are for.
func (r *resolver) otherRegistrySummary(first SecretLookup) string {
	summary := "none of the pod's pull secrets is for " + clean(r.registry())
	if first.Namespace == "" {
		summary = describeSource("", first.Name) + " has no credentials for " + clean(r.registry())
	}
	if len(r.servers) > 0 {
		summary += ", only for " + strings.Join(r.servers, ", ")
	}
	return summary
}

// describeAll returns the text form of each credential.
func describeAll(list []Credential) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.String())
	}
	return out
}
