package classify

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// This file is the one place in pullprobe that reads English. Each rule has what a
// clause of an error chain means, given its context. The phrases
// are those of Go's net, net/http, crypto/tls and crypto/x509, containerd's
// core/remotes/docker, core/unpack, content store and CRI plugin,
// containers/image (CRI-O), Docker's daemon, the kubelet's pkg/kubelet/images,
// and the error codes of the OCI distribution specification.

// rule is what one kind of clause means.
type rule struct {
	phrases []string       // lower case; the clause contains one of them
	exact   *regexp.Regexp // or the clause, in its own case, matches this
	proven  bool           // the clause alone proves the first cause
	server  bool           // also for the text of a registry or token service; other rules are for the runtime's only

	// meaning returns the causes that the clause may have, likeliest first.
	// Undetermined comes first if none is likelier than the others. Nil: the rule
	// does not apply in this context.
	meaning func(s messageContext, clause string) []report.Cause
}

func (r rule) matches(clause string) bool {
	if r.exact != nil && r.exact.MatchString(clause) {
		return true
	}
	low := strings.ToLower(clause)
	return slices.ContainsFunc(r.phrases, func(p string) bool { return strings.Contains(low, p) })
}

type causes = []report.Cause

// always returns the meaning of a rule that does not depend on the context.
func always(c ...report.Cause) func(messageContext, string) []report.Cause {
	return func(messageContext, string) []report.Cause { return c }
}

// viaHost returns the meaning of a failed exchange with a host, completed by the
// host's role.
func viaHost(c ...report.Cause) func(messageContext, string) []report.Cause {
	return func(s messageContext, _ string) []report.Cause { return s.viaHost(c...) }
}

// afterResponse is viaHost for a peer that responded: its host is reachable.
func afterResponse(c ...report.Cause) func(messageContext, string) []report.Cause {
	return func(s messageContext, _ string) []report.Cause { return s.afterResponse(c...) }
}

func (s messageContext) afterResponse(c ...report.Cause) []report.Cause {
	if s.redirected && !s.proxy {
		return slices.Insert(slices.Clone(c), 1, report.BlobHostUnreachable)
	}
	return s.viaHost(c...)
}

func (s messageContext) viaHost(c ...report.Cause) []report.Cause {
	switch {
	case s.proxy: // the peer was the proxy
		return append(causes{report.ProxyUnreachable}, c...)
	case s.redirected:
		return append(causes{report.BlobHostUnreachable}, c...)
	case s.token:
		return slices.Insert(slices.Clone(c), 1, report.TokenServiceFailed)
	case s.mirror:
		return slices.Insert(slices.Clone(c), 1, report.MirrorFaulty)
	default:
		return c
	}
}

