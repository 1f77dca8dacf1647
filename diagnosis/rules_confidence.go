package diagnosis

import (
	"strconv"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// confidenceRule lowers a verdict to likely, and may say what would decide.
type confidenceRule struct {
	id      string
	when    string // when it applies, in one sentence
	applies func(e *evaluation, v report.Verdict, o facts.Obstacle) (wouldDecide string, applies bool)
}

func confidenceRules() []confidenceRule {
	return []confidenceRule{
		{"kubelet-not-at-image-yet", "the kubelet has not come to the image yet", func(
			e *evaluation, _ report.Verdict, o facts.Obstacle,
		) (string, bool) {
			return "check what the pod is waiting for first: it has no sandbox yet",
				e.Creating() && e.NoSandbox() && o.RootCause() != report.SandboxImageUnavailable
		}},
		{"contradicted-elsewhere", "another node gets through to a host of which the registry, or the name, is said to be at fault", func(
			e *evaluation, v report.Verdict, o facts.Obstacle,
		) (string, bool) {
			op := e.OpinionOn(o.Check.Host)
			return "compare with " + op.Check.Evidence[report.KeyWhich] + ", which gets through to " + o.Check.Host,
				op.Reached > 0 && v.Fault != report.FaultNode && o.RootCause().OnTheNetwork()
		}},
		{"test-pull-lacks-credentials", "the kubelet may have more credentials", func(
			e *evaluation, _ report.Verdict, o facts.Obstacle,
		) (string, bool) {
			anonymousTestPull := e.Message.FromTestPull() && e.AnonymousPull()
			kubeletDisagrees := e.Kubelet.Exists() && !e.Kubelet.MayMean(o.RootCause())
			return "wait for the kubelet's own message: it may have credentials from " + e.UnreadSources(),
				e.UnreadSources() != "" && o.RootCause().AboutLogin() && anonymousTestPull && kubeletDisagrees
		}},
		{"hosts-toml-of-unknown-version", "the runtime's version, on which the reading of hosts.toml depends, is unknown", func(
			e *evaluation, _ report.Verdict, _ facts.Obstacle,
		) (string, bool) {
			question := e.versionQuestion()
			return question, question != ""
		}},
		{"short-name-suggested", "a repository with a similar short name exists", func(
			_ *evaluation, _ report.Verdict, o facts.Obstacle,
		) (string, bool) {
			at := o.Check.Evidence
			return "check whether repository " + strconv.Quote(at[report.KeySuggestRepository]) +
					" is meant: in a name this short, another letter may be another image",
				at[report.KeyShortName] == report.True && o.RootCause() == report.RepositoryNotFound
		}},
		{"present-by-now", "the image was pulled to the node in the meantime", func(
			e *evaluation, _ report.Verdict, o facts.Obstacle,
		) (string, bool) {
			return "wait for the kubelet's next attempt: the image is on the node now, so it should succeed",
				e.Present() && o.RootCause().Stage() == report.StageAnswer && !e.AlwaysPulls()
		}},
	}
}

// versionQuestion returns what the version of the runtime decides; empty if it is known
// or does not matter.
func (e *evaluation) versionQuestion() string {
	c := e.Get(report.HostsID(e.Domain()))
	if c.Evidence[report.KeyDependsOn] == "" {
		return ""
	}
	return "get the version of the runtime (containerd --version): " +
		c.Evidence[report.KeyDependsOn] + " (" + c.Evidence[report.KeyFile] + ")"
}
