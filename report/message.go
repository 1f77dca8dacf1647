package report

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
