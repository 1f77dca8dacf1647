//go:build matrix

package matrix

import (
	"encoding/json"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// foreignRows returns the rows in which a server's text reads like the runtime's own.
func foreignRows() []row {
	// words makes a registry whose answer to requests of manifests, or of blobs, has this
	// text. never has what the text seems to say.
	words := func(name string, which func(*http.Request) bool, code int, registryCode, text string, w want,
		never ...string) row {
		runtime := fails(`.`)
		if code == http.StatusNotFound {
			runtime = failsWith(codes.NotFound, `not found`)
		}
		return row{
			name: name, kind: foreignText,
			misleads: text + ": the registry's own text",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(which, func(w http.ResponseWriter, _ *http.Request) {
					lab.RegistryError(w, code,
						registryCode, text)
				}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: runtime, want: w, never: append(never, "none * *", "node-infrastructure * *"),
			neverFix: []string{"create secret", "--prune", "correct the image name", "trust store", "resolv.conf"},
		}
	}
	refuses := func(confidence string) want {
		return want{"cluster-config|registry|undetermined",
			"AccessForbidden|AccessDeniedOrMissing|Undetermined|RateLimited|RegistryUnavailable", confidence, nil, ""}
	}
	fails500 := bounds("registry", "RegistryUnavailable", "confirmed|likely")
	return []row{
		words("text-of-an-invalid-name", isManifest, 403, "DENIED",
			"invalid reference format: repository name must be lowercase", refuses("*"), "* InvalidReference *"),
		words("text-of-an-invalid-name-in-400", isManifest, 400, "NAME_INVALID", "invalid reference format",
			bounds("registry|undetermined|cluster-config", "*", "likely|undetermined"), "* InvalidReference confirmed"),
		words("text-of-a-quota", isManifest, 403, "DENIED", "no space left on device: the quota of project team is used up",
			refuses("likely|undetermined"), "* DiskFull *"),
		words("text-of-a-full-disk-in-500", isManifest, 500, "UNKNOWN",
			"write /storage/docker/registry/v2/blobs: no space left on device", fails500, "* DiskFull *"),
		words("text-of-a-full-disk-in-507", isManifest, 507, "UNKNOWN", "no space left on device", bounds("registry", "*",
			"confirmed|likely"), "* DiskFull *"),
		words("text-of-a-full-disk-in-a-layers-403", lab.IsBlob, 403, "DENIED", "no space left on device",
			bounds("registry|undetermined|cluster-config", "*", "*"), "* DiskFull *"),
		words("text-of-a-read-only-registry", isManifest, 503, "UNAVAILABLE", "read-only file system", fails500,
			"* DiskReadOnly *"),
		words("text-of-a-policy", isManifest, 412, "PROJECTPOLICYVIOLATION",
			"current image with 9 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with "+
				"vulnerability severity of Critical or higher from running.'",
			bounds("cluster-config|registry", "AccessForbidden", "likely|confirmed"),
			"* CredentialsMissing|CredentialsRejected *"),
		words("text-of-a-quarantine", isManifest, 403, "DENIED",
			"image is quarantined: context deadline exceeded while scanning", refuses("likely|undetermined"),
			"* PullTimedOut *"),
		words("text-of-a-country", isManifest, 451, "DENIED", "unavailable in your country: no such host",
			bounds("registry|undetermined", "*", "likely|undetermined|confirmed"), "* HostNotFound *"),
		words("text-of-an-account-in-arrears", isManifest, 403, "DENIED",
			"billing is disabled on this project: TLS handshake timeout is unrelated", refuses("likely|undetermined"),
			"* TLSHandshakeFailed *"),
		words("text-of-a-proxied-registrys-name", isManifest, 404, "MANIFEST_UNKNOWN",
			"remote: dial tcp: lookup upstream.example: no such host",
			bounds("registry|undetermined", "*", "likely|undetermined"), "* HostNotFound|ResolverFailed *",
			"* TagNotFound|RepositoryNotFound confirmed"),
		words("text-of-a-proxied-registrys-certificate", isManifest, 502, "UNKNOWN",
			"remote: x509: certificate signed by unknown authority", fails500, "* CertificateUntrusted *"),
		words("text-of-a-proxied-registrys-limit", isManifest, 500, "UNKNOWN",
			"remote: 429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
			bounds("registry", "RegistryUnavailable|RateLimited", "confirmed|likely")),
		words("text-of-a-platform", isManifest, 404, "MANIFEST_UNKNOWN", "no match for platform in manifest: not found",
			bounds("cluster-config|registry|undetermined", "*", "*"), "* PlatformMismatch *", "* TagNotFound|RepositoryNotFound confirmed"),
		words("text-of-a-login", isManifest, 403, "DENIED", "no basic auth credentials", refuses("*"),
			"* CredentialsMissing confirmed"),
		words("text-of-a-refused-login-in-500", isManifest, 500, "UNKNOWN",
			"401 Unauthorized: unauthorized: incorrect username or password", fails500, "* CredentialsRejected *"),
		{
			name: "text-of-a-token-service", kind: foreignText,
			misleads: "no such host: the text of the token service, about its own directory",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantAll}
				good := t.requireToken(realmOf(h))
				bad := replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" },
					func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, 500, "UNKNOWN", `dial tcp: lookup ldap.corp: no such host; invalid reference format`)
					})
				h.setFault(func(next http.Handler) http.Handler { return bad(good(next)) })
				return &subject{image: image, fix: func() { h.setFault(good) }}
			},
			runtime: fails(`500 Internal Server Error`),
			want:    bounds("registry", "TokenServiceFailed", "confirmed|likely"),
			never:   []string{"* HostNotFound|InvalidReference *"},
		},
		{
			name: "text-of-nested-errors", kind: foreignText,
			misleads: "a message of containerd, in a registry's answer",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(isManifest, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusForbidden)
					json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]any{{
						"code": "DENIED", "message": "denied",
						"detail": `failed to pull and unpack image "x": failed to extract layer sha256:0: failed to ` +
							`mount: no space left on device: unknown`,
					}}})
				}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    refuses("*"),
			never:   []string{"node-infrastructure * *", "none * *", "* DiskFull|UnpackFailed *"},
		},
	}
}
