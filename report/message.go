package report

import (
	"slices"
	"strings"
)

// withoutCredentials lists how a registry's answer to an anonymous request may be
// classified.
var withoutCredentials = []Cause{CredentialsMissing, AccessDeniedOrMissing, RepositoryNotFound, CredentialsRejected}

// alsoReportedAs lists, for causes that the runtime itself cannot see, the causes
// that its message is then classified as. It adds to what the classifier of
// messages already allows for.
var alsoReportedAs = map[Cause][]Cause{
	PullSecretMissing:       withoutCredentials,
	PullSecretMalformed:     withoutCredentials,
	PullSecretOtherRegistry: withoutCredentials,
	PullSecretNotAttached:   withoutCredentials,
	// The kubelet only logs it, and pulls without credentials.
	CredentialProviderFailed: withoutCredentials,
	CredentialsMissing:       {AccessDeniedOrMissing},
	AccessForbidden:          {AccessDeniedOrMissing},
	CredentialsExpired:       {CredentialsRejected, AccessForbidden},
	ClockSkewed:              {CertificateExpired, CertificateNotYetValid},
	RepositoryNotFound:       {TagNotFound},
	InodesExhausted:          {DiskFull},
	PlatformMismatch:         {TagNotFound},
	RuntimeConfigInvalid:     {CertificateUntrusted},
	ResolverFailed:           {ResolverUnreachable},
}

// message is an error message of the runtime, classified.
type message struct {
	check      *Check  // the failed check that has it; nil: there is no message
	cause      Cause   // the likeliest cause
	candidates []Cause // every cause that such a message is known to have had
	proven     bool    // the message alone proves the cause
}

// messageOf returns the message that a failed check carries.
func messageOf(c *Check) message {
	if c == nil || c.Outcome != Fail {
		return message{}
	}
	m := message{check: c, cause: c.Cause, candidates: splitCauses(c.Evidence[KeyCould]), proven: c.Is(KeyProven)}
	if m.cause == "" {
		m.cause = Undetermined
	}
	return m
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

func (m message) exists() bool { return m.check != nil }

// informative reports whether the message tells where the path to the image
// fails.
func (m message) informative() bool {
	return m.exists() && m.cause != Undetermined && m.cause != PullTimedOut && m.cause != PullQueueLimited
}

// mayMean reports whether the message can mean this cause.
func (m message) mayMean(c Cause) bool {
	return m.exists() && (m.cause == c || slices.Contains(m.candidates, c) || slices.Contains(alsoReportedAs[c], m.cause))
}

// fromTestPull reports whether the message is the test pull's, and not one that
// the kubelet reported some time ago.
func (m message) fromTestPull() bool { return m.exists() && m.check.Kind == KindPull }

// step returns how far the runtime came, as the message has it.
func (m message) step() string {
	if !m.exists() {
		return ""
	}
	return m.check.Evidence[KeyStep]
}

// stage returns the stage of the pull that failed. A connection that broke while
// the runtime fetched a layer says nothing about the path to the manifest.
func (m message) stage() Stage {
	if step := m.step(); step == "blob" || step == "unpack" || step == "empty" {
		return max(m.cause.Stage(), StageBlob)
	}
	return m.cause.Stage()
}