// specificRules name a cause: the rightmost clause that one of them matches decides.
// If two match the same clause, the first does.
var specificRules = []rule{
	// The kubelet itself: no registry was contacted.
	{
		phrases: []string{
			"invalid reference format", "couldn't parse image", "failed to parse image reference",
			"invalid image name", "repository name must be",
		},
		proven:  true,
		meaning: always(report.InvalidReference),
	},
	{
		phrases: []string{
			"did not resolve to an alias", "short-name resolution", "short name mode is enforcing",
			"pull an unqualified image",
		},
		meaning: always(report.InvalidReference),
	},
	{
		phrases: []string{"present with pull policy of never", "errimageneverpull"},
		proven:  true,
		meaning: always(report.NeverPullNotPresent, report.PresentNotAuthorized),
	},
	{phrases: []string{"pull qps exceeded"}, meaning: always(report.PullQueueLimited)},
	{
		phrases: []string{
			"unable to retrieve some image pull secrets", "failed to retrieve image pull secret",
			"unable to retrieve pull secret",
		},
		meaning: always(report.PullSecretMissing),
	},
	// A pull secret that the kubelet cannot decode (pkg/credentialprovider/config.go);
	// it uses the bare error even as the waiting reason.
	{phrases: []string{"illegal base64 data", "unable to parse auth field"}, meaning: always(report.PullSecretMalformed)},
	{
		exact: regexp.MustCompile(`^(json: )?cannot unmarshal \w+ into Go|^invalid character '.+' (looking for|` +
			`after|in|at)|^unexpected end of JSON input`),
		meaning: func(s messageContext, _ string) []report.Cause {
			if s.url != "" || s.token || s.status {
				return nil // of a response from the network
			}
			if s.config {
				return causes{report.UnsupportedManifest, report.LayerCorrupt}
			}
			return causes{report.PullSecretMalformed}
		},
	},
	{
		phrases: []string{"credential provider plugin", "exec plugin", "credentialprovider"},
		meaning: always(report.CredentialProviderFailed, report.CredentialsMissing),
	},
	{phrases: []string{"nodes are available"}, meaning: always(report.Unscheduled)},
	{phrases: []string{"successfully pulled image", "already present on machine"}, meaning: always(report.NotAPullProblem)},
	{
		exact:   regexp.MustCompile(`(?i)\bback-off (?:\S+ )?restarting failed container|CrashLoopBackOff`),
		meaning: always(report.NotAPullProblem),
	},
	{
		exact:   regexp.MustCompile(`(?i)^(secret|configmap|serviceaccount|persistentvolumeclaim) "[^"]*" not found`),
		meaning: always(report.NotAPullProblem),
	},
	{phrases: []string{"exec format error"}, meaning: always(report.PlatformMismatch, report.NotAPullProblem)},
	// The image is present: its process does not start.
	{
		phrases: []string{
			"runc create failed", "oci runtime create failed", "failed to create shim task",
			"failed to create containerd task",
		},
		meaning: always(report.NotAPullProblem),
	},

	{
		phrases: []string{
			"is blocked in /", "cannot be set when \"\" is provided", "cannot be set when `config_path` is provided",
		},
		meaning: always(report.RuntimeConfigInvalid),
	},

	// The runtime's socket and process.
	{phrases: []string{"dial unix", "error while dialing"}, meaning: func(s messageContext, _ string) []report.Cause {
		switch {
		case s.socket || !s.otherSocket:
			return causes{report.RuntimeUnavailable}
		case s.snapshot: // a snapshotter that is a process of its own
			return causes{report.UnpackFailed, report.RuntimeUnavailable}
		case s.service: // the runtime reports that one of its parts is not running
			return causes{report.RuntimeUnavailable, report.UnpackFailed}
		}
		return nil
	}},
	{
		phrases: []string{
			"connect to the docker daemon", "unknown service runtime.v1", "server is not initialized yet",
			"transport is closing", "error reading from server",
		},
		meaning: always(report.RuntimeUnavailable),
	},
	{exact: regexp.MustCompile(`^ref \S+ locked for `), meaning: always(report.Undetermined)}, // another pull is writing the same layer

	// Policy.
	{
		phrases: []string{
			"signature validation failed", "signaturevalidationfailed", "signature was required",
			"signatures were accepted", "source image rejected", "signature verification", "no matching signatures",
			"parsing signature", "unrecognized signature format",
		},
		server:  true,
		meaning: always(report.SignatureRejected),
	},

	// This node's disk. These win over "extract" and "commit" to their left.
	{phrases: []string{"no space left on device", "disk quota exceeded"}, meaning: always(report.DiskFull, report.InodesExhausted)},
	{phrases: []string{"read-only file system"}, meaning: always(report.DiskReadOnly, report.DiskIOError)},
	{
		phrases: []string{"input/output error", "structure needs cleaning", "failed to perform sync"},
		meaning: always(report.DiskIOError, report.DiskReadOnly, report.DiskFull),
	},

	// The proxy's own responses: a rejected CONNECT leaves only the phrase of its
	// status line, without the number (net/http/transport.go). A response of a
	// registry always has the number.
	{
		exact: regexp.MustCompile(`^(` + reasonPhrases(http.StatusUnauthorized, http.StatusNotFound) + `)\W*$`),
		meaning: func(s messageContext, _ string) []report.Cause {
			if s.status || s.url == "" {
				return nil
			}
			return causes{report.ProxyDenied, report.RegistryUnavailable}
		},
	},
	{phrases: []string{"proxy authentication required"}, meaning: always(report.ProxyDenied)},

	// Names. A failure under "lookup" is the resolver's, whatever the request.
	// "no suitable address found": what the resolver returns has no address (net, errNoSuitableAddress).
	{phrases: []string{"no such host", "no suitable address found"}, meaning: func(s messageContext, _ string) []report.Cause {
		switch {
		case s.proxy:
			return causes{report.ProxyUnreachable, report.HostNotFound, report.ResolverFailed}
		case s.mirror:
			return causes{report.HostNotFound, report.MirrorFaulty, report.ResolverFailed, report.ResolverWrongAnswer}
		case s.redirected:
			return causes{report.HostNotFound, report.BlobHostUnreachable, report.ResolverFailed, report.ResolverWrongAnswer}
		}
		return causes{report.HostNotFound, report.ResolverFailed, report.ResolverWrongAnswer, report.ResolverUnreachable}
	}},
	{
		phrases: []string{
			"server misbehaving", "temporary failure in name resolution", "try again", "no answer from dns server",
			"cannot unmarshal dns message", "servfail",
		},
		meaning: func(s messageContext, _ string) []report.Cause {
			if !s.lookup {
				return nil
			}
			out := causes{report.ResolverFailed, report.ResolverUnreachable, report.HostNotFound}
			if s.host != "" && !strings.Contains(s.host, ".") {
				// A name of one label is known to a local resolver or to none. Such a resolver
				// (Docker's, for one) forwards a query for a name that it lacks, and fails.
				out = causes{report.Undetermined, report.HostNotFound, report.ResolverFailed, report.ResolverUnreachable}
			}
			if s.proxy {
				out = append(out, report.ProxyUnreachable)
			}
			return out
		}},

	// Transport. Names first: under "lookup" these are about the DNS server.
	{
		phrases: []string{"tls handshake timeout"},
		meaning: viaHost(report.TLSHandshakeFailed, report.ConnectionTimeout, report.NetworkUnreachable, report.RegistryUnavailable),
	},
	{
		phrases: []string{"timeout awaiting response headers"},
		meaning: viaHost(report.RegistryUnavailable, report.ConnectionTimeout, report.PullTimedOut),
	},
	{
		phrases: []string{
			"i/o timeout", "connection timed out", "client.timeout exceeded",
			"request canceled while waiting for connection", "context deadline exceeded while waiting for connection",
		},
		meaning: func(s messageContext, clause string) []report.Cause {
			switch {
			case s.lookup:
				return s.resolverGone()
			case strings.Contains(clause, "awaiting headers"): // of the whole request: how far it came is unknown
				return s.viaHost(report.ConnectionTimeout, report.RegistryUnavailable, report.NetworkUnreachable, report.ProxyUnreachable)
			}
			return s.viaHost(report.ConnectionTimeout, report.NetworkUnreachable, report.ResolverWrongAnswer, report.ProxyUnreachable)
		}},
	{phrases: []string{"connection refused"}, meaning: func(s messageContext, _ string) []report.Cause {
		switch {
		case s.lookup:
			return s.resolverGone()
		case s.sinkhole() && !s.proxy:
			return causes{report.ResolverWrongAnswer, report.ConnectionRefused}
		}
		return s.viaHost(report.ConnectionRefused, report.ResolverWrongAnswer, report.RegistryUnavailable)
	},
	},
	{
		phrases: []string{
			"no route to host", "network is unreachable", "host is unreachable", "network is down",
			"cannot assign requested address", "host is down",
		},
		meaning: func(s messageContext, _ string) []report.Cause {
			if s.lookup {
				return append(s.resolverGone(), report.NetworkUnreachable)
			}
			return s.viaHost(report.NetworkUnreachable, report.ConnectionTimeout, report.ResolverWrongAnswer)
		}},
	// connect(2) with a local route or firewall in between.
	{exact: regexp.MustCompile(`^(permission denied|invalid argument|` +
		`operation not permitted)\b`), meaning: func(s messageContext, _ string) []report.Cause {
		switch {
		case s.lookup:
			return append(s.resolverGone(), report.NetworkUnreachable)
		case s.address != "":
			return s.viaHost(report.NetworkUnreachable)
		}
		return nil
	},
	},
	{phrases: []string{"failed to read expected number of bytes", "unexpected eof"}, meaning: func(s messageContext, _ string) []report.Cause {
		if s.extracting {
			return causes{report.LayerCorrupt, report.UnpackFailed, report.ConnectionReset}
		}
		return s.viaHost(report.ConnectionReset, report.LayerCorrupt, report.RegistryUnavailable)
	}},
	{
		phrases: []string{
			"connection reset by peer", "broken pipe", "stream error", "server sent goaway",
			"server closed idle connection", "client connection lost", "use of closed network connection",
		},
		meaning: func(s messageContext, _ string) []report.Cause {
			if s.lookup {
				return s.resolverGone()
			}
			return s.viaHost(report.ConnectionReset, report.TLSHandshakeFailed, report.RegistryUnavailable, report.ProxyDenied)
		}},
	{exact: regexp.MustCompile(`^EOF\b`), meaning: func(s messageContext, _ string) []report.Cause {
		if s.token && !s.proxy { // the service accepted the connection and closed it
			return causes{report.TokenServiceFailed, report.ConnectionReset, report.TLSHandshakeFailed}
		}
		if s.copying {
			return s.viaHost(report.ConnectionReset, report.TLSHandshakeFailed, report.RegistryUnavailable, report.ProxyDenied)
		}
		// The connection was closed in the handshake or after it, by the server or something in between.
		return append(causes{report.Undetermined}, s.viaHost(
			report.ConnectionReset, report.TLSHandshakeFailed, report.RegistryUnavailable, report.ProxyDenied)...,
		)
	},
	},

	// TLS and x509.
	{phrases: []string{"server gave http response to https client"}, meaning: func(s messageContext, _ string) []report.Cause {
		if s.proxy {
			return causes{report.ProxyUnreachable}
		}
		// If a mirror lacks the image, containerd continues with the registry's own address, which is not configured.
		return causes{report.PlainHTTPRegistry, report.RuntimeConfigInvalid, report.TagNotFound, report.MirrorFaulty}
	}},
	{phrases: []string{"http request to an https server"}, meaning: afterResponse(report.RuntimeConfigInvalid, report.PlainHTTPRegistry)},
	{
		phrases: []string{"does not look like a tls handshake"},
		meaning: afterResponse(report.TLSHandshakeFailed, report.PlainHTTPRegistry, report.ProxyDenied),
	},
	{phrases: []string{"unknown authority", "self-signed certificate", "self signed certificate", "unable to get local issuer"},
		meaning: afterResponse(report.CertificateUntrusted, report.TLSIntercepted, report.RuntimeConfigInvalid, report.RepositoryNotFound)},
	{
		phrases: []string{"certificate has expired or is not yet valid", "certificate has expired"},
		meaning: func(s messageContext, _ string) []report.Cause {
			// The times are in the clause to its right. Without them (Go before 1.15) it is
			// unknown which end of the period it was.
			return s.afterResponse(report.Undetermined, report.CertificateExpired, report.ClockSkewed, report.CertificateNotYetValid)
		},
	},
	{
		exact:   regexp.MustCompile(`current time \S+ is after `),
		meaning: afterResponse(report.CertificateExpired, report.ClockSkewed, report.TLSIntercepted),
	},
	{exact: regexp.MustCompile(`current time \S+ is before `), meaning: afterResponse(report.CertificateNotYetValid, report.ClockSkewed)},
	{
		phrases: []string{
			"certificate is valid for", "not valid for any names", "wanted to match", "doesn't contain any ip sans",
			"but none matched",
		},
		meaning: afterResponse(report.CertificateNameMismatch, report.TLSIntercepted, report.ResolverWrongAnswer),
	},
	{
		phrases: []string{
			"legacy common name", "insecure algorithm", "not authorized to sign", "incompatible key usage",
			"negative serial number", "malformed certificate", "unhandled critical extension",
		},
		meaning: afterResponse(report.CertificateInvalid),
	},
	{exact: regexp.MustCompile(`^x509$`), meaning: afterResponse(report.CertificateInvalid, report.CertificateUntrusted)},
	{exact: regexp.MustCompile(`^tls$`), meaning: afterResponse(report.TLSHandshakeFailed)},

	// The reasons that a server gives, whatever the status.
	{
		phrases: []string{
			"toomanyrequests", "too many requests", "pull rate limit", "rate exceeded", "rate limit exceeded",
			"quota metric",
		},
		server:  true,
		meaning: always(report.RateLimited),
	},
	{exact: regexp.MustCompile(`retry-after: \S+, allowed: \d+/`), server: true, meaning: always(report.RateLimited)},
	{exact: regexp.MustCompile(`^(retry-after|\S*s, allowed)$`), server: true, meaning: func(s messageContext, _ string) []report.Cause {
		if !s.limited {
			return nil
		}
		return causes{report.RateLimited}
	}},
	{
		exact:  regexp.MustCompile(`(?i)\bquota\b.*\bexceeded|exceeded .*\bquota\b`),
		server: true,
		meaning: func(s messageContext, clause string) []report.Cause {
			if strings.Contains(strings.ToLower(clause), "disk quota exceeded") {
				return nil // EDQUOT of this node
			}
			return causes{report.RegistryUnavailable, report.AccessForbidden, report.RateLimited}
		},
	},
	{
		phrases: []string{"configured policy in", "projectpolicyviolation", "due to policy", "violates policy"},
		server:  true,
		meaning: always(report.AccessForbidden, report.SignatureRejected),
	},

	// Status numbers.
	{exact: statusNumber, meaning: statusMeaning},
	{
		exact: regexp.MustCompile(`^[45]\d\d [A-Z]`),
		meaning: func(s messageContext, clause string) []report.Cause { // with a phrase of the server's own
			if !s.unexpected {
				return nil
			}
			return statusMeaning(s, "status "+clause)
		},
	},

	// The content of the registry.
	{
		phrases: []string{
			"no match for platform", "no matching manifest for", "no image found in manifest list",
			"no image found in image index", "does not match the specified platform",
		},
		meaning: always(report.PlatformMismatch, report.UnsupportedManifest),
	},
	{
		phrases: []string{"unexpected media type text/html"},
		meaning: always(report.Undetermined, report.MirrorFaulty, report.TLSIntercepted, report.ProxyDenied, report.RegistryUnavailable),
	},
	{
		phrases: []string{
			"media type", "schema 1", "manifest.v1+", "mismatched image rootfs", "invalid rootfs in image",
			"byte manifest for", "unsupported manifest", "failed to convert manifest",
		},
		meaning: always(report.UnsupportedManifest),
	},
	{
		exact:   regexp.MustCompile(`^(unsupported|UNSUPPORTED)\b`),
		server:  true,
		meaning: always(report.Undetermined, report.TagNotFound, report.UnsupportedManifest),
	},
	// containerd fetches an unknown media type as if it were a layer.
	{
		exact: regexp.MustCompile(`could not fetch content descriptor \S+ \(application/vnd\.(?:docker\.image\.rootfs|` +
			`docker\.container\.image|oci\.image\.(?:layer|config))`),
		meaning: always(report.LayerCorrupt, report.MirrorFaulty, report.BlobHostUnreachable, report.RegistryUnavailable),
	},
	{
		exact:   regexp.MustCompile(`could not fetch content descriptor \S+ \(`),
		meaning: always(report.Undetermined, report.UnsupportedManifest, report.LayerCorrupt, report.MirrorFaulty),
	},
	{exact: regexp.MustCompile(`content at \S*/blobs/\S+ not found|could not fetch content descriptor|(?i)unknown blob|blob unknown`),
		server: true, meaning: always(report.LayerCorrupt, report.MirrorFaulty, report.BlobHostUnreachable, report.RegistryUnavailable)},
	{
		phrases: []string{"content at "},
		meaning: always(report.Undetermined, report.TagNotFound, report.MirrorFaulty, report.LayerCorrupt, report.UnsupportedManifest),
	},
	{
		phrases: []string{
			"no resolve hosts", "no pull hosts", "unable to read ca cert", "unable to load ca cert",
			"unable to read cert file", "unable to load x509 key pair",
		},
		meaning: always(report.RuntimeConfigInvalid),
	},
	{exact: regexp.MustCompile(`\bopen \S*/certs\.d/\S+`), meaning: always(report.RuntimeConfigInvalid, report.CertificateUntrusted)},
	{
		phrases: []string{"manifest unknown", "manifest_unknown"},
		server:  true,
		meaning: afterResponse(report.TagNotFound, report.RepositoryNotFound),
	},
	{
		exact: regexp.MustCompile(`(?i)name unknown|name_unknown|repository name not known|` +
			`repository .* (does not exist in|not found)|project .* not found`),
		server:  true,
		meaning: afterResponse(report.RepositoryNotFound, report.AccessDeniedOrMissing, report.TagNotFound),
	},

	// Access.
	{
		phrases: []string{"anonymous users are only allowed"},
		server:  true,
		meaning: always(report.CredentialsMissing, report.AccessDeniedOrMissing),
	},
	{exact: regexp.MustCompile(`^HTTP Basic$`), server: true, meaning: always(report.CredentialsRejected, report.CredentialsExpired)},
	{
		phrases: []string{
			"token has expired", "token is expired", "expired token", "credentials have expired",
			"password has expired",
		},
		server:  true,
		meaning: always(report.CredentialsExpired, report.CredentialsRejected),
	},
	{
		phrases: []string{"no basic auth credentials"},
		server:  true,
		meaning: always(report.CredentialsMissing, report.CredentialProviderFailed, report.AccessForbidden, report.PullSecretNotAttached),
	},
	{
		phrases: []string{
			"incorrect username or password", "invalid username/password", "invalid username or password",
			"bad credentials", "invalid credentials", "login failed", "authentication failed",
			"cannot be authenticated",
		},
		server:  true,
		meaning: always(report.CredentialsRejected, report.CredentialsExpired),
	},
	{
		phrases: []string{"or it may not exist"},
		server:  true,
		meaning: always(report.AccessDeniedOrMissing, report.CredentialsMissing, report.AccessForbidden, report.RepositoryNotFound),
	},
	{phrases: []string{"denied on resource", "is not authorized to perform", "does not have permission", "permission_denied"},
		server:  true,
		meaning: afterResponse(report.AccessForbidden, report.CredentialsMissing, report.AccessDeniedOrMissing, report.TagNotFound)},
	{
		phrases: []string{
			"insufficient_scope", "pull access denied", "requested access to the resource is denied",
			"requested resource is not authorized",
		},
		server:  true,
		meaning: afterResponse(report.AccessDeniedOrMissing, report.CredentialsMissing, report.RepositoryNotFound, report.CredentialsRejected),
	},
	{
		phrases: []string{"authentication required"},
		server:  true,
		meaning: afterResponse(report.CredentialsRejected, report.CredentialsMissing, report.CredentialsExpired, report.AccessDeniedOrMissing),
	},
	{
		phrases: []string{
			"no realm specified", "challenge realm", "did not include a token", "unable to decode token response",
			"failed to parse token",
		},
		meaning: always(report.TokenServiceFailed, report.MirrorFaulty, report.TLSIntercepted),
	},

	// Content and unpacking.
	{
		phrases: []string{
			"unexpected commit digest", "failed size validation", "unexpected commit size", "wrong diff id",
			"digest did not match", "digest mismatch", "filesystem layer verification failed",
			"read past expected size",
		},
		meaning: always(report.LayerCorrupt, report.ConnectionReset, report.MirrorFaulty),
	},
	{
		phrases: []string{"invalid tar header", "invalid checksum", "magic number mismatch"},
		meaning: always(report.LayerCorrupt, report.UnsupportedManifest, report.UnpackFailed),
	},
	{
		exact:   regexp.MustCompile(`^(gzip|flate|zlib|zstd)$`),
		meaning: always(report.LayerCorrupt, report.UnsupportedManifest, report.UnpackFailed),
	},
	{
		phrases: []string{
			"lchown", "whiteout", "failed to unmount", "processing tar file", "enough ids available",
			"method transfer not implemented", "parent snapshot", "extraction snapshot", "snapshotter not loaded",
			"layer not known", "creating overlay mount", "committing the finished image", "error reading layer",
		},
		meaning: always(report.UnpackFailed, report.LayerCorrupt),
	},
	{
		phrases: []string{"failed to mount", "mount callback failed", "idmap mount"},
		meaning: func(s messageContext, clause string) []report.Cause {
			if s.starting && !strings.Contains(clause, "snapshotter") {
				return nil // a mount of the container, as its volumes'
			}
			return causes{report.UnpackFailed, report.LayerCorrupt}
		},
	},
	{phrases: []string{"no processor for media-type"}, meaning: always(report.UnsupportedManifest, report.UnpackFailed)},
	// "not found" to the right of these means that containerd's own stores lack
	// something (errdefs), not the registry.
	{
		exact: regexp.MustCompile(`^snapshot \S+ (?:does not exist|is not ready)|^snapshotter \S+ was not found|` +
			`^missing parent .*bucket|^content digest \S+$`),
		meaning: always(report.UnpackFailed, report.LayerCorrupt, report.MirrorFaulty),
	},

	// A time-out or a cancellation.
	{
		phrases: []string{
			"context deadline exceeded", "context canceled", "no progress in", "rst_stream", "operation timeout",
		},
		meaning: func(s messageContext, _ string) []report.Cause {
			switch {
			case s.lookup:
				return append(s.resolverGone(), report.PullTimedOut)
			case s.copying || s.url == "":
				return causes{report.PullTimedOut, report.ConnectionTimeout, report.DiskIOError, report.RegistryUnavailable}
			}
			return s.viaHost(report.ConnectionTimeout, report.PullTimedOut, report.RegistryUnavailable)
		},
	},
}

