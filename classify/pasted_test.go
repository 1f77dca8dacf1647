package classify

import (
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

// Messages that people paste, by the kind of mistake that their words invite.
// Each kind has cases beside the one that taught it.
func TestPastedKinds(t *testing.T) {
	const (
		create = `Error: failed to create containerd container: `
		crio   = `initializing source docker://quay.lab/team/app:1: `
		copied = `copying system image from manifest list: writing blob: `
	)
	for kind, cases := range map[string][]struct {
		message string
		cause   Cause
		also    Cause // further cause that must be named; "": none
	}{
		"a short name that CRI-O cannot resolve": {
			{`short name mode is enforcing, but image name team/app:1 returns ambiguous list`, InvalidReference, ""},
			{`Failed to inspect image "": rpc error: code = Unknown desc = short name mode is enforcing, but image name app returns ambiguous list`, InvalidReference, ""},
			{`rpc error: code = Unknown desc = short-name "team/app:1" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"`, InvalidReference, ""},
			{`short-name resolution enforced but cannot prompt without a TTY`, InvalidReference, ""},
		},
		"the image is there, the container is not": {
			{create + `failed to generate spec: get apparmor_parser version: exec: "apparmor_parser": executable file not found in $PATH`, NotAPullProblem, ""},
			{create + `get apparmor profile "strict": apparmor profile not found strict`, NotAPullProblem, ""},
			{`Error: couldn't find key password in Secret shop/db`, NotAPullProblem, ""},
			{`Error: couldn't find key LEVEL in ConfigMap shop/settings`, NotAPullProblem, ""},
			{`Error: container has runAsNonRoot and image will run as root (pod: "web_shop(1)", container: web)`, NotAPullProblem, ""},
			{`Error: container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root`, NotAPullProblem, ""},
			{`failed to generate container "0a" spec: failed to generate spec: failed to inject CDI devices: unresolvable CDI devices vendor.example/gpu=all`, NotAPullProblem, ""},
			{`Error: failed to reserve container name "web_web-1_shop_0": name "web_web-1_shop_0" is reserved for "0a"`, NotAPullProblem, ""},
			{`Error: failed to start container "web": Error response from daemon: driver failed: not found`, NotAPullProblem, ""},
			{`Error: failed to prepare subPath for volumeMount "data" of container "web"`, NotAPullProblem, ""},
			{`Error: container create failed: executable file ` + "`serve`" + ` not found in $PATH: No such file or directory`, NotAPullProblem, ""},
			{`exec: "serve": executable file not found in $PATH`, NotAPullProblem, ""},
			{`MountVolume.SetUp failed for volume "token" : configmap "kube-root-ca.crt" not found`, NotAPullProblem, ""},
			{`network namespace not found`, Undetermined, ""},
		},
		"snapshotters and layer stores": {
			{create + `snapshot 12 is not ready`, UnpackFailed, ""},
			{create + `failed to create snapshot: missing parent "k8s.io/3/sha256:1" bucket: not found`, UnpackFailed, ""},
			{create + `snapshotter "overlayfs" doesn't support idmap mounts on this host, configure ` + "`slow_chown`" + ` to allow a slower and expensive fallback`, UnpackFailed, ""},
			{create + `write /var/lib/containerd/x: no space left on device`, DiskFull, ""},
			{`Error: creating container storage: layer not known`, UnpackFailed, ""},
			{`locating item named "manifest" for image with ID "0a": layer not known`, UnpackFailed, ""},
			{copied + `adding layer with blob "sha256:0a": open /var/lib/containers/storage/overlay/l/X: no such file or directory`, UnpackFailed, ""},
			{copied + `adding layer with blob "sha256:0a"/""/"sha256:0b": unpacking failed (error: exit status 1; output: no space left on device)`, DiskFull, ""},
			{`failed to pull image "registry.lab/app:1": failed to prepare extraction snapshot "extract-1": failed to mount rafs: daemon not ready`, UnpackFailed, ""},
			{`failed to pull and unpack image "registry.lab/app:1": failed to extract layer sha256:1: failed to get stream processor for application/vnd.oci.image.layer.v1.tar+gzip+encrypted: no processor for media-type: unknown`, UnsupportedManifest, UnpackFailed},
		},
		"denied and unauthorized, by who says it": {
			{`Error response from daemon: unauthorized: HTTP Basic: Access denied. The provided password or token is incorrect`, CredentialsRejected, CredentialsExpired},
			{`failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://gitlab.lab/jwt/auth: 403 Forbidden: denied: HTTP Basic: Access denied`, CredentialsRejected, ""},
			{crio + `reading manifest 1 in quay.lab/team/app: unauthorized: Anonymous users are only allowed read access on public repos`, CredentialsMissing, ""},
			{`Error response from daemon: denied: Quota has been exceeded on namespace`, RegistryUnavailable, ""},
			{`unexpected status from HEAD request to https://quay.lab/v2/cache/app/manifests/1: 403 Forbidden: DENIED: storage quota exceeded for this organization`, RegistryUnavailable, ""},
			{`unexpected status from GET request to https://europe-docker.pkg.dev/v2/p/r/app/manifests/1: 429 Too Many Requests: Quota exceeded for quota metric 'Requests'`, RateLimited, ""},
		},
		"the token step of CRI-O": {
			{crio + `Requesting bearer token: invalid status code from registry 503 (Service Unavailable)`, TokenServiceFailed, RegistryUnavailable},
			{crio + `Requesting bearer token: invalid status code from registry 400 (Bad Request)`, TokenServiceFailed, CredentialsRejected},
			{crio + `Requesting bearer token: invalid status code from registry 403 (Forbidden)`, AccessDeniedOrMissing, AccessForbidden},
			{crio + `unable to retrieve auth token: invalid username/password: unauthorized: authentication required`, CredentialsRejected, ""},
			{crio + `Requesting bearer token: Get "https://quay.lab/v2/auth": dial tcp 192.0.2.1:443: connect: connection refused`, ConnectionRefused, TokenServiceFailed},
		},
		"answers that had no rule": {
			{pulling + `unexpected status from HEAD request to https://harbor.lab/v2/p/app/manifests/1: 412 Precondition Failed`, AccessForbidden, SignatureRejected},
			{`Error response from daemon: unknown: current image with 85 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "High" or higher from running.'`, AccessForbidden, ""},
			{crio + `registry quay.lab is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d`, RuntimeConfigInvalid, ""},
			{`invalid plugin config: ` + "`mirrors` cannot be set when `config_path` is provided", RuntimeConfigInvalid, ""},
			{pulling + `unexpected status from HEAD request to http://mirror.lab:5000/v2/app/manifests/1?ns=docker.io: 400 Bad Request`, RuntimeConfigInvalid, MirrorFaulty},
			{`retry-after: 92.5µs, allowed: 44000/minute`, RateLimited, ""},
			{`toomanyrequests: retry-after: 1.2ms, allowed: 44000/minute`, RateLimited, ""},
		},
		"who speaks decides": {
			{`Failed getting credential from external registry credential provider: error execing credential provider plugin lab-provider for image r.lab/app: context deadline exceeded`, CredentialProviderFailed, PullTimedOut},
			{`failed to prepare extraction snapshot "extract-1 sha256:1": connection error: desc = "transport: Error while dialing dial unix:///run/lab-snapshotter/lab.sock: timeout": unavailable`, UnpackFailed, RuntimeUnavailable},
			{`"ImageFsInfo from image service failed" err="rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial unix /run/lab-fs/lab.sock: connect: no such file or directory\""`, RuntimeUnavailable, ""},
			{`FailedCreatePodSandBox: failed to pull and unpack image "registry.lab/pause:1": failed to resolve reference "registry.lab/pause:1": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized`, SandboxImageUnavailable, CredentialsMissing},
			{`creating pod sandbox with name "k8s_web": initializing source docker://registry.lab/pause:1: pinging container registry registry.lab: StatusCode: 403, <!doctype html>`, SandboxImageUnavailable, AccessForbidden},
			{create + `mount callback failed on /m: openat etc/passwd: path escapes from parent`, NotAPullProblem, ""},
			{`Error: container create failed: mount_setattr /var/run/secrets (maybe the file system used doesn't support idmap mounts on this kernel?): Invalid argument`, NotAPullProblem, ""},
			{`Unable to connect to the server: x509: certificate has expired or is not yet valid: current time 2026-11-21T03:02:09Z is after 2026-11-20T03:01:14Z`, NotAPullProblem, ""},
			{`failed to provision volume with StorageClass "fast": rpc error: code = ResourceExhausted desc = no more volumes`, NotAPullProblem, ""},
		},
		"words of one source that stand alone": {
			{`Error: ErrImageNeverPull`, NeverPullNotPresent, ""},
			{`image with reference registry.lab/app:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64`, PlatformMismatch, ""},
			{`Failed to inspect image "app": no registries configured while trying to pull an unqualified image`, InvalidReference, ""},
			{`"Unable to retrieve pull secret, the image pull may not succeed." pod="shop/web" secret="" err="secret \"login\" not found"`, PullSecretMissing, ""},
			{`reading signatures: parsing signature https://registry.lab/sigstore/signature-1: unrecognized signature format, starting with binary 0x3c`, SignatureRejected, ""},
			{`details: (open /etc/docker/certs.d/registry.lab/ca.crt: no such file or directory)`, RuntimeConfigInvalid, ""},
			{`Error committing the finished image: error reading layer "5f" for blob "sha256:a3": error creating overlay mount to /x/merged: no such file or directory`, UnpackFailed, ""},
			{`failed to "StartContainer" for "web" with CrashLoopBackOff: "back-off 5m0s restarting failed container=web pod=web_shop(1)"`, NotAPullProblem, ""},
			{`Normal Pulled 43s kubelet Successfully pulled image "registry.lab/app:1" in 1.7s`, NotAPullProblem, ""},
		},
		"aggregates in brackets": {
			{`Failed to pull image "registry.lab/app:1": [reading manifest 1 in registry.lab/app: manifest unknown, reading manifest 1 in registry.lab/app: unauthorized: authentication required]`, TagNotFound, CredentialsRejected},
			{`[initializing source docker://registry.lab/app:1: pinging container registry registry.lab: Get "https://registry.lab/v2/": dial tcp: lookup registry.lab: no such host, initializing source docker://registry.lab/app:1: reading manifest 1 in registry.lab/app: denied]`, HostNotFound, ""},
			{`ErrImagePull: [unable to retrieve auth token: invalid username/password: unauthorized, Error response from daemon: manifest unknown]`, CredentialsRejected, TagNotFound},
		},
		"a host that only a mirror's URL names": {
			{`failed to pull and unpack image "docker.io/library/app:1": failed to resolve image: failed to do request: Head "https://mirror.lab/v2/library/app/manifests/1?ns=docker.io": dial tcp: lookup mirror.lab on 10.0.0.10:53: no such host`, HostNotFound, MirrorFaulty},
			{`failed to pull and unpack image "docker.io/library/app:1": failed to resolve image: failed to do request: Head "https://mirror.lab/v2/library/app/manifests/1?ns=%5BREDACTED%5D": dial tcp: lookup mirror.lab: no such host`, HostNotFound, MirrorFaulty},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			for _, tt := range cases {
				got := Message(tt.message)
				named := tt.also == ""
				for _, c := range got.Candidates[:min(4, len(got.Candidates))] {
					named = named || c == tt.also
				}
				if got.Cause != tt.cause || !named {
					t.Errorf("%s\n got %s of %v (by %q), want %s and %q", tt.message, got.Cause, got.Candidates, got.Clause, tt.cause, tt.also)
				}
				invariants(t, got)
			}
		})
	}
}

