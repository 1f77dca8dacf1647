package report

// Stage is how far a pull gets. A later stage is reached only through the earlier
// ones.
type Stage int

const (
	StageLocal  Stage = iota + 1 // before anything is sent
	StageDNS                     // the name
	StageDial                    // the address
	StageTLS                     // the handshake
	StageAnswer                  // the answer of the registry or its token service
	StageImage                   // the content of the manifest
	StageBlob                    // the layers
	StageWrite                   // the disk, unpacking
)

// Stage returns the stage of a pull that fails for this cause.
func (c Cause) Stage() Stage {
	switch c {
	case HostNotFound, ResolverFailed, ResolverUnreachable, ResolverWrongAnswer:
		return StageDNS
	case ConnectionRefused, ConnectionTimeout, NetworkUnreachable, ConnectionReset, ProxyUnreachable, ProxyDenied:
		return StageDial
	case TLSHandshakeFailed, TLSIntercepted, CertificateUntrusted, CertificateNotYetValid, CertificateExpired,
		CertificateNameMismatch, CertificateInvalid, ClockSkewed, PlainHTTPRegistry:
		return StageTLS
	case TagNotFound, RepositoryNotFound, AccessDeniedOrMissing, AccessForbidden, CredentialsMissing, CredentialsRejected,
		CredentialsExpired, RateLimited, RegistryUnavailable, TokenServiceFailed, MirrorFaulty,
		PullSecretMissing, PullSecretOtherRegistry, PullSecretNotAttached, CredentialProviderFailed:
		return StageAnswer
	case PlatformMismatch, UnsupportedManifest, SignatureRejected:
		return StageImage
	case BlobHostUnreachable, LayerCorrupt, PullTimedOut:
		return StageBlob
	case DiskFull, InodesExhausted, DiskReadOnly, DiskIOError, UnpackFailed:
		return StageWrite
	}
	return StageLocal
}

// OnTheNetwork reports whether the cause is one of reaching a host: its name,
// its address or the handshake.
func (c Cause) OnTheNetwork() bool {
	s := c.Stage()
	return s >= StageDNS && s <= StageTLS
}

// BeforeTLS reports whether the cause is one of a host's name or address.
func (c Cause) BeforeTLS() bool {
	s := c.Stage()
	return s == StageDNS || s == StageDial
}

// AboutLogin reports whether the cause is what a registry answers to a login, or to
// none.
func (c Cause) AboutLogin() bool {
	switch c {
	case CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessDeniedOrMissing, AccessForbidden:
		return true
	}
	return false
}
