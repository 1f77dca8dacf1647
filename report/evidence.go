package report

import (
	"slices"
	"strings"
)

// evidence is the list of checks, with what rules often need of it.
type evidence struct {
	checks  []Check
	byID    map[string]*Check
	message message // the one that counts: the test pull's if there is one, else the kubelet's
	kubelet message // the kubelet's, from the pod's status
}

// EvidenceOf returns the view on a list of checks.
func EvidenceOf(checks []Check) *evidence {
	e := &evidence{checks: checks, byID: make(map[string]*Check, len(checks))}
	for i := range checks {
		e.byID[checks[i].ID] = &checks[i]
	}
	e.kubelet = messageOf(e.byID[IDPod])
	// The test pull is newer than the pod's status. But an anonymous one proves
	// nothing against a kubelet that may have credentials that are not known here.
	e.message = messageOf(e.byID[IDPull])
	if !e.message.exists() || e.anonymousPull() && e.unreadSources() != "" && e.message.cause.AboutLogin() &&
		e.kubelet.informative() && !e.kubelet.mayMean(e.message.cause) {
		e.message = e.kubelet
	}
	return e
}

// get returns the check with this id; a missing one is the zero Check.
func (e *evidence) get(id string) Check {
	if c := e.byID[id]; c != nil {
		return *c
	}
	return Check{}
}

// exists reports whether there is a check with this id, whatever its outcome.
func (e *evidence) exists(id string) bool { return e.byID[id] != nil }

func (e *evidence) failed(id string) bool { return e.get(id).Outcome == Fail }

// fact returns one piece of a check's evidence; empty if there is no such check.
func (e *evidence) fact(id, key string) string { return e.get(id).Evidence[key] }

func (e *evidence) is(id, key string) bool { return e.get(id).Is(key) }

// localImages returns the check of what the node has of the image's registry.
func (e *evidence) localImages() Check { return e.get(LocalID(e.fact(IDReference, KeyDomain))) }

// present reports whether the image is on the node.
func (e *evidence) present() bool { return e.localImages().Is(KeyPresent) }

// creating reports whether the kubelet is creating the container and has
// reported no failure.
func (e *evidence) creating() bool { return e.is(IDPod, KeyCreating) }

// noSandbox reports whether the pod has no sandbox yet.
func (e *evidence) noSandbox() bool { return e.fact(IDPod, KeySandbox) == "absent" }

// alwaysPulls reports whether the kubelet pulls even if the image is present.
func (e *evidence) alwaysPulls() bool { return e.fact(IDPod, KeyPolicy) == "Always" }

// anonymousPull reports whether the test pull was made without credentials,
// pullprobe's or the runtime's own.
func (e *evidence) anonymousPull() bool {
	return e.fact(IDPull, KeyAuth) == "anonymous" && e.fact(IDCredentials, KeyRuntime) == ""
}

// unreadSources names credential sources of the kubelet that could not be read;
// empty if all were.
func (e *evidence) unreadSources() string {
	c := e.get(IDCredentials)
	switch {
	case c.Evidence[KeyUnknown] != "":
		return c.Evidence[KeyUnknown]
	case c.Evidence[KeyNode] != "read":
		return "the node's own credentials (kubelet credential providers, docker config files)"
	}
	return ""
}

// hosts lists the registry hosts in the order in which the runtime tries them,
// which is that of the checks.
func (e *evidence) hosts() []string {
	var out []string
	for _, c := range e.checks {
		if c.Kind == KindManifest && !slices.Contains(out, c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// origin follows BlockedBy from a check that could not run to the one that
// failed. A chain that ends elsewhere, or in a circle, gives the check where it
// ends.
func (e *evidence) origin(id string) Check {
	for range e.checks {
		c := e.get(id)
		if c.Outcome == Fail || c.BlockedBy == "" {
			return c
		}
		id = c.BlockedBy
	}
	return Check{}
}

// below returns the checks whose ids continue this one.
func (e *evidence) below(id string) []Check { return Below(e.checks, id) }

// messageID returns the id of the check that has the message; empty if none has.
func (e *evidence) messageID() string {
	if !e.message.exists() {
		return ""
	}
	return e.message.check.ID
}

// existing returns those ids that belong to a check.
func (e *evidence) existing(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return e.byID[id] == nil })
}

// unchecked names the first checks that were not made and may change the verdict,
// for WouldDecide. The node's logins and the runtime's settings do not: a rule asks
// for them where they do.
func unchecked(e *evidence) []string {
	const most = 4
	var out []string
	for _, c := range e.checks {
		aside := c.Outcome == Skipped && c.NeedsRuntimeView() && !(c.ID == IDCredentialsNode && e.message.cause.AboutLogin())
		if (c.Outcome == Skipped && c.BlockedBy == "" && !aside) || c.Outcome == Error || c.Outcome == Unknown {
			out = append(out, c.ByHand())
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// otherCauses lists the causes beside the verdict's, in the order of the checks.
// It leaves out those at addresses that the runtime does not use, and those that
// are another name for the verdict's.
func otherCauses(e *evidence, v Verdict) []Cause {
	var out []Cause
	for _, c := range e.checks {
		switch {
		case c.Outcome != Fail, c.Cause == "", c.Cause == Undetermined, c.Cause == v.Cause, slices.Contains(out, c.Cause):
		case c.Elsewhere(), strings.HasPrefix(c.ID, familyClock+"/") && v.Fault == FaultNone:
		case slices.Contains(alsoReportedAs[v.Cause], c.Cause):
		case c.ID == e.messageID() && e.message.mayMean(v.Cause):
		default:
			out = append(out, c.Cause)
		}
	}
	return out
}

// usedHost returns the host whose manifest the runtime would use; empty if none
// has it.
func (e *evidence) usedHost() string {
	for _, h := range e.hosts() {
		if e.get(ManifestID(h)).Outcome == Pass {
			return h
		}
	}
	return ""
}

// isolated reports whether the control set shows that this node reaches nothing
// at all.
func (e *evidence) isolated() bool { return e.failed(IDControl) }

// domain returns the host that the image names.
func (e *evidence) domain() string { return e.fact(IDReference, KeyDomain) }

// pullTimedOut reports whether the test pull was stopped by its own deadline.
func (e *evidence) pullTimedOut() bool { return e.is(IDPull, KeyTimedOut) }
