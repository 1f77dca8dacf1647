package report

import (
	"slices"
	"strings"
)

// evidence is the list of checks with what is asked of it again and again.
type evidence struct {
	checks []Check
	byID   map[string]*Check
	words  words // the ones that count
	said   words // the kubelet's
}

// words are what the runtime or the kubelet said.
type words struct {
	check  *Check  // nil: they said nothing
	cause  Cause   // their best single reading
	could  []Cause // everything these words are known to have meant
	proven bool    // the text alone proves the cause
}

func newEvidence(checks []Check) *evidence {
	d := &evidence{checks: checks, byID: make(map[string]*Check, len(checks))}
	for i := range checks {
		d.byID[checks[i].ID] = &checks[i]
	}
	d.said = wordsOf(d.byID["pod"])
	// The test pull is fresher than the pod's status and was made under our eyes.
	// But as nobody in particular it says nothing against a kubelet that may have
	// had credentials that are not known here.
	d.words = wordsOf(d.byID["pull"])
	if d.words.check == nil || d.anonymousPull() && d.mayKnowMore() != "" && inCredentials(d.words.cause) && d.said.tells() && !d.said.means(d.words.cause) {
		d.words = d.said
	}
	return d
}

// wordsOf are the words that a failed check carries.
func wordsOf(c *Check) words {
	if c == nil || c.Outcome != Fail {
		return words{}
	}
	w := words{check: c, cause: c.Cause, could: splitCauses(c.Evidence["could"]), proven: c.Evidence["proven"] == "true"}
	if w.cause == "" {
		w.cause = Undetermined
	}
	return w
}

func splitCauses(s string) []Cause {
	var out []Cause
	for f := range strings.SplitSeq(s, ",") {
		if c := Cause(strings.TrimSpace(f)); c != "" && c != Undetermined {
			out = append(out, c)
		}
	}
	return out
}

// tells reports whether the words say anything of the way to the image.
func (w words) tells() bool {
	return w.check != nil && w.cause != Undetermined && w.cause != PullTimedOut && w.cause != PullQueueLimited
}

// means reports whether the words can mean this cause.
func (w words) means(c Cause) bool {
	return w.check != nil && (w.cause == c || slices.Contains(w.could, c) || slices.Contains(saidAs[c], w.cause))
}

// fresh reports whether the words were said under our eyes, by the test pull,
// and not by the kubelet some time ago.
func (w words) fresh() bool { return w.check != nil && w.check.Kind == KindPull }

// stage is how far the runtime had come when it said this. A broken connection
// while it fetched a layer is no word about the way to the manifest.
func (w words) stage() int {
	if step := w.check.Evidence["step"]; step == "blob" || step == "unpack" || step == "empty" {
		return max(stage(w.cause), stageBlob)
	}
	return stage(w.cause)
}

// get is the check with this id; a check that is not there is unknown.
func (d *evidence) get(id string) Check {
	if c := d.byID[id]; c != nil {
		return *c
	}
	return Check{}
}

func (d *evidence) failed(id string) bool { return d.get(id).Outcome == Fail }

// fact is a piece of a check's evidence; empty if there is no such check.
func (d *evidence) fact(id, key string) string { return d.get(id).Evidence[key] }

// local says what of this registry is on the node already.
func (d *evidence) local() Check { return d.get("local/" + d.fact("reference", "domain")) }

// creating reports whether the kubelet is at work on the pod and has reported
// no failure.
func (d *evidence) creating() bool { return d.fact("pod", "creating") == "true" }

// alwaysPulls reports whether what is on the node already does not matter.
func (d *evidence) alwaysPulls() bool { return d.fact("pod", "policy") == "Always" }

// anonymousPull reports whether the test pull was made without credentials,
// ours or the runtime's own.
func (d *evidence) anonymousPull() bool {
	return d.fact("pull", "auth") == "anonymous" && d.fact("credentials", "runtime") == ""
}

// mayKnowMore says of what the kubelet may have credentials that were not
// looked at; empty if all of its sources are known.
func (d *evidence) mayKnowMore() string {
	c := d.get("credentials")
	switch {
	case c.Evidence["unknown"] != "":
		return c.Evidence["unknown"]
	case c.Evidence["node"] != "read":
		return "the node's own credentials (kubelet credential providers, docker config files)"
	}
	return ""
}

// hosts lists the registry hosts in the order in which the runtime asks them,
// which is that of the checks.
func (d *evidence) hosts() []string {
	var out []string
	for _, c := range d.checks {
		if c.Kind == KindManifest && !slices.Contains(out, c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// root follows BlockedBy from a check that could not run to the one that
// failed. A chain that ends elsewhere, or in a circle, gives the check where
// it ends.
func (d *evidence) root(id string) Check {
	for range d.checks {
		c := d.get(id)
		if c.Outcome == Fail || c.BlockedBy == "" {
			return c
		}
		id = c.BlockedBy
	}
	return Check{}
}

// below returns the checks whose ids begin with prefix.
func (d *evidence) below(prefix string) []Check {
	var out []Check
	for _, c := range d.checks {
		if strings.HasPrefix(c.ID, prefix) {
			out = append(out, c)
		}
	}
	return out
}

// agree reports whether the words can mean this cause.
func (d *evidence) agree(c Cause) bool { return d.words.means(c) }

func (d *evidence) wordsID() string {
	if d.words.check == nil {
		return ""
	}
	return d.words.check.ID
}

// because keeps the ids that name a check.
func (d *evidence) because(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return d.byID[id] == nil })
}

// unchecked names what was not looked at, as what would decide.
func (d *evidence) unchecked() []string {
	var out []string
	for _, c := range d.checks {
		if (c.Outcome == Skipped && c.BlockedBy == "") || c.Outcome == Error || c.Outcome == Unknown {
			out = append(out, c.ID+": "+c.Summary)
		}
		if len(out) == 4 {
			break
		}
	}
	return out
}

// also lists further causes that were seen, in the order of the checks.
func (d *evidence) also(v Verdict) []Cause {
	var out []Cause
	for _, c := range d.checks {
		if strings.HasPrefix(c.ID, "elsewhere/") || strings.HasPrefix(c.ID, "clock/") && v.Fault == FaultNone {
			continue // where the runtime does not go
		}
		if c.Outcome == Fail && c.Cause != "" && c.Cause != Undetermined && c.Cause != v.Cause && !slices.Contains(out, c.Cause) &&
			!slices.Contains(saidAs[v.Cause], c.Cause) && !(c.ID == d.wordsID() && d.agree(v.Cause)) {
			out = append(out, c.Cause)
		}
	}
	return out
}
