package credentials

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// addNode adds the node's docker config file and credential providers.
func (r *resolver) addNode(n *NodeSources) {
	if n == nil {
		return
	}
	if n.Problem != "" {
		c := newCheck("credentials/node")
		c.Outcome, c.Summary = report.Skipped, "the node's own credentials are unknown: "+n.Problem
		r.overall.Evidence["node"] = "unknown"
		r.addUnknown("the node's docker config file and credential providers")
		r.sources = append(r.sources, c)
		return
	}
	secrets := len(r.matched)
	r.addNodeFile(n.File)
	r.addProviders(n.Providers, n.Results)
	if n.Minor > 0 && n.Minor < separateSince {
		r.matched = append(r.matched[:secrets], n.together(r.repository)...)
	}
}

// addNodeFile adds the node's docker config file.
func (r *resolver) addNodeFile(f NodeFile) {
	c := newCheck("credentials/node")
	c.Evidence["lookedAt"] = strings.Join(f.Searched, " ")
	if f.NotPermitted != "" {
		c.Target, c.Outcome = f.NotPermitted, report.Skipped
		c.Summary = "the node's docker credentials are unknown: pullprobe may not read " + f.NotPermitted + " (the kubelet can)"
		r.overall.Evidence["node"] = "unknown"
		r.addUnknown("the node's docker config file")
		r.sources = append(r.sources, c)
		return
	}
	r.overall.Evidence["node"] = "read"
	if len(f.Invalid) > 0 {
		c.Evidence["passedOver"] = strings.Join(f.Invalid, "; ")
	}
	if f.Path == "" {
		c.Summary = "the kubelet finds no docker config file on the node"
		r.sources = append(r.sources, c)
		return
	}
	c.Target, c.Evidence["file"] = f.Path, f.Path
	c.Summary = "the kubelet reads " + f.Path + ", which has "
	switch matched := r.addCredentials(f.Credentials); matched {
	case 0:
		c.Summary += "no credentials for this image"
	case 1:
		c.Summary += "credentials for this image"
	default:
		c.Summary += strconv.Itoa(matched) + " credentials for this image"
	}
	if !f.Modified.IsZero() {
		c.Evidence["modified"] = f.Modified.UTC().Format(time.RFC3339)
		if age := r.now.Sub(f.Modified); age >= 0 && age < nodeFileTTL {
			c.Evidence["fresh"] = "true"
			c.Summary += fmt.Sprintf("; it was changed %s ago, and the kubelet may use the earlier content for up to %s",
				age.Round(time.Second), roughDuration(nodeFileTTL))
		}
	}
	if f.Note != "" {
		c.Evidence["note"] = f.Note
	}
	r.sources = append(r.sources, c)
}

// addProviders adds the results of the credential providers that match.
func (r *resolver) addProviders(config ProviderConfig, answers []ProviderResult) {
	if config.Path == "" {
		return
	}
	if config.NotPermitted || config.Problem != "" {
		r.addUnknown("the kubelet's credential providers")
		r.sources = append(r.sources, providerConfigCheck(config))
		return
	}
	var all []Credential
	for _, a := range answers {
		c := providerCheck(a, config, r.repository)
		name := clean(a.Provider)
		r.providers = append(r.providers, name)
		if a.Token.IdentityToken != "" {
			r.tokens = append(r.tokens, a.Token)
		}
		switch {
		case a.Failed != nil:
			if len(r.providersFailed) == 0 {
				r.providerFailure = c.Summary
			}
			r.providersFailed = append(r.providersFailed, name)
			r.addUnknown("credential provider " + name + " (the kubelet may still use its last successful response)")
		case a.NotForPod != nil:
			r.notForPod = cmp.Or(r.notForPod, c.Summary)
		case a.Skipped != "":
			if a.KubeletToo {
				r.providerRefused = cmp.Or(r.providerRefused, c.Summary)
			}
			r.providersNotRun = append(r.providersNotRun, name)
			r.addUnknown("credential provider " + name)
		default:
			all = append(all, a.Credentials...)
		}
		r.sources = append(r.sources, c)
	}
	r.addCredentials(all)
}