// The host is named where only CRI-O's transport has it.
func TestHostOfATransport(t *testing.T) {
	const message = `initializing source docker://quay.lab:8443/team/app:1: Requesting bearer token: invalid status code from registry 503 (Service Unavailable)`
	if got := Message(message); got.Host != "quay.lab:8443" || got.Step != "token" {
		t.Errorf("host %q, step %q", got.Host, got.Step)
	}
}

// What a server wrote is not what the runtime says of itself: it fills no disk
// of the node, breaks no resolver, and proves nothing about the image's name.
func TestServersWords(t *testing.T) {
	const status = `unexpected status from HEAD request to https://registry.lab/v2/app/manifests/1: `
	for message, want := range map[string]Cause{
		pulling + status + "403 Forbidden\ndenied: repository name must be lowercase":                                                                  AccessForbidden,
		pulling + status + "403 Forbidden denied: invalid reference format":                                                                            AccessForbidden,
		pulling + status + "500 Internal Server Error\nunknown: write /data/x: no space left on device":                                                RegistryUnavailable,
		pulling + status + "500 Internal Server Error unknown: read-only file system":                                                                  RegistryUnavailable,
		pulling + status + "502 Bad Gateway\ndial tcp: lookup backend on 10.0.0.10:53: no such host":                                                   RegistryUnavailable,
		pulling + status + "503 Slow Down\nunknown: x509: certificate signed by unknown authority":                                                     RegistryUnavailable,
		blob + `unexpected status code https://registry.lab/v2/app/blobs/sha256:1: 507 Insufficient Storage - Server message: no space left on device`: RegistryUnavailable,
		// What a registry says of who may pull, and how often, counts.
		pulling + status + "403 Forbidden\ntoomanyrequests: slow down":                                       RateLimited,
		pulling + status + "404 Not Found\nmanifest unknown: manifest unknown":                               TagNotFound,
		pulling + status + "412 Precondition Failed\nunknown: The image doesn't pass signature verification": SignatureRejected,
	} {
		got := Message(message)
		if got.Cause != want || got.Proven {
			t.Errorf("%s\n got %s of %v (proven %t, by %q), want %s", message, got.Cause, got.Candidates, got.Proven, got.Clause, want)
		}
		invariants(t, got)
	}
}
