package diagnosis

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rival is another explanation of the same evidence. Runtime and probe send the
// same request through the same resolver, proxy and trust store. That they agree
// proves the symptom. It proves the cause only if every rival is excluded.
type rival struct {
	id       string
	looks    string       // what would look exactly the same from this node, as a sentence
	acts     report.Fault // who must act then; empty: the same as without the rival
	rare     bool         // unlikely enough that the verdict keeps its fault while the rival is open
	same     bool         // the cause is right all the same: only who must act differs
	question string       // how to find out: a sentence or a command, with placeholders as in fixes
	excluded func(finding) bool
}

// rivalry is all rivals of one cause, the cheapest question first.
type rivalry struct {
	cause  report.Cause
	note   string // why the cause has no rivals, or no others
	rivals []rival
}

// finding is a verdict with its evidence, and what blocks the path: rivals are excluded by
// it.
type finding struct {
	facts.Finding
	obstacle facts.Obstacle
}

func (e *evaluation) findingOf(v report.Verdict) finding {
	return finding{Finding: facts.FindingOf(e.Evidence, v), obstacle: e.obstacle}
}

func allRivalries() []rivalry {
	return slices.Concat(
		rivalsOfNames(),
		rivalsOfLogins(),
		rivalsOfSecrets(),
		rivalsOfResolvers(),
		rivalsOfConnections(),
		rivalsOfProtocol(),
		rivalsOfCertificates(),
		rivalsOfTheRuntime(),
		rivalsOfTheDisk(),
		rivalsOfAnswers(),
		rivalsOfNoFault(),
	)
}

// maxQuestions is how many questions of open rivals a verdict shows.
const maxQuestions = 2

// withRivals lowers a verdict for what else may explain its evidence: to likely if
// a rival is open, and to an undetermined fault if another one must act then. A
// fault that a rule found by evidence of its own stays.
func (e *evaluation) withRivals(v report.Verdict) report.Verdict {
	f := e.findingOf(v)
	ruled := e.faultByRule || v.Fault != v.Cause.DefaultFault()
	questions := 0
	for _, r := range e.rivalsOf(v.Cause) {
		if r.excluded != nil && r.excluded(f) {
			continue
		}
		if !r.same {
			v.Confidence = atMost(v.Confidence, report.Likely)
		}
		question := advice.Fill(e.Evidence, f.Verdict, r.question)
		if r.acts != "" && r.acts != v.Fault && !r.rare && !ruled {
			v.Fault = report.FaultUndetermined
			e.openQuestion = cmp.Or(e.openQuestion, question)
		}
		if questions < maxQuestions {
			v.WouldDecide = appendNew(v.WouldDecide, question)
			questions++
		}
	}
	if v.Confidence != report.Confirmed && len(v.WouldDecide) == 0 && v.Fault != report.FaultNone && len(e.Checks) > 0 {
		v.WouldDecide = []string{e.secondSource(v)}
	}
	return v
}

// secondSource returns what would confirm a verdict for which no rule has a question.
func (e *evaluation) secondSource(v report.Verdict) string {
	switch {
	case v.Cause == report.Undetermined:
		return "read the runtime's log on this node at the time of the pull"
	case e.Unpulled():
		return "pull the image on this node: nothing has pulled it yet"
	case !slices.Contains(v.Because, e.MessageID()):
		return "wait for the runtime's own error at its next attempt"
	case len(v.Because) > 1:
		return "wait for the kubelet's next attempt"
	}
	return "check the same by hand: only the runtime's message shows this cause"
}

func (r ruleSet) rivalsOf(c report.Cause) []rival {
	for _, x := range r.rivalries {
		if x.cause == c {
			return x.rivals
		}
	}
	return nil
}

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(slices.Clone(list), s)
}

// direct reports whether the runtime reaches the host without a proxy.
func (f finding) direct() bool {
	return !f.Exists(report.DialID(f.Host, "proxy")) && f.Decided(report.KeyProxy) == ""
}

// isolatedNode reports whether this node reaches nothing else either, by enough
// hosts to be certain.
func (f finding) isolatedNode() bool { return f.Isolated() && !f.Is(report.IDControl, report.KeyWeak) }

// refusedByProxy reports whether the proxy refused the host itself: probes name
// this cause only then, and not where the proxy could not reach the host.
func (f finding) refusedByProxy() bool {
	return slices.ContainsFunc(f.Because, func(id string) bool {
		c := f.Get(id)
		return c.Outcome == report.Fail && id != f.MessageID() &&
			(c.Cause == report.ProxyDenied || c.Evidence[report.KeyInnerCause] == string(report.ProxyDenied))
	})
}

// certificateNames reports whether the certificate that was received is for the
// host. Its window is checked before its name, so an expired one may be another's.
func (f finding) certificateNames() bool {
	host := f.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, parent, _ := strings.Cut(host, ".")
	for name := range strings.SplitSeq(f.Decided(report.KeyNames), ",") {
		if name = strings.TrimSpace(name); strings.EqualFold(name, host) || strings.EqualFold(name, "*."+parent) {
			return true
		}
	}
	return false
}
