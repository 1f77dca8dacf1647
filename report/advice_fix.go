package report

import (
	"cmp"
	"slices"
	"strings"
)

// adviser is a finding with what its fix depends on.
type adviser struct {
	Finding
	names        placeholders
	openQuestion string // decides who must act; empty if that is known
}

// Fix returns the one line that fixes the cause of a verdict. The open question is
// what decides who must act; empty if that is known.
func Fix(e *evidence, v Verdict, openQuestion string) string {
	a := adviser{Finding: FindingOf(e, v), names: placeholdersOf(e, v), openQuestion: openQuestion}
	if a.Cause == Undetermined && len(a.WouldDecide) > 0 {
		question := a.WouldDecide[0]
		if strings.Contains(a.Summary, question) || strings.Contains(question, " by hand: ") { // a step that was not seen
			question = "crictl pull " + a.names.image + " on " + a.names.node
		}
		return "not known yet; to find out: " + question
	}
	return a.names.fill(a.names.withoutBlanks(a.Cause, cmp.Or(a.fixOfDetour(), a.fixTemplate())))
}

// fixTemplate returns the template of the first fix that applies: those that depend
// on evidence come before that of the cause.
func (a adviser) fixTemplate() string {
	if fix := a.fixOfLogin(); fix != "" {
		return fix
	}
	if image, what := a.existingImage(); image != "" && a.Fault == a.Cause.DefaultFault() {
		return "use the existing " + what + a.use(image) + ", or " + a.orElse()
	}
	special := cmp.Or(
		a.fixOfQuestion(), a.fixOfRefusal(), a.fixOfSecret(), a.fixOfLayers(),
		a.fixOfAnswer(), a.fixOfTrust(), a.fixOfNode(),
	)
	if special != "" {
		return special
	}
	if i := slices.IndexFunc(a.WouldDecide, asksElsewhere); i >= 0 && a.Fault == FaultUndetermined {
		switch a.Cause {
		case BlobHostUnreachable, TokenServiceFailed, NetworkUnreachable, ConnectionRefused, ConnectionTimeout:
			return a.WouldDecide[i]
		}
	}
	if a.Fault == FaultNode && (a.Cause == ConnectionRefused || a.Cause == ConnectionTimeout) {
		return a.Cause.Fix(FaultNode) + a.comparedWith()
	}
	return a.Cause.Fix(a.Fault)
}

// fixOfQuestion returns what to find out where a rival leaves open who must act.
func (a adviser) fixOfQuestion() string {
	if a.openQuestion == "" || a.Cause.FixOnlyFor(FaultUndetermined) != "" {
		return ""
	}
	return "find out first who must act: " + a.openQuestion
}

// asksElsewhere reports whether something to confirm is a request from another node.
func asksElsewhere(s string) bool { return strings.HasPrefix(s, "from another node: curl") }

// comparedWith says which comparison shows that an unreachable host is this node's
// fault.
func (a adviser) comparedWith() string {
	switch {
	case slices.Contains(a.Because, IDControl):
		return " (nothing else can be reached from here either)"
	case slices.Contains(a.Because, a.localImages().ID):
		return " (images from {registry} were pulled here before)"
	}
	return ""
}
