// Package advice says in words what a verdict means and how to fix its cause, with
// the names that the evidence has. The catalogue of package report has the texts of
// each cause; this package has those that depend on more evidence.
package advice

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// adviser is a finding with what its fix depends on.
type adviser struct {
	facts.Finding
	names        report.Placeholders
	openQuestion string // decides who must act; empty if that is known
}

// Fix returns the one line that fixes the cause of a verdict. The open question is
// what decides who must act; empty if that is known.
func Fix(e *facts.Evidence, v report.Verdict, openQuestion string) string {
	a := adviser{Finding: facts.FindingOf(e, v), names: placeholdersOf(e, v), openQuestion: openQuestion}
	if a.Cause == report.Undetermined && len(a.WouldDecide) > 0 {
		question := a.WouldDecide[0]
		if strings.Contains(a.Summary, question) || strings.Contains(question, " by hand: ") { // a step that was not seen
			question = "pull the image on " + a.names.Node
			if !strings.Contains(a.names.Image, " ") { // its name is known
				question += ":\ncrictl pull " + a.names.Image
			}
		}
		return "not known yet; to find out: " + question
	}
	fix := cmp.Or(a.fixOfOldRevision(), a.fixOfDetour())
	if fix == "" {
		fix = a.fixOfExisting()
	}
	if fix == "" {
		fix = a.fixTemplate()
	}
	fix += a.orSuggested(fix)
	template := a.names.WithoutBlanks(a.Cause, fix+a.newPod(fix))
	return a.names.Fill(unread(e, template)) + a.names.Fill(template)
}

// newPod returns what follows a fix that changes the template of pods, if the owner does not
// make the pod again by itself, and the fix does not say so.
func (a adviser) newPod(fix string) string {
	kind, _, _ := strings.Cut(a.Fact(report.IDPod, report.KeyOwner), "/")
	commands := recreate(a.Evidence, kind)
	changes := slices.ContainsFunc([]string{"{where}", "{owner}", "nodeSelector", "imagePullSecrets"}, func(part string) bool {
		return strings.Contains(fix, part)
	})
	if commands == "" || !changes || strings.Contains(fix, "kubectl -n {ns} delete pod") || strings.Contains(fix, "delete job") ||
		a.names.HasBlanks("{ns}{pod}") {
		return ""
	}
	return "\nthen have the pod made from the new template:" + commands
}

// fixOfExisting returns the fix where an image exists that may be meant.
func (a adviser) fixOfExisting() string {
	image, what := a.existingImage()
	if image == "" || a.Fault != a.Cause.DefaultFault() || a.fixOfLogin() != "" {
		return ""
	}
	return "use the existing " + what + a.use(image) + "\nor " + a.orElse()
}

// fixTemplate returns the template of the first fix that applies: those that depend
// on evidence come before that of the cause.
func (a adviser) fixTemplate() string {
	if fix := a.fixOfLogin(); fix != "" {
		return fix
	}
	special := cmp.Or(
		a.fixOfPod(), a.fixOfName(), a.fixOfQuestion(), a.fixOfRefusal(), a.fixOfProvider(), a.fixOfSecret(), a.fixOfLayers(),
		a.fixOfAnswer(), a.fixOfTrust(), a.fixOfPlatform(), a.fixOfNode(),
	)
	if special != "" {
		return special
	}
	if i := slices.IndexFunc(a.WouldDecide, asksElsewhere); i >= 0 && a.Fault == report.FaultUndetermined {
		switch a.Cause {
		case report.BlobHostUnreachable, report.TokenServiceFailed, report.NetworkUnreachable, report.ConnectionRefused, report.ConnectionTimeout:
			return a.WouldDecide[i]
		}
	}
	if a.Fault == report.FaultNode && (a.Cause == report.ConnectionRefused || a.Cause == report.ConnectionTimeout) {
		return a.Cause.Fix(report.FaultNode) + a.comparedWith()
	}
	if tags := a.Decided(report.KeyExistingTags); a.Cause == report.TagNotFound && a.Fault == report.FaultConfig && tags != "" {
		tag, which := "<TAG>", "an existing tag (for <TAG>: "+tags+")"
		if !strings.Contains(tags, ",") {
			tag, which = tags, "the existing tag"
		}
		if use := a.use("{registry}/{repository}:" + tag); strings.Contains(use, "\nkubectl") {
			return "push {registry}/{repository}:{tag}, or use " + which + use
		}
	}
	return a.Cause.Fix(a.Fault)
}

// fixOfQuestion returns what to find out where a rival leaves open who must act.
func (a adviser) fixOfQuestion() string {
	if a.openQuestion == "" || a.Cause.FixOnlyFor(report.FaultUndetermined) != "" {
		return ""
	}
	return "find out first who must act: " + a.openQuestion
}

// asksElsewhere reports whether something to confirm is a request from another node.
func asksElsewhere(s string) bool { return strings.HasPrefix(s, "from another node:\ncurl") }

// comparedWith says which comparison shows that an unreachable host is this node's
// fault.
func (a adviser) comparedWith() string {
	switch {
	case slices.Contains(a.Because, report.OpinionID(a.Host)):
		return " (other nodes reach it)"
	case slices.Contains(a.Because, report.IDControl):
		return " (nothing else can be reached from here either)"
	case slices.Contains(a.Because, a.LocalImages().ID):
		return " (images from {registry} were pulled here before)"
	}
	return ""
}