// genericRules are tried if no specific rule matches: wrappers, and phrases that
// containerd puts at the end of very different chains.
var genericRules = []rule{
	{
		phrases: []string{
			"extract layer", "on snapshotter", "register layer", "applying layer", "commit snapshot",
			"create snapshot", "prepare snapshot", "adding layer with blob",
		},
		meaning: always(report.UnpackFailed, report.LayerCorrupt),
	},
	{
		phrases: []string{"unauthorized"},
		server:  true,
		meaning: viaHost(report.CredentialsRejected, report.CredentialsMissing, report.CredentialsExpired, report.AccessDeniedOrMissing),
	},
	{
		exact:   regexp.MustCompile(`(?i)\bdenied\b`),
		server:  true,
		meaning: viaHost(report.AccessDeniedOrMissing, report.AccessForbidden, report.CredentialsMissing),
	},
	{
		exact:   regexp.MustCompile(`(?i)\bforbidden\b`),
		server:  true,
		meaning: viaHost(report.AccessForbidden, report.AccessDeniedOrMissing, report.ProxyDenied),
	},
	{phrases: []string{"proxyconnect"}, meaning: always(report.ProxyUnreachable)},
	{exact: regexp.MustCompile(`^dial (tcp|udp)\b`), meaning: func(s messageContext, _ string) []report.Cause { // an errno without a rule
		if s.lookup {
			return s.resolverGone()
		}
		return s.viaHost(report.Undetermined, report.ConnectionTimeout, report.NetworkUnreachable, report.ConnectionRefused)
	}},
	{exact: regexp.MustCompile(`(?i)not ?found\b|does not exist`), meaning: func(s messageContext, _ string) []report.Cause {
		switch {
		case s.copying:
			return causes{report.Undetermined, report.LayerCorrupt, report.TagNotFound, report.MirrorFaulty}
		case s.extracting: // a program, a lease, a blob: the registry had delivered
			return causes{report.UnpackFailed, report.LayerCorrupt}
		case !s.pulling:
			return nil
		}
		return causes{
			report.TagNotFound, report.RepositoryNotFound, report.AccessDeniedOrMissing, report.MirrorFaulty,
			report.UnsupportedManifest,
		}
	}},
	{phrases: []string{"registry is unavailable"}, meaning: always(report.RegistryUnavailable)},
	{phrases: []string{"failed to fetch", "failed to authorize"}, meaning: always(report.TokenServiceFailed)},
	{phrases: []string{"failed to get sandbox image"}, meaning: always(report.SandboxImageUnavailable)},
	{phrases: []string{"failed to inspect image"}, meaning: always(report.RuntimeUnavailable)},
	{phrases: []string{"failed to create pod sandbox"}, meaning: always(report.NotAPullProblem)},
}

