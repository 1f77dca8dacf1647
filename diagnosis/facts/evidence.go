// Package facts is what checks show about one image: a read-only view on a list of
// checks, for the rules that draw a verdict and for the advice on it. It draws
// no verdict itself.
package facts

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Evidence is the list of checks of one image, with what rules often need of it.
type Evidence struct {
	Checks  []report.Check
	byID    map[string]*report.Check
	Message Message // the one that counts: the test pull's if there is one, else the kubelet's
	Kubelet Message // the kubelet's, from the pod's status
}

// Of returns the evidence that a list of checks is.
func Of(checks []report.Check) *Evidence {
	e := &Evidence{Checks: checks, byID: make(map[string]*report.Check, len(checks))}
	for i := range checks {
		e.byID[checks[i].ID] = &checks[i]
	}
	e.Kubelet = messageOf(e.byID[report.IDPod])
	// The test pull is newer than the pod's status. But an anonymous one proves
	// nothing against a kubelet that may have credentials that are not known here.
	e.Message = messageOf(e.byID[report.IDPull])
	if !e.Message.Exists() || e.AnonymousPull() && e.UnreadSources() != "" && e.Message.Cause.AboutLogin() &&
		e.Kubelet.Informative() && !e.Kubelet.MayMean(e.Message.Cause) {
		e.Message = e.Kubelet
	}
	return e
}

// Get returns the check with this id; a missing one is the zero Check.
func (e *Evidence) Get(id string) report.Check {
	if c := e.byID[id]; c != nil {
		return *c
	}
	return report.Check{}
}

// Exists reports whether there is a check with this id, whatever its outcome.
func (e *Evidence) Exists(id string) bool { return e.byID[id] != nil }

// Failed reports whether the check with this id failed.
func (e *Evidence) Failed(id string) bool { return e.Get(id).Outcome == report.Fail }

// Fact returns one piece of a check's evidence; empty if there is no such check.
func (e *Evidence) Fact(id, key string) string { return e.Get(id).Evidence[key] }

// Is reports whether a check has this fact as true.
func (e *Evidence) Is(id, key string) bool { return e.Get(id).Is(key) }

// Domain returns the host that the image names.
func (e *Evidence) Domain() string { return e.Fact(report.IDReference, report.KeyDomain) }

// LocalImages returns the check of what the node has of the image's registry.
func (e *Evidence) LocalImages() report.Check {
	return e.Get(report.LocalID(e.Domain()))
}

// Present reports whether the image is on the node.
func (e *Evidence) Present() bool { return e.LocalImages().Is(report.KeyPresent) }

// Creating reports whether the kubelet is creating the container and has
// reported no failure.
func (e *Evidence) Creating() bool { return e.Is(report.IDPod, report.KeyCreating) }

// Unpulled reports whether nothing pulls the image, so that no error of the runtime will come: it
// is checked before a rollout.
func (e *Evidence) Unpulled() bool {
	return e.Get(report.IDPull).Evidence[report.KeySkipped] == "notFailing" && !e.Message.Exists() && !e.Creating()
}

// NoSandbox reports whether the pod has no sandbox yet.
func (e *Evidence) NoSandbox() bool { return e.Fact(report.IDPod, report.KeySandbox) == "absent" }

// AlwaysPulls reports whether the kubelet pulls even if the image is present.
func (e *Evidence) AlwaysPulls() bool { return e.Fact(report.IDPod, report.KeyPolicy) == "Always" }

// KubeletMayRefusePresent reports whether the kubelet may refuse an image that is on the
// node to a pod that has no credentials for it (KubeletEnsureSecretPulledImages, on since
// Kubernetes 1.35).
func (e *Evidence) KubeletMayRefusePresent() bool {
	return e.Fact(report.IDPod, report.KeyKubelet) == ""
}

// LoginsUnread reports whether the pod names pull secrets that could not be read, so that
// it is not known whether it has a login.
func (e *Evidence) LoginsUnread() bool {
	return e.Fact(report.IDCredentials, report.KeyUnreadable) != "" && e.Fact(report.IDPod, report.KeyPullSecrets) != ""
}

