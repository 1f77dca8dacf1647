package report

// Fault is who must act.
type Fault string

const (
	FaultNone         Fault = "none"                // no one: there is no fault
	FaultUndetermined Fault = "undetermined"        // the evidence does not show it
	FaultConfig       Fault = "cluster-config"      // the owner of the manifest or the namespace
	FaultRegistry     Fault = "registry"            // the operator of the registry, or the publisher of the image
	FaultNode         Fault = "node-infrastructure" // the operator of the nodes and their network
)

// Who returns who must act, in words; empty if nothing is at fault.
func (f Fault) Who() string {
	switch f {
	case FaultConfig:
		return "the owner of the workload"
	case FaultRegistry:
		return "the operator of the registry"
	case FaultNode:
		return "the node team"
	case FaultUndetermined:
		return "not known yet"
	default:
		return ""
	}
}

// Who returns who must act on a verdict, in words; empty if nothing is at fault. A registry
// that limits requests works as it should: a login, or a mirror, helps.
func (v Verdict) Who() string { return whoActs(v.Fault, v.Cause) }

// Who returns who must act on a registry, in words; empty if nothing is at fault.
func (r Registry) Who() string { return whoActs(r.Fault, r.Cause) }

func whoActs(f Fault, c Cause) string {
	if f == FaultRegistry && c == RateLimited {
		return "the owner of the workload or the node team"
	}
	return f.Who()
}

// Title returns fault, cause and confidence as the head of a verdict:
// "registry  RateLimited  (likely)".
func (v Verdict) Title() string { return v.title("  ", "  ") }

// Inline returns fault, cause and confidence as part of a sentence:
// "registry / RateLimited (likely)".
func (v Verdict) Inline() string { return v.title(" / ", " ") }

// title returns fault, cause and confidence. "undetermined" is there once.
func (v Verdict) title(beforeCause, beforeConfidence string) string {
	title := Conclusion{v.Fault, v.Cause}.text(beforeCause)
	confidence := string(v.Confidence)
	switch {
	case v.Fault != FaultUndetermined:
	case v.Cause == Undetermined, v.Cause == "":
		return title
	case v.Confidence == Confirmed:
		confidence = "seen; who must act is open"
	case v.Confidence == Likely:
		confidence = "likely; who must act is open"
	default:
		confidence = "who must act is open"
	}
	return title + beforeConfidence + "(" + confidence + ")"
}

// String returns fault and cause: "registry / RateLimited".
func (c Conclusion) String() string { return c.text(" / ") }

func (c Conclusion) text(separator string) string {
	if c.Fault == FaultUndetermined && (c.Cause == Undetermined || c.Cause == "") {
		return string(c.Fault)
	}
	return string(c.Fault) + separator + string(c.Cause)
}

// severity orders faults where one label represents several.
var severity = map[Fault]int{
	FaultNone: 0, FaultUndetermined: 1, FaultConfig: 2, FaultRegistry: 3, FaultNode: 4,
}

// Worse reports whether a is more severe than b.
func Worse(a, b Fault) bool { return severity[a] > severity[b] }

// Cause is one name from the closed catalogue in docs/causes.md. Names are
// API: they are never renamed.
type Cause string

const (
	Undetermined Cause = "Undetermined"

	// none
	Healthy         Cause = "Healthy"
	Recovered       Cause = "Recovered"
	NotAPullProblem Cause = "NotAPullProblem"
	Unscheduled     Cause = "Unscheduled"

	// cluster-config
	InvalidReference        Cause = "InvalidReference"
	TagNotFound             Cause = "TagNotFound"
	RepositoryNotFound      Cause = "RepositoryNotFound"
	AccessDeniedOrMissing   Cause = "AccessDeniedOrMissing"
	PlatformMismatch        Cause = "PlatformMismatch"
	NeverPullNotPresent     Cause = "NeverPullNotPresent"
	PresentNotAuthorized    Cause = "PresentNotAuthorized"
	SignatureRejected       Cause = "SignatureRejected"
	PullSecretMissing       Cause = "PullSecretMissing"
	PullSecretMalformed     Cause = "PullSecretMalformed"
	PullSecretOtherRegistry Cause = "PullSecretOtherRegistry"
	PullSecretNotAttached   Cause = "PullSecretNotAttached"
	CredentialsMissing      Cause = "CredentialsMissing"
	CredentialsRejected     Cause = "CredentialsRejected"
	CredentialsExpired      Cause = "CredentialsExpired"
	AccessForbidden         Cause = "AccessForbidden"
	HostNotFound            Cause = "HostNotFound"

	// node-infrastructure
	RuntimeUnavailable       Cause = "RuntimeUnavailable"
	RuntimeConfigStale       Cause = "RuntimeConfigStale"
	RuntimeConfigInvalid     Cause = "RuntimeConfigInvalid"
	SandboxImageUnavailable  Cause = "SandboxImageUnavailable"
	CredentialProviderFailed Cause = "CredentialProviderFailed"
	ResolverUnreachable      Cause = "ResolverUnreachable"
	ResolverFailed           Cause = "ResolverFailed"
	ResolverWrongAnswer      Cause = "ResolverWrongAnswer"
	ConnectionRefused        Cause = "ConnectionRefused"
	ConnectionTimeout        Cause = "ConnectionTimeout"
	NetworkUnreachable       Cause = "NetworkUnreachable"
	ConnectionReset          Cause = "ConnectionReset"
	ProxyUnreachable         Cause = "ProxyUnreachable"
	ProxyDenied              Cause = "ProxyDenied"
	TLSHandshakeFailed       Cause = "TLSHandshakeFailed"
	TLSIntercepted           Cause = "TLSIntercepted"
	CertificateUntrusted     Cause = "CertificateUntrusted"
	CertificateNotYetValid   Cause = "CertificateNotYetValid"
	ClockSkewed              Cause = "ClockSkewed"
	PlainHTTPRegistry        Cause = "PlainHTTPRegistry"
	BlobHostUnreachable      Cause = "BlobHostUnreachable"
	MirrorFaulty             Cause = "MirrorFaulty"
	DiskFull                 Cause = "DiskFull"
	InodesExhausted          Cause = "InodesExhausted"
	DiskReadOnly             Cause = "DiskReadOnly"
	DiskIOError              Cause = "DiskIOError"
	UnpackFailed             Cause = "UnpackFailed"
	PullTimedOut             Cause = "PullTimedOut"
	PullQueueLimited         Cause = "PullQueueLimited"

	// registry
	RateLimited             Cause = "RateLimited"
	RegistryUnavailable     Cause = "RegistryUnavailable"
	TokenServiceFailed      Cause = "TokenServiceFailed"
	CertificateExpired      Cause = "CertificateExpired"
	CertificateNameMismatch Cause = "CertificateNameMismatch"
	CertificateInvalid      Cause = "CertificateInvalid"
	UnsupportedManifest     Cause = "UnsupportedManifest"
	LayerCorrupt            Cause = "LayerCorrupt"
)