// resolverGone returns the meaning of a transport error to the DNS server.
func (s messageContext) resolverGone() []report.Cause {
	out := causes{report.ResolverUnreachable, report.ResolverFailed}
	if s.proxy {
		out = append(out, report.ProxyUnreachable)
	}
	return out
}

// statusNumber matches an HTTP status: before its reason phrase, or where the text
// around it marks it as one.
var statusNumber = regexp.MustCompile(`(?i)(?:\b|` +
	`:)([345]\d\d) (` + reasonPhrases() + `)|status(?: ?code)?(?: from registry)?:? ([345]\d\d)\b|http ([345]\d\d) response`)

// reasonPhrases returns a pattern of the phrases of all error statuses except some.
func reasonPhrases(without ...int) string {
	var list []string
	for code := 400; code < 600; code++ {
		if text := http.StatusText(code); text != "" && !slices.Contains(without, code) {
			list = append(list, regexp.QuoteMeta(text))
		}
	}
	return strings.Join(list, "|")
}

// statusMeaning returns the meaning of an HTTP status.
func statusMeaning(s messageContext, clause string) []report.Cause {
	m := statusNumber.FindStringSubmatch(clause)
	code := 0
	for _, group := range m[1:] {
		if n, err := strconv.Atoi(group); err == nil {
			code = n
		}
	}
	switch {
	case code == http.StatusTooManyRequests:
		return causes{report.RateLimited}
	case code == http.StatusProxyAuthRequired:
		return causes{report.ProxyDenied}
	case s.token:
		return s.tokenStatus(code)
	case s.redirected && (code == http.StatusUnauthorized || code == http.StatusForbidden):
		// The registry permitted the pull and signed the address. The store behind it
		// rejects it, or something in between does, or the signature is not valid now.
		return causes{report.Undetermined, report.BlobHostUnreachable, report.ProxyDenied, report.RegistryUnavailable, report.ClockSkewed}
	}
	switch code {
	case http.StatusUnauthorized:
		if s.old {
			// containerd before 1.6.25 reports this with and without credentials.
			return causes{report.CredentialsMissing, report.CredentialsRejected, report.CredentialsExpired, report.AccessDeniedOrMissing}
		}
		return s.afterResponse(
			report.CredentialsRejected, report.CredentialsMissing, report.CredentialsExpired,
			report.AccessDeniedOrMissing,
		)
	case http.StatusForbidden:
		if s.host == "ghcr.io" { // its response for packages that do not exist, too
			return causes{report.AccessDeniedOrMissing, report.AccessForbidden, report.CredentialsMissing, report.RepositoryNotFound}
		}
		return s.afterResponse(
			report.AccessForbidden, report.AccessDeniedOrMissing, report.CredentialsExpired,
			report.CredentialsRejected, report.CredentialsMissing, report.ProxyDenied,
		)
	case http.StatusNotFound:
		if s.copying {
			return causes{report.Undetermined, report.LayerCorrupt, report.TagNotFound, report.MirrorFaulty}
		}
		return s.afterResponse(report.TagNotFound, report.RepositoryNotFound, report.AccessDeniedOrMissing)
	case http.StatusPreconditionFailed, http.StatusUnavailableForLegalReasons: // a registry's policy: Harbor's scan, a country
		return s.afterResponse(report.AccessForbidden, report.SignatureRejected)
	case http.StatusBadRequest:
		if s.plain { // the response of Go's and nginx's TLS servers to plain HTTP
			return causes{report.RuntimeConfigInvalid, report.MirrorFaulty, report.PlainHTTPRegistry}
		}
	case http.StatusRequestTimeout:
		return s.afterResponse(report.RegistryUnavailable, report.ConnectionTimeout)
	}
	if code >= 500 {
		if s.mirror {
			return causes{report.MirrorFaulty, report.RegistryUnavailable, report.AccessForbidden}
		}
		return s.afterResponse(report.RegistryUnavailable, report.ProxyDenied)
	}
	return causes{report.Undetermined, report.MirrorFaulty, report.UnsupportedManifest, report.RegistryUnavailable}
}

