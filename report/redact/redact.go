// Package redact removes secrets from texts before they are published or logged.
package redact

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report/readable"
)

// Redactor removes secrets from texts before they are published or logged:
// the secrets that it knows and whatever looks like a credential. It also
// sanitizes and truncates every text.
type Redactor struct {
	secrets []string
}

// minSecret is the length in bytes below which a secret is ignored: it would
// match by accident in every text.
const minSecret = 4

// New returns a redactor that knows these secrets, see [Redactor.With].
func New(secrets ...string) Redactor { return Redactor{}.With(secrets...) }

// With returns a redactor that also knows these secrets, as they are and in the
// forms in which they travel: escaped for a URL's query or path, and in base64.
// It ignores secrets of fewer than four bytes, and passwords that are a word of
// every report, such as "registry": the gaps would reveal the password, and the
// checks could not be read any longer.
func (r Redactor) With(secrets ...string) Redactor {
	r.secrets = slices.Clone(r.secrets)
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			known := slices.Contains(r.secrets, form) || slices.ContainsFunc(vocabulary, func(w string) bool { return strings.Contains(w, form) })
			if len(form) >= minSecret && !known {
				r.secrets = append(r.secrets, form)
			}
		}
	}
	// The longest first, so that a secret that contains another goes whole.
	slices.SortStableFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	return r
}

// WithLogin returns a redactor that also knows a password, alone and together
// with its user as HTTP basic authentication sends them.
func (r Redactor) WithLogin(user, password string) Redactor {
	if password == "" {
		return r
	}
	return r.With(password, user+":"+password)
}

// forms returns the texts in which a secret may appear; none if it is too short.
func forms(secret string) []string {
	if len(secret) < minSecret {
		return nil
	}
	raw := []byte(secret)
	return []string{
		readable.Sanitize(secret), // texts are sanitized before they are searched
		url.QueryEscape(secret),
		url.PathEscape(secret),
		base64.StdEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw),
	}
}

// vocabulary lists the words that every check consists of, beside what it is
// about: kinds, the values that rules compare, ids, causes.
var vocabulary = strings.Fields(`
	true false absent anonymous basic bearer containerd elsewhere files hidden hosts hung later likely local noSpace
	podListsOwn provider read unknown unspecified loopback private shared CreateContainerError Always
	running initializing runtime log
	reference pod queue disk clock pull control credentials credentials/node credentials/account credentials/providers
	runtime runtime/process runtime/config.toml runtime/environment runtime/ca runtime/proxy runtime/sandbox
	dns dial tls registry token manifest image blob
	Undetermined Healthy Recovered NotAPullProblem Unscheduled InvalidReference TagNotFound RepositoryNotFound
	AccessDeniedOrMissing PlatformMismatch NeverPullNotPresent PresentNotAuthorized SignatureRejected
	PullSecretMissing PullSecretMalformed PullSecretOtherRegistry PullSecretNotAttached CredentialsMissing
	CredentialsRejected CredentialsExpired AccessForbidden HostNotFound RuntimeUnavailable RuntimeConfigStale
	RuntimeConfigInvalid SandboxImageUnavailable CredentialProviderFailed ResolverUnreachable ResolverFailed
	ResolverWrongAnswer ConnectionRefused ConnectionTimeout NetworkUnreachable ConnectionReset
	ProxyUnreachable ProxyDenied TLSHandshakeFailed TLSIntercepted CertificateUntrusted CertificateNotYetValid
	ClockSkewed PlainHTTPRegistry BlobHostUnreachable MirrorFaulty DiskFull InodesExhausted DiskReadOnly
	DiskIOError UnpackFailed PullTimedOut PullQueueLimited RateLimited RegistryUnavailable TokenServiceFailed
	CertificateExpired CertificateNameMismatch CertificateInvalid UnsupportedManifest LayerCorrupt`)

var (
	userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/@\s"']+@`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`)
	jwt      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`)
	keyed    = regexp.MustCompile(`(?i)\b(password|passwd|token|secret|auth|sig|signature|x-amz-[a-z-]+)=[^&\s"']+`)
)

// PasswordBlank is what the reader of a fix replaces by a password. It stays.
const PasswordBlank = "<PASSWORD>"

const removed = "[redacted]"

// Text sanitizes a text, removes secrets from it and truncates it to limit bytes
// (0: no limit).
func (r Redactor) Text(s string, limit int) string {
	s = readable.Sanitize(s) // before anything else: what is invisible must not split a secret
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, removed)
	}
	s = r.withoutCutSecrets(s)
	s = userinfo.ReplaceAllString(s, "${1}"+removed+"@")
	s = bearer.ReplaceAllString(s, "$1 "+removed)
	s = jwt.ReplaceAllString(s, removed)
	s = keyed.ReplaceAllStringFunc(s, func(pair string) string {
		if key, value, _ := strings.Cut(pair, "="); value != PasswordBlank {
			return key + "=" + removed
		}
		return pair // a fix's own blank
	})
	if limit <= 0 {
		return s
	}
	return readable.Truncate(s, limit)
}

// Lines redacts a text of several lines, and keeps its line breaks. The limit, in bytes,
// is that of the whole text.
func (r Redactor) Lines(s string, limit int) string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		out = append(out, r.Text(line, 0))
	}
	s = strings.Join(out, "\n")
	if limit <= 0 || len(s) <= limit {
		return s
	}
	return readable.Truncate(s, limit)
}

// withoutCutSecrets removes the beginnings of secrets from a text that was cut
// before: a server that returns a secret chooses where it is cut. Three dots are
// the ellipsis of other programs.
func (r Redactor) withoutCutSecrets(s string) string {
	if len(r.secrets) == 0 {
		return s
	}
	for _, dots := range []string{readable.Ellipsis, "..."} {
		pieces := strings.Split(s, dots)
		for i := range pieces[:len(pieces)-1] {
			pieces[i] = r.withoutBeginning(pieces[i])
		}
		s = strings.Join(pieces, dots)
	}
	return s
}

// withoutBeginning removes the beginning of a secret from the end of s.
func (r Redactor) withoutBeginning(s string) string {
	for _, secret := range r.secrets {
		for n := min(len(secret)-1, len(s)); n >= minSecret; n-- {
			if strings.HasSuffix(s, secret[:n]) {
				return s[:len(s)-n] + removed
			}
		}
	}
	return s
}
