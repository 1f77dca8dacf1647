package classify

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	. "github.com/pullprobe/pullprobe/report"
)

// pulling is what containerd puts around an error while it resolves
// registry.lab/app:1, in its two modes.
const (
	pulling   = `failed to pull and unpack image "registry.lab/app:1": failed to resolve image: `
	localPull = `failed to pull and unpack image "registry.lab/app:1": failed to resolve reference "registry.lab/app:1": `
	head      = `failed to do request: Head "https://registry.lab/v2/app/manifests/1": `
	blob      = `failed to pull and unpack image "registry.lab/app:1": failed to copy: httpReadSeeker: failed open: `
	token     = `failed to authorize: failed to fetch anonymous token: `
	verifier  = `failed to pull and unpack image "registry.lab/app:1": image verifier bindir `
	oauth     = `failed to authorize: failed to fetch oauth token: `
)

func TestRead(t *testing.T) {
	for _, test := range []struct {
		message string
		cause   Cause
		could   Cause // further cause that must be named among the first four, if any
	}{
		// What real containerd 2.4 and 1.6 and kubelet 1.36 said in the lab.
		{pulling + `registry.lab/app:1: not found`, TagNotFound, RepositoryNotFound},
		{`failed to resolve image: unable to read CA cert "/etc/containerd/certs.d/registry.lab/ca.crt": open /etc/containerd/certs.d/registry.lab/ca.crt: no such file or directory`, RuntimeConfigInvalid, ""},
		{`failed to resolve image: unable to load CA cert "/etc/containerd/certs.d/registry.lab/ca.crt"`, RuntimeConfigInvalid, ""},
		{`failed to update image store "sha256:6b8f7e4d": get image info from containerd: get image diffIDs: invalid character 'x' after top-level value`, UnsupportedManifest, ""},
		{`failed to pull and unpack image "registry.lab/app:1": failed to copy: httpReadSeeker: read past expected size 397: failed precondition`, LayerCorrupt, ""},
		{`failed to pull image "registry.lab/app:1": could not fetch content descriptor sha256:0123 (application/vnd.acme.bundle.v1+json) from remote: not found`, Undetermined, UnsupportedManifest},
		{`failed to pull image "registry.lab/app:1": could not fetch content descriptor sha256:0123 (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found`, LayerCorrupt, MirrorFaulty},
		{`failed to pull image "registry.lab/app:1": short read: expected 285 bytes but got 284: unexpected EOF`, ConnectionReset, LayerCorrupt},
		{`failed to pull and unpack image "registry.lab/app:1": failed to resolve reference "registry.lab/app:1": failed to do request: Head "https://registry.lab/v2/app/manifests/1": dial tcp: address registry.lab: no suitable address found`, HostNotFound, ResolverFailed}, // glibc, nsswitch.conf without dns
		{`failed to pull and unpack image "registry.lab/app:1": failed to read expected number of bytes: unexpected EOF`, ConnectionReset, LayerCorrupt},                                                                                                                          // before 2.1
		{localPull + `registry.lab/app:1: not found`, TagNotFound, AccessDeniedOrMissing},
		// What the runtime's own stores lack ends in the same words (containerd's
		// snapshots/storage, core/content and core/leases, with its errdefs class).
		{`failed to pull and unpack image "registry.lab/app:1": failed to commit snapshot extract-1-x sha256:1: failed to stat active key during commit: snapshot extract-1-x does not exist: not found`, UnpackFailed, ""},
		{`failed to pull and unpack image "registry.lab/app:1": failed to unpack image on snapshotter overlayfs: failed to extract layer sha256:1: exec: "unpigz": executable file not found in $PATH`, UnpackFailed, LayerCorrupt},
		{`failed to pull and unpack image "registry.lab/app:1": failed to extract layer sha256:1: open /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/1: no such file or directory: not found`, UnpackFailed, ""},
		{`failed to pull and unpack image "registry.lab/app:1": failed to unpack image on snapshotter overlayfs: unable to get lease: lease "abc": not found`, UnpackFailed, ""},
		{`failed to pull image "registry.lab/app:1": failed to unpack image on snapshotter nydus: snapshotter nydus was not found: not found`, UnpackFailed, ""},
		{`failed to create snapshot: missing parent "k8s.io/3/sha256:1" bucket: not found`, UnpackFailed, ""},
		{`failed to pull and unpack image "registry.lab/app:1": content digest sha256:0123: not found`, UnpackFailed, MirrorFaulty},
		{`error pulling image configuration: denied: unauthenticated: User cannot be authenticated with the token provided.`, CredentialsRejected, CredentialsExpired},
		{blob + `unexpected status code https://s3.lab/bucket/blobs/sha256/1/data?X-Amz=1: 403 Forbidden`, Undetermined, BlobHostUnreachable},
		{blob + `unexpected status code https://s3.lab/bucket/blobs/sha256/1/data?X-Amz=1: 503 Slow Down`, RegistryUnavailable, BlobHostUnreachable},
		{`Get "https://registry.lab/v2/": net/http: request canceled (Client.Timeout exceeded while awaiting headers)`, ConnectionTimeout, RegistryUnavailable},
		{`failed to pull and unpack image "registry.lab/app:1": failed commit on ref "layer-sha256:1": unexpected commit digest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, expected sha256:1: failed precondition`, LayerCorrupt, ""},
		// The pod waits for something else.
		{`Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "abc": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized`, NotAPullProblem, ""},
		{`Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "abc": plugin type="cilium" failed (add): Get "https://10.96.0.1:443/api": dial tcp 10.96.0.1:443: i/o timeout`, NotAPullProblem, ""},
		{`MountVolume.SetUp failed for volume "data" : mount failed: exit status 32: mount.nfs: Connection timed out`, NotAPullProblem, ""},
		{`Readiness probe failed: Get "http://10.0.0.7:8080/healthz": dial tcp 10.0.0.7:8080: connect: connection refused`, NotAPullProblem, ""},
		// The image is there, and what it runs is not.
		{`failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "app": executable file not found in $PATH: unknown`, NotAPullProblem, ""},
		{`rpc error: code = NotFound desc = ` + pulling + `registry.lab/app:1: not found`, TagNotFound, MirrorFaulty},
		{`failed to parse image reference "registry.lab/APP:1": invalid reference format: repository name (APP) must be lowercase`, InvalidReference, ""},
		{`Failed to apply default image tag "registry.lab/APP:1": couldn't parse image name "registry.lab/APP:1": invalid reference format: repository name (APP) must be lowercase`, InvalidReference, ""},
		{`illegal base64 data at input byte 0: illegal base64 data at input byte 0`, PullSecretMalformed, ""},
		{`Container image "registry.lab/absent:1" is not present with pull policy of Never`, NeverPullNotPresent, PresentNotAuthorized},
		{pulling + `pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`, CredentialsMissing, ""},
		{localPull + `pulling from host auth.lab failed with status code [manifests 1]: 401 Unauthorized`, CredentialsMissing, CredentialsRejected},
		{pulling + `unexpected status from HEAD request to https://auth.lab/v2/app/manifests/1: 401 Unauthorized`, CredentialsRejected, CredentialsMissing},
		{pulling + head + `tls: failed to verify certificate: x509: certificate signed by unknown authority`, CertificateUntrusted, TLSIntercepted},
		{pulling + head + `tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-21T03:02:09Z is after 2026-11-20T03:01:14Z`, CertificateExpired, ClockSkewed},
		{pulling + head + `tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-21T03:02:09Z is before 2026-12-20T03:01:14Z`, CertificateNotYetValid, ClockSkewed},
		{localPull + head + `x509: certificate has expired or is not yet valid`, Undetermined, ClockSkewed},
		{pulling + head + `tls: failed to verify certificate: x509: certificate is valid for elsewhere.lab, not registry.lab`, CertificateNameMismatch, ResolverWrongAnswer},
		{pulling + head + `tls: failed to verify certificate: x509: certificate relies on legacy Common Name field, use SANs instead`, CertificateInvalid, ""},
		{pulling + head + `http: server gave HTTP response to HTTPS client`, PlainHTTPRegistry, ""},
		{pulling + head + `dial tcp 10.77.0.16:443: connect: connection refused`, ConnectionRefused, ResolverWrongAnswer},
		{pulling + head + `dial tcp 10.77.0.17:443: i/o timeout`, ConnectionTimeout, NetworkUnreachable},
		{pulling + head + `dial tcp 10.77.0.99:443: connect: no route to host`, NetworkUnreachable, ConnectionTimeout},
		{pulling + head + `dial tcp 10.77.0.10:443: connect: permission denied`, NetworkUnreachable, ""},
		{pulling + head + `dial tcp 10.77.0.10:443: connect: invalid argument`, NetworkUnreachable, ""},
		{pulling + head + `dial tcp: lookup registry.lab on 10.77.0.1:53: no such host`, HostNotFound, ResolverFailed},
		{pulling + head + `dial tcp: lookup registry.lab on 10.77.0.1:53: server misbehaving`, ResolverFailed, HostNotFound},
		{pulling + head + `dial tcp: lookup registry.lab on 10.77.0.1:53: dial udp 10.77.0.1:53: connect: network is unreachable`, ResolverUnreachable, NetworkUnreachable},
		{pulling + head + `dial tcp: lookup registry.lab on 10.77.0.250:53: read udp 10.77.0.102:45068->10.77.0.250:53: i/o timeout`, ResolverUnreachable, ""},
		{pulling + head + `dial tcp: lookup registry.lab on [::1]:53: read udp [::1]:44188->[::1]:53: read: connection refused`, ResolverUnreachable, ""},
		{pulling + head + `dial tcp: lookup registry.lab: i/o timeout`, ResolverUnreachable, ""},
		{pulling + token + `Get "https://auth.lab/token?scope=%5BREDACTED%5D": dial tcp: lookup auth.lab on 10.77.0.1:53: read udp 10.77.0.2:1->10.77.0.1:53: i/o timeout`, ResolverUnreachable, ""},
		{pulling + head + `net/http: timeout awaiting response headers`, RegistryUnavailable, ConnectionTimeout},
		{localPull + `failed to do request: context deadline exceeded`, PullTimedOut, ConnectionTimeout},
		{pulling + head + `net/http: TLS handshake timeout`, TLSHandshakeFailed, ConnectionTimeout},
		{pulling + head + `EOF`, Undetermined, TLSHandshakeFailed},
		{pulling + `unexpected status from HEAD request to https://ghcr.io/v2/app/manifests/1: 403 Forbidden`, AccessDeniedOrMissing, AccessForbidden},
		{pulling + `failed to do request: Head "http://cache:5000/v2/app/manifests/1": dial tcp: lookup cache on 10.0.0.1:53: server misbehaving`, Undetermined, HostNotFound},
		{pulling + head + `read tcp 10.77.0.102:44510->10.77.0.21:443: read: connection reset by peer`, ConnectionReset, ""},
		{pulling + head + `remote error: tls: handshake failure`, TLSHandshakeFailed, ""},
		{pulling + `unexpected status from HEAD request to https://ratelimit.lab/v2/app/manifests/1: 429 Too Many Requests`, RateLimited, ""},
		{localPull + `pulling from host ratelimit.lab failed with status code [manifests 1]: 429 Too Many Requests`, RateLimited, ""},
		{pulling + `unexpected status from HEAD request to https://err500.lab/v2/app/manifests/1: 500 Internal Server Error`, RegistryUnavailable, ""},
		{"failed to resolve image: unexpected status from HEAD request to https://forbidden.lab/v2/app/manifests/1: 403 Forbidden\ndenied", AccessForbidden, AccessDeniedOrMissing},
		{pulling + token + `unexpected status from GET request to https://token.lab/token?scope=repository%3Aapp%3Apull&service=token.lab: 401 Unauthorized`, CredentialsMissing, AccessDeniedOrMissing},
		{localPull + token + `unexpected status: 403 Forbidden`, AccessDeniedOrMissing, RepositoryNotFound},
		{pulling + oauth + `unexpected status from POST request to https://token.lab/token: 401 Unauthorized`, CredentialsRejected, CredentialsExpired},
		{pulling + oauth + `unexpected status from POST request to https://token.lab/token: 503 Service Unavailable`, TokenServiceFailed, ""},
		{pulling + token + `Get "https://token.lab/token": dial tcp 10.77.0.1:443: connect: connection refused`, ConnectionRefused, TokenServiceFailed},
		{pulling + `pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`, AccessDeniedOrMissing, CredentialsMissing},
		{`failed to pull and unpack image "badblob.lab/bad:1": failed commit on ref "config-sha256:70": unexpected commit digest sha256:53, expected sha256:70: failed precondition`, LayerCorrupt, ""},
		{blob + `could not fetch content descriptor sha256:ce (application/vnd.docker.container.image.v1+json) from remote: not found`, LayerCorrupt, MirrorFaulty},
		{blob + `failed to do request: Get "https://cdn.lab/data/sha256/ab?X-Sig=%5BREDACTED%5D": dial tcp 10.77.0.1:443: i/o timeout`, BlobHostUnreachable, ConnectionTimeout},
		{blob + `failed to do request: Get "https://registry.lab/v2/app/blobs/sha256:ab": dial tcp 10.77.0.1:443: i/o timeout`, ConnectionTimeout, ""},
		{blob + `failed to do request: Get "https://cdn.lab/data/sha256/ab": tls: failed to verify certificate: x509: certificate signed by unknown authority`, CertificateUntrusted, BlobHostUnreachable},
		{`get image config descriptor: no match for platform in manifest sha256:1d: not found`, PlatformMismatch, ""},
		{`failed to pull and unpack image "registry.lab/big:1": failed to copy: write /var/lib/containerd/io.containerd.content.v1.content/ingest/d9/data: no space left on device`, DiskFull, InodesExhausted},
		{`failed to pull and unpack image "registry.lab/big:1": failed to copy: context canceled`, PullTimedOut, ""},

		// What their source prints.
		{pulling + head + `Forbidden`, ProxyDenied, ""},
		{pulling + head + `Proxy Authentication Required`, ProxyDenied, ""},
		{pulling + head + `proxyconnect tcp: dial tcp 10.77.0.1:3128: connect: connection refused`, ProxyUnreachable, ""},
		{pulling + head + `proxyconnect tcp: dial tcp: lookup proxy.lab on 10.77.0.1:53: no such host`, ProxyUnreachable, HostNotFound},
		{pulling + head + `proxyconnect tcp: tls: first record does not look like a TLS handshake`, ProxyUnreachable, TLSHandshakeFailed},
		{pulling + `failed to do request: Head "https://registry.example.com/v2/app/manifests/1": dial tcp 127.0.0.1:443: connect: connection refused`, ResolverWrongAnswer, ConnectionRefused},
		{pulling + `failed to do request: Head "https://localhost:5000/v2/app/manifests/1": dial tcp 127.0.0.1:5000: connect: connection refused`, ConnectionRefused, ""},
		{pulling + `unexpected status from HEAD request to http://mirror.lab/v2/app/manifests/1?ns=docker.io: 502 Bad Gateway`, MirrorFaulty, RegistryUnavailable},
		{pulling + `failed to do request: Head "https://mirror.lab/v2/app/manifests/1?ns=%5BREDACTED%5D": dial tcp 10.77.0.1:443: i/o timeout`, ConnectionTimeout, MirrorFaulty},
		{`failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device: unknown`, DiskFull, ""},
		{`failed to extract layer sha256:ab: mkdir /var/lib/containerd/x: read-only file system: unknown`, DiskReadOnly, ""},
		{`failed to extract layer sha256:ab: failed to Lchown "/etc/shadow" for UID 0, GID 42: lchown /etc/shadow: invalid argument (Hint: …)`, UnpackFailed, ""},
		{`failed to pull and unpack image "registry.lab/app:1": failed to prepare extraction snapshot "extract-1 sha256:cd": failed to stat parent: stat /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs: no such file or directory`, UnpackFailed, ""},
		{`failed to extract layer sha256:ab: mount callback failed on /tmp/m: archive/tar: invalid tar header: unknown`, LayerCorrupt, UnpackFailed},
		{`failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip sha256:ab) to overlayfs as "extract-1 sha256:cd": something new: unknown`, UnpackFailed, ""},
		{`failed to extract layer sha256:ab: gzip: invalid header: unknown`, LayerCorrupt, UnpackFailed},
		{`unexpected media type text/html for sha256:ab: not found`, Undetermined, MirrorFaulty},
		{`not implemented: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1`, UnsupportedManifest, ""},
		{verifier + `blocked pull of registry.lab/app:1 with digest sha256:ab for reason: verifier signed rejected image (exit code 1): unsigned`, SignatureRejected, ""},
		{verifier + `blocked pull of registry.lab/app:1 with digest sha256:ab for reason: verifier signed rejected image (exit code 1): Get "https://rekor.example/api": dial tcp: lookup rekor.example: no such host`, SignatureRejected, ""},
		{`failed to pull and unpack image "registry.lab/app:1": blocking pull of registry.lab/app:1 with digest sha256:ab: image verifier bindir returned error: failed to call verifier signed (runtime 8ms): fork/exec /opt/containerd/image-verifier/bin/signed: exec format error`, SignatureRejected, ""},
		{`pull QPS exceeded`, PullQueueLimited, ""},
		{`Failed to inspect image "": rpc error: code = DeadlineExceeded desc = context deadline exceeded`, RuntimeUnavailable, ""},
		{`connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, RuntimeUnavailable, ""},
		{`error reading from server: EOF`, RuntimeUnavailable, ""},
		{`Failed to create pod sandbox: failed to get sandbox image "registry.lab/pause:1": failed to pull image "registry.lab/pause:1": ` + pulling + head + `dial tcp 10.77.0.16:443: i/o timeout`, SandboxImageUnavailable, ConnectionTimeout},
		{`Failed to create pod sandbox: rpc error: code = Unknown desc = plugin type="bridge" failed (add): no IP addresses available`, NotAPullProblem, ""},
		{`secret "app-config" not found`, NotAPullProblem, ""},
		{`ref k8s.io/1/layer-sha256:ab locked for 2s (since now): unavailable`, Undetermined, ""},

		// CRI-O and cri-dockerd.
		{`(Mirrors also failed: [mirror.lab/app:1: reading manifest 1 in mirror.lab/app: manifest unknown]): registry.lab/app:1: pinging container registry registry.lab: Get "https://registry.lab/v2/": dial tcp 10.0.0.1:443: i/o timeout`, TagNotFound, ConnectionTimeout},
		{`initializing source docker://registry.lab/app:1: reading manifest 1 in registry.lab/app: requested access to the resource is denied`, AccessDeniedOrMissing, CredentialsMissing},
		{`SignatureValidationFailed: Source image rejected: A signature was required, but no signature exists`, SignatureRejected, ""},
		{`Error response from daemon: manifest for registry.lab/app:1 not found: manifest unknown: manifest unknown`, TagNotFound, ""},
		{`Error response from daemon: Get "https://registry.lab/v2/": unauthorized: authentication required`, CredentialsRejected, CredentialsMissing},
		{`Error response from daemon: Get https://registry.lab/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`, ConnectionTimeout, ""},

		// Wrapped by the kubelet.
		{`Back-off pulling image "registry.lab/app:1"`, Undetermined, ""},
		{`Back-off pulling image "registry.lab/app:1": ErrImagePull: ` + pulling + `registry.lab/app:1: not found`, TagNotFound, ""},
		{`Failed to pull image "registry.lab/app:1": [rpc error: code = NotFound desc = ` + pulling + `registry.lab/app:1: not found, ` + pulling + token + `unexpected status from GET request to https://registry.lab/token: 401 Unauthorized]`, TagNotFound, ""},
		{`[` + pulling + oauth + `unexpected status from GET request to https://registry.lab/token: 401 Unauthorized, ` + pulling + token + `unexpected status from GET request to https://registry.lab/token: 403 Forbidden]`, CredentialsRejected, AccessForbidden},
		{`failed to "StartContainer" for "c" with ImagePullBackOff: "Back-off pulling image \"registry.lab/app:1\": ErrImagePull: failed to resolve image: failed to do request: Head \"https://registry.lab/v2/app/manifests/1\": dial tcp 10.0.0.1:443: connect: connection refused"`, ConnectionRefused, ""},

		// Names are no words.
		{`Back-off pulling image "registry.lab/denied/no-space-left-on-device:forbidden"`, Undetermined, ""},
		{`failed to pull and unpack image "registry.lab/forbidden:429": failed to resolve image: failed to do request: Head "https://registry.lab/v2/forbidden/manifests/429": EOF`, Undetermined, ConnectionReset},
		{"", Undetermined, ""},
		{"something else entirely", Undetermined, ""},
	} {
		got := Message(test.message)
		if got.Cause != test.cause {
			t.Errorf("%s\n got %s (could %v, by %q), want %s", test.message, got.Cause, got.Candidates, got.Clause, test.cause)
		}
		if test.could != "" && !slices.Contains(got.Candidates[:min(4, len(got.Candidates))], test.could) {
			t.Errorf("%s\n could be %v, want %s too", test.message, got.Candidates, test.could)
		}
		invariants(t, got)
	}
}

func TestReadNames(t *testing.T) {
	for message, want := range map[string]Result{
		pulling + head + `dial tcp: lookup registry.lab on 10.77.0.1:53: no such host`: {
			Host: "registry.lab", Resolver: "10.77.0.1:53", Clause: "dial tcp: lookup registry.lab on 10.77.0.1:53: no such host"},
		pulling + head + `dial tcp [2001:db8::1]:443: connect: connection refused`: {
			Host: "registry.lab", Address: "[2001:db8::1]:443", Clause: "dial tcp [2001:db8::1]:443: connect: connection refused"},
		pulling + head + `read tcp 10.0.0.2:4->10.0.0.1:443: read: connection reset by peer`: {
			Host: "registry.lab", Address: "10.0.0.1:443", Clause: "read tcp 10.0.0.2:4->10.0.0.1:443: read: connection reset by peer"},
		pulling + `unexpected status from HEAD request to https://user:canary@mirror.lab:5000/v2/app/manifests/1?ns=docker.io: 429 Too Many Requests`: {
			Host: "mirror.lab:5000", Clause: "unexpected status from HEAD request to https://mirror.lab:5000/v2/app/manifests/1: 429 Too Many Requests"},
		localPull + `registry.lab/app:1: not found`: {Host: "registry.lab", Clause: "registry.lab/app:1: not found"},
		// A verifier's host is none of the pull's, a verifier's secrets are secrets.
		verifier + `blocked pull of registry.lab/app:1 with digest sha256:ab for reason: verifier signed rejected image (exit code 1): GET https://key:canary@sigs.lab/app: 403 Forbidden`: {
			Host: "registry.lab", Clause: "verifier signed rejected image (exit code 1): GET https://sigs.lab/app: 403 Forbidden"},
		`failed to extract layer sha256:ab: mount callback failed on /m: failed to Lchown "/m/f" for UID 100000, GID 0: lchown /m/f: invalid argument`: {
			Clause: "lchown /m/f: invalid argument"},
	} {
		got := Message(message)
		if got.Host != want.Host || got.Address != want.Address || got.Resolver != want.Resolver || got.Clause != want.Clause {
			t.Errorf("%s\n got %+v\nwant %+v", message, got, want)
		}
	}
}

func TestReadProven(t *testing.T) {
	for message, want := range map[string]bool{
		`couldn't parse image reference "A": invalid reference format`:       true,
		`Container image "a" is not present with pull policy of Never`:       true,
		pulling + `registry.lab/app:1: not found`:                            false,
		`failed to get sandbox image "A": invalid reference format: "A" bad`: false,
	} {
		if got := Message(message); got.Proven != want {
			t.Errorf("%s: proven %t", message, got.Proven)
		}
	}
}

func TestClauseHoldsNoSecret(t *testing.T) {
	for _, message := range []string{
		`Get "https://user:canary@registry.lab/v2/?token=canary": EOF`,
		`failed to unpack https://user:canary@x.lab/a?sig=canary input/output error`,
		`Authorization Bearer canarycanary denied`,
	} {
		if got := Message(message); strings.Contains(got.Clause+got.Host, "canary") {
			t.Errorf("%s: %+v", message, got)
		}
	}
}

// invariants hold for every input.
func invariants(t *testing.T, r Result) {
	t.Helper()
	if !r.Cause.Known() {
		t.Errorf("cause %q is not in the catalogue", r.Cause)
	}
	if r.Cause != Undetermined && (len(r.Candidates) == 0 || r.Candidates[0] != r.Cause) {
		t.Errorf("cause %s is not the first of %v", r.Cause, r.Candidates)
	}
	for i, c := range r.Candidates {
		if !c.Known() || c == Undetermined || slices.Contains(r.Candidates[:i], c) {
			t.Errorf("could be %v", r.Candidates)
		}
	}
	if len(r.Clause) > MaxClause || len(r.Candidates) > maxCandidates || len(r.Host) > 300 {
		t.Errorf("unbounded: %+v", r)
	}
	for _, s := range []string{r.Clause, r.Host, r.Address, r.Resolver} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("not fit for a report: %q", s)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(pulling + head + `dial tcp: lookup registry.lab on 10.77.0.1:53: no such host`)
	f.Add(`[failed to a: b, failed to pull and unpack c: 429 Too Many Requests]`)
	f.Add(`(Mirrors also failed: [a: b] [c: d]): e: f`)
	f.Add("\\\"\x1b[31m: not found\u202e\xff")
	f.Fuzz(func(t *testing.T, message string) { invariants(t, Message(message)) })
}

func BenchmarkRead(b *testing.B) {
	for name, message := range map[string]string{
		"usual": pulling + head + `dial tcp 10.77.0.17:443: i/o timeout`,
		"worst": strings.Repeat("[failed to a: ", 2000),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Message(message)
			}
		})
	}
}