// providerConfigCheck returns the check of a provider configuration that cannot
// be used.
func providerConfigCheck(config ProviderConfig) report.Check {
	c := report.Check{ID: "credentials/providers", Kind: report.KindCredentials, Target: config.Path}
	if config.NotPermitted {
		c.Outcome = report.Skipped
		c.Summary = "cannot read the kubelet's credential provider configuration (the kubelet can): " + config.Problem
		return c
	}
	c.Outcome = report.Error
	c.Summary = "the kubelet would not start with its current credential provider configuration: " + config.Problem
	return c
}

// providerCheck returns the check of one provider that matches the image.
func providerCheck(a ProviderResult, config ProviderConfig, repository string) report.Check {
	name := clean(a.Provider)
	title := "credential provider " + name
	c := newCheck("credentials/provider/" + name)
	c.Target, c.Evidence["config"] = name, config.Path
	if !config.Changed.IsZero() {
		c.Evidence["configChanged"] = config.Changed.UTC().Format(time.RFC3339)
	}
	switch {
	case a.Failed != nil:
		c.Outcome, c.Cause = report.Fail, report.CredentialProviderFailed
		c.Summary = title + " failed: " + a.Failed.Reason
		c.Evidence["failure"] = a.Failed.Kind
		if a.Failed.Kind == "exit" {
			c.Evidence["exitCode"] = strconv.Itoa(a.Failed.ExitCode)
		}
		if a.Failed.Kind == "timeout" {
			c.Evidence["deadline"] = "true" // pullprobe's, which is shorter than the kubelet's
		}
	case a.NotForPod != nil:
		c.Summary = "the kubelet does not run " + title + " for this pod: " + a.NotForPod.Reason
		c.Evidence["notForPod"] = a.NotForPod.Kind
		if a.NotForPod.Annotation != "" {
			c.Evidence["annotation"] = a.NotForPod.Annotation
		}
	case a.KubeletToo:
		c.Outcome, c.Evidence["kubeletToo"] = report.Skipped, "true"
		c.Summary = title + " was not run, and probably the kubelet cannot run it either: " + a.Skipped
	case a.Skipped != "":
		c.Outcome = report.Skipped
		c.Summary = title + " was not run, but the kubelet runs it for this image: " + a.Skipped
	default:
		matched := len(newKeyring(a.Credentials).Lookup(repository))
		c.Evidence["given"] = strconv.Itoa(matched)
		switch {
		case matched > 0:
			c.Summary = title + " returned credentials for this image"
		case len(a.Credentials) > 0:
			c.Summary = title + " returned no credentials for this image, only for " + a.Credentials[0].server()
		default:
			c.Summary = title + " succeeded, but returned no credentials"
		}
	}
	return c
}

// accountErrorCheck returns the check of a ServiceAccount that could not be
// read.
func accountErrorCheck(a *ServiceAccount) report.Check {
	c := newCheck("credentials/account")
	c.Target = a.Namespace + "/" + a.Name
	c.Outcome = report.Skipped
	c.Summary = "cannot check the pull secrets of ServiceAccount " + c.Target + ": " + a.Err.Error()
	return c
}

// accountCheck returns the check of a ServiceAccount. notAttached are its
// secrets for the registry that the pod does not list, unread those that could
// not be read.
func accountCheck(a *ServiceAccount, notAttached, unread []string) report.Check {
	c := newCheck("credentials/account")
	c.Target = a.Namespace + "/" + a.Name
	title := "ServiceAccount " + c.Target
	switch {
	case len(notAttached) > 0:
		why := "it was added after the pod was created"
		c.Evidence["why"] = "later"
		if a.PodListsOwn {
			why, c.Evidence["why"] = "the pod lists its own pull secrets", "podListsOwn"
		}
		c.Evidence["secret"] = strings.Join(notAttached, ",")
		c.Outcome, c.Cause = report.Fail, report.PullSecretNotAttached
		c.Summary = fmt.Sprintf("%s has pull secret %s for this registry, but this pod does not: %s", title, notAttached[0], why)
	case len(unread) > 0:
		c.Outcome = report.Skipped
		c.Summary = "cannot read additional pull secrets of " + title + ": " + strings.Join(unread, ", ")
	default:
		c.Summary = title + " has no additional pull secret for this registry"
	}
	return c
}
