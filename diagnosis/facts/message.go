package facts

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// withoutCredentials lists how a registry's answer to an anonymous request may be
// classified.
var withoutCredentials = []report.Cause{
	report.CredentialsMissing, report.AccessDeniedOrMissing, report.RepositoryNotFound, report.CredentialsRejected,
}

// alsoReportedAs lists, for causes that the runtime itself cannot see, the causes
// that its message is then classified as. It adds to what the classifier of
// messages already allows for.
var alsoReportedAs = map[report.Cause][]report.Cause{
	report.PullSecretMissing:       withoutCredentials,
	report.PullSecretMalformed:     withoutCredentials,
	report.PullSecretOtherRegistry: withoutCredentials,
	report.PullSecretNotAttached:   withoutCredentials,
	// The kubelet only logs it, and pulls without credentials.
	report.CredentialProviderFailed: withoutCredentials,
	report.CredentialsMissing:       {report.AccessDeniedOrMissing},
	report.AccessDeniedOrMissing:    {report.CredentialsMissing},
	report.AccessForbidden:          {report.AccessDeniedOrMissing},
	report.CredentialsExpired:       {report.CredentialsRejected, report.AccessForbidden},
	report.ClockSkewed:              {report.CertificateExpired, report.CertificateNotYetValid},
	report.RepositoryNotFound:       {report.TagNotFound},
	report.InodesExhausted:          {report.DiskFull},
	report.PlatformMismatch:         {report.TagNotFound},
	report.RuntimeConfigInvalid:     {report.CertificateUntrusted},
	report.ResolverFailed:           {report.ResolverUnreachable},
}

// Message is an error message of the runtime, classified.
type Message struct {
	Check      *report.Check  // the failed check that has it; nil: there is no message
	Cause      report.Cause   // the likeliest cause
	candidates []report.Cause // every cause that such a message can have
	Proven     bool           // the message alone proves the cause
}

// messageOf returns the message that a failed check carries.
func messageOf(c *report.Check) Message {
	if c == nil || c.Outcome != report.Fail {
		return Message{}
	}
	m := Message{Check: c, Cause: c.Cause, candidates: splitCauses(c.Evidence[report.KeyCould]), Proven: c.Is(report.KeyProven)}
	if m.Cause == "" {
		m.Cause = report.Undetermined
	}
	return m
}

func splitCauses(s string) []report.Cause {
	var out []report.Cause
	for f := range strings.SplitSeq(s, ",") {
		if c := report.Cause(strings.TrimSpace(f)); c != "" && c != report.Undetermined {
			out = append(out, c)
		}
	}
	return out
}

// Exists reports whether there is a message.
func (m Message) Exists() bool { return m.Check != nil }

// Informative reports whether the message tells where the path to the image
// fails.
func (m Message) Informative() bool {
	return m.Exists() && m.Cause != report.Undetermined && m.Cause != report.PullTimedOut && m.Cause != report.PullQueueLimited
}

// MayMean reports whether the message can mean this cause.
func (m Message) MayMean(c report.Cause) bool {
	return m.Exists() && (m.Cause == c || slices.Contains(m.candidates, c) || slices.Contains(alsoReportedAs[c], m.Cause))
}

// FromTestPull reports whether the message is the test pull's, and not one that
// the kubelet reported some time ago.
func (m Message) FromTestPull() bool { return m.Exists() && m.Check.Kind == report.KindPull }

// Step returns how far the runtime came, as the message has it.
func (m Message) Step() string {
	if !m.Exists() {
		return ""
	}
	return m.Check.Evidence[report.KeyStep]
}

// Stage returns the stage of the pull that failed. A connection that broke while
// the runtime fetched a layer says nothing about the path to the manifest.
func (m Message) Stage() report.Stage {
	if step := m.Step(); step == "blob" || step == "unpack" || step == "empty" {
		return max(m.Cause.Stage(), report.StageBlob)
	}
	return m.Cause.Stage()
}
