package report

// The stages of a pull in order. A later one is reached only through the earlier
// ones.
const (
	stageLocal  = iota + 1 // before anything is sent
	stageDNS               // the name
	stageDial              // the address
	stageTLS               // the handshake
	stageAnswer            // the answer of the registry or its token service
	stageImage             // the content of the manifest
	stageBlob              // the layers
	stageWrite             // the disk, unpacking
)

func stage(c Cause) int {
	switch c {
	case HostNotFound, ResolverFailed, ResolverUnreachable, ResolverWrongAnswer:
		return stageDNS
	case ConnectionRefused, ConnectionTimeout, NetworkUnreachable, ConnectionReset, ProxyUnreachable, ProxyDenied:
		return stageDial
	case TLSHandshakeFailed, TLSIntercepted, CertificateUntrusted, CertificateNotYetValid, CertificateExpired,
		CertificateNameMismatch, CertificateInvalid, ClockSkewed, PlainHTTPRegistry:
		return stageTLS
	case TagNotFound, RepositoryNotFound, AccessDeniedOrMissing, AccessForbidden, CredentialsMissing, CredentialsRejected,
		CredentialsExpired, RateLimited, RegistryUnavailable, TokenServiceFailed, MirrorFaulty,
		PullSecretMissing, PullSecretOtherRegistry, PullSecretNotAttached, CredentialProviderFailed:
		return stageAnswer
	case PlatformMismatch, UnsupportedManifest, SignatureRejected:
		return stageImage
	case BlobHostUnreachable, LayerCorrupt, PullTimedOut:
		return stageBlob
	case DiskFull, InodesExhausted, DiskReadOnly, DiskIOError, UnpackFailed:
		return stageWrite
	}
	return stageLocal
}

// onTheNetwork reports whether the cause is one of reaching a host: its name,
// its address or the handshake.
func onTheNetwork(c Cause) bool {
	s := stage(c)
	return s >= stageDNS && s <= stageTLS
}

// beforeTLS reports whether the cause is one of a host's name or address.
func beforeTLS(c Cause) bool {
	s := stage(c)
	return s == stageDNS || s == stageDial
}

func inCredentials(c Cause) bool {
	switch c {
	case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessDeniedOrMissing, AccessForbidden:
		return true
	}
	return false
}

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

// FaultAt returns who must act on a cause that the runtime's message names, by the
// step in that message. An image verifier that fails, and a layer of which nothing
// was written, are the node's fault.
func FaultAt(c Cause, step string) Fault {
	if c == SignatureRejected && step == "verifier" || c == LayerCorrupt && step == "empty" {
		return FaultNode
	}
	return c.DefaultFault()
}