// tokenStatus returns the meaning of a token service's response. The service may not
// know whether a repository is private or missing, and many do not tell.
func (s messageContext) tokenStatus(code int) []report.Cause {
	switch {
	case s.bearer && (code == http.StatusUnauthorized || code == http.StatusForbidden): // CRI-O does not report whether it had a login
		return causes{report.AccessDeniedOrMissing, report.CredentialsMissing, report.AccessForbidden, report.CredentialsRejected}
	case code == http.StatusUnauthorized && s.anonymous:
		return causes{
			report.CredentialsMissing, report.AccessDeniedOrMissing, report.AccessForbidden,
			report.CredentialProviderFailed, report.RepositoryNotFound,
		}
	case code == http.StatusForbidden && s.anonymous:
		return causes{report.AccessDeniedOrMissing, report.CredentialsMissing, report.RepositoryNotFound, report.AccessForbidden}
	case code == http.StatusUnauthorized:
		return causes{report.CredentialsRejected, report.CredentialsExpired, report.AccessForbidden}
	case code == http.StatusForbidden:
		return causes{report.AccessForbidden, report.RepositoryNotFound, report.AccessDeniedOrMissing, report.CredentialsRejected}
	case code >= 500:
		return causes{report.TokenServiceFailed, report.RegistryUnavailable}
	default:
		return causes{report.TokenServiceFailed, report.CredentialsRejected, report.RepositoryNotFound}
	}
}