// RunsWithUnknown reports whether the runtime's configuration was changed after its start,
// and the runtime does not tell what it started with (containerd 2.0 to 2.3).
func (e *Evidence) RunsWithUnknown() bool {
	config := e.Get(report.IDRuntimeConfig)
	_, known := config.Evidence[report.KeyRuns]
	return config.Is(report.KeyNewer) && !known && config.Evidence[report.KeyDiffers] == ""
}

// AnonymousPull reports whether the test pull was made without credentials,
// pullprobe's or the runtime's own.
func (e *Evidence) AnonymousPull() bool {
	return e.Fact(report.IDPull, report.KeyAuth) == "anonymous" && e.Fact(report.IDCredentials, report.KeyRuntime) == ""
}

// PullTimedOut reports whether the test pull was stopped by its own deadline.
func (e *Evidence) PullTimedOut() bool { return e.Is(report.IDPull, report.KeyTimedOut) }

// Isolated reports whether the control set shows that this node reaches nothing
// at all.
func (e *Evidence) Isolated() bool { return e.Failed(report.IDControl) }

// UnreadSources names credential sources of the kubelet that could not be read;
// empty if all were.
func (e *Evidence) UnreadSources() string {
	c := e.Get(report.IDCredentials)
	switch {
	case c.Evidence[report.KeyUnknown] != "":
		return c.Evidence[report.KeyUnknown]
	case c.Evidence[report.KeyNode] != "read":
		return "the node's own credentials (kubelet credential providers, docker config files)"
	}
	return ""
}

// Hosts lists the registry hosts in the order in which the runtime tries them,
// which is that of the checks.
func (e *Evidence) Hosts() []string {
	var out []string
	for _, c := range e.Checks {
		if c.Kind == report.KindManifest && !slices.Contains(out, c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// UsedHost returns the host whose manifest the runtime would use; empty if none
// has it.
func (e *Evidence) UsedHost() string {
	for _, h := range e.Hosts() {
		if e.Get(report.ManifestID(h)).Outcome == report.Pass {
			return h
		}
	}
	return ""
}

// Origin follows BlockedBy from a check that could not run to the one that
// failed. A chain that ends elsewhere, or in a circle, gives the check where it
// ends.
func (e *Evidence) Origin(id string) report.Check {
	for range e.Checks {
		c := e.Get(id)
		if c.Outcome == report.Fail || c.BlockedBy == "" {
			return c
		}
		id = c.BlockedBy
	}
	return report.Check{}
}

// Below returns the checks whose ids continue this one.
func (e *Evidence) Below(id string) []report.Check { return report.Below(e.Checks, id) }

// MessageID returns the id of the check that has the message; empty if none has.
func (e *Evidence) MessageID() string {
	if !e.Message.Exists() {
		return ""
	}
	return e.Message.Check.ID
}

// Existing returns those ids that belong to a check.
func (e *Evidence) Existing(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return e.byID[id] == nil })
}

// Unchecked names the first checks that were not made and may change the verdict,
// for WouldDecide. The node's logins and the runtime's settings do not: a rule asks
// for them where they do.
func Unchecked(e *Evidence) []string {
	const most = 4
	var out []string
	for _, c := range e.Checks {
		aside := c.Outcome == report.Skipped && c.NeedsRuntimeView() && !(c.ID == report.IDCredentialsNode && e.Message.Cause.AboutLogin())
		if (c.Outcome == report.Skipped && c.BlockedBy == "" && !aside) || c.Outcome == report.Error || c.Outcome == report.Unknown {
			out = append(out, c.ByHand())
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// OtherCauses lists the causes beside the verdict's, in the order of the checks.
// It leaves out those at addresses that the runtime does not use, and those that
// are another name for the verdict's.
func OtherCauses(e *Evidence, v report.Verdict) []report.Cause {
	var out []report.Cause
	for _, c := range e.Checks {
		switch {
		case c.Outcome != report.Fail, c.Cause == "", c.Cause == report.Undetermined, c.Cause == v.Cause, slices.Contains(out, c.Cause):
		case c.Elsewhere(), strings.HasPrefix(c.ID, report.FamilyClock+"/") && v.Fault == report.FaultNone:
		case slices.Contains(alsoReportedAs[v.Cause], c.Cause):
		case c.ID == e.MessageID() && e.Message.MayMean(v.Cause):
		default:
			out = append(out, c.Cause)
		}
	}
	return out
}