// Catalogue returns every cause with its default fault, grouped by fault in the
// order of docs/causes.md. Rules of package diagnosis may assign another fault.
func Catalogue() []CauseInfo {
	var out []CauseInfo
	for _, g := range catalogue {
		for _, c := range g.causes {
			out = append(out, CauseInfo{Cause: c, Fault: g.fault})
		}
	}
	return out
}

// CauseInfo is one row of the catalogue.
type CauseInfo struct {
	Cause Cause
	Fault Fault // who must act, unless a rule assigns another fault
}

// Known reports whether c is in the catalogue.
func (c Cause) Known() bool { _, ok := defaultFault[c]; return ok }

// DefaultFault returns the fault of c unless a rule assigns another one. An
// unknown cause is undetermined.
func (c Cause) DefaultFault() Fault {
	if f, ok := defaultFault[c]; ok {
		return f
	}
	return FaultUndetermined
}

// FaultAt returns who must act on a cause that the runtime's message names, by the
// step in that message. An image verifier that fails, and a layer of which nothing
// was written, are the node's fault.
func FaultAt(c Cause, step string) Fault {
	if c == SignatureRejected && step == "verifier" || c == LayerCorrupt && step == "empty" {
		return FaultNode
	}
	return c.DefaultFault()
}

var defaultFault = func() map[Cause]Fault {
	m := map[Cause]Fault{}
	for _, r := range Catalogue() {
		m[r.Cause] = r.Fault
	}
	return m
}()

var catalogue = []struct {
	fault  Fault
	causes []Cause
}{
	{FaultConfig, []Cause{
		InvalidReference, TagNotFound, RepositoryNotFound, AccessDeniedOrMissing, PlatformMismatch,
		NeverPullNotPresent, PresentNotAuthorized, SignatureRejected, PullSecretMissing, PullSecretMalformed,
		PullSecretOtherRegistry, PullSecretNotAttached, CredentialsMissing, CredentialsRejected,
		CredentialsExpired, AccessForbidden, HostNotFound,
	}},
	{FaultNode, []Cause{
		RuntimeUnavailable, RuntimeConfigStale, RuntimeConfigInvalid, SandboxImageUnavailable,
		CredentialProviderFailed, ResolverUnreachable, ResolverFailed, ResolverWrongAnswer, ConnectionRefused,
		ConnectionTimeout, NetworkUnreachable, ConnectionReset, ProxyUnreachable, ProxyDenied,
		TLSHandshakeFailed, TLSIntercepted, CertificateUntrusted, CertificateNotYetValid, ClockSkewed,
		PlainHTTPRegistry, BlobHostUnreachable, MirrorFaulty, DiskFull, InodesExhausted, DiskReadOnly,
		DiskIOError, UnpackFailed, PullTimedOut, PullQueueLimited,
	}},
	{FaultRegistry, []Cause{
		RateLimited, RegistryUnavailable, TokenServiceFailed, CertificateExpired, CertificateNameMismatch,
		CertificateInvalid, UnsupportedManifest, LayerCorrupt,
	}},
	{FaultNone, []Cause{Healthy, Recovered, NotAPullProblem, Unscheduled}},
	{FaultUndetermined, []Cause{Undetermined}},
}
