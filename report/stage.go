package report

// The stages of a pull in order; a later one is reached only through the
// earlier ones.
const (
	stageLocal  = iota + 1 // before anything is sent
	stageDNS               // the name
	stageDial              // the address
	stageTLS               // the handshake
	stageAnswer            // what the registry or its token service answers
	stageImage             // what the manifest says
	stageBlob              // the layers
	stageWrite             // the disk, the unpacking
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

func inCredentials(c Cause) bool {
	switch c {
	case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessDeniedOrMissing, AccessForbidden:
		return true
	}
	return false
}

// withoutCredentials is what a registry's answer to nobody in particular may
// read as.
var withoutCredentials = []Cause{CredentialsMissing, AccessDeniedOrMissing, RepositoryNotFound, CredentialsRejected}

// saidAs lists the words in which the runtime speaks of a cause that it cannot
// itself see, beyond those that the reader of its messages already allows for.
var saidAs = map[Cause][]Cause{
	PullSecretMissing:       withoutCredentials,
	PullSecretMalformed:     withoutCredentials,
	PullSecretOtherRegistry: withoutCredentials,
	PullSecretNotAttached:   withoutCredentials,
	// The kubelet only logs it, and pulls without.
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

// FaultAt is who must act on a cause that the runtime's words give, by the step
// that they speak of: an image verifier that gives no judgement, and a layer of
// which nothing was written, are the node's.
func FaultAt(c Cause, step string) Fault {
	if c == SignatureRejected && step == "verifier" || c == LayerCorrupt && step == "empty" {
		return FaultNode
	}
	return c.DefaultFault()
}
