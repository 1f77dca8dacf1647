//go:build matrix

package matrix

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// cloudRows returns the rows that simulate the documented behaviour of registries. The
// kubelet of the node is not seen here, nor its credential providers.
func cloudRows() []row {
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprint(&b, 1+randomNumber(9))
		}
		return b.String()
	}
	public := func(s *scene, name string) *host {
		return s.host(hostOptions{name: name, port: 443, addrs: []netip.Addr{s.w.addr(public4)}})
	}
	// ecr makes a registry of AWS that gets no login.
	ecr := func(name, domain string) row {
		return row{
			name: name, kind: clouds,
			misleads: "no basic auth credentials: the node's credential provider brings them, which is not seen here",
			setup: func(s *scene) *subject {
				h := public(s, digits(12)+domain)
				image, _, _ := s.pushApp(h)
				h.setFault(requireBasicAuth(newLogin()))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`no basic auth credentials`),
			want: bounds("node-infrastructure|undetermined", "CredentialsMissing|CredentialProviderFailed|Undetermined",
				"likely|undetermined", "manifest/{host}"),
			never: []string{"* * confirmed"}, neverFix: []string{"create secret"}, wouldDecide: true,
		}
	}
	// refusal makes a registry with a token service that refuses a login, or the anonymous,
	// with a status and a text.
	refusal := func(name string, host func(*scene) *host, l *login, code int, registryCode, text string, w want,
		never ...string) row {
		return row{
			name: name, kind: clouds,
			setup: func(s *scene) *subject {
				h := host(s)
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantAll}
				good := t.requireToken(realmOf(h))
				bad := replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" },
					func(w http.ResponseWriter, _ *http.Request) {
						lab.RegistryError(w, code, registryCode, text)
					})
				h.setFault(func(next http.Handler) http.Handler { return bad(good(next)) })
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: fails(fmt.Sprint(code)), want: w, never: append(never, "none * *"),
		}
	}
	private := func(s *scene) *host { return s.host(hostOptions{}) }
	azure := func(s *scene) *host { return public(s, randomWord()+".azurecr.io") }
	rejected := bounds("cluster-config", "CredentialsRejected", "confirmed|likely")
	forbidden := bounds("cluster-config|undetermined", "AccessForbidden|AccessDeniedOrMissing|CredentialsRejected", "likely")
	hiddenOrMissing := bounds("cluster-config|undetermined|node-infrastructure", "AccessDeniedOrMissing|CredentialsMissing",
		"*")
	// answer makes a registry behind Basic authentication that answers the right login with
	// a status and a text.
	answer := func(name string, host func(*scene) *host, user string, code int, registryCode, text string, w want,
		never ...string) row {
		return row{
			name: name, kind: clouds,
			setup: func(s *scene) *subject {
				h, l := host(s), &login{user, randomWord()}
				image, _, _ := s.pushApp(h)
				refused := func(r *http.Request) bool { return isManifest(r) || code == http.StatusNotFound && isTagList(r) }
				refuse := replaceResponse(refused, func(w http.ResponseWriter, _ *http.Request) {
					lab.RegistryError(w,
						code, registryCode, text)
				})
				h.setFault(func(next http.Handler) http.Handler { return requireBasicAuth(l)(refuse(next)) })
				return &subject{image: image, auth: l, fix: func() { h.setFault(requireBasicAuth(l)) }}
			},
			runtime: runtimeResult{text: `.`, code: map[int]codes.Code{404: codes.NotFound}[code]}, want: w,
			never: append(never, "none * *"),
		}
	}
	failing := func(r row) row {
		if r.runtime.code == codes.OK {
			r.runtime.code = codes.Unknown
		}
		return r
	}
	return []row{
		ecr("ecr-without-a-login", ".dkr.ecr.eu-west-1.amazonaws.com"),
		ecr("ecr-fips-without-a-login", ".dkr.ecr-fips.us-gov-west-1.amazonaws.com"),
		ecr("ecr-china-without-a-login", ".dkr.ecr.cn-north-1.amazonaws.com.cn"),
		ecr("ecr-iso-without-a-login", ".dkr.ecr.us-iso-east-1.c2s.ic.gov"),
		ecr("ecr-dual-stack-without-a-login", ".dkr-ecr.eu-west-1.on.aws"),
		failing(answer("ecr-policy-forbids", func(s *scene) *host {
			return public(s,
				digits(12)+".dkr.ecr.eu-west-1.amazonaws.com")
		}, "AWS", 403, "DENIED",
			"User: arn:aws:sts::123456789012:assumed-role/node/i-0 is not authorized to perform: ecr:BatchGetImage on "+
				"resource: arn:aws:ecr:eu-west-1:123456789012:repository/app because no resource-based policy allows "+
				"the ecr:BatchGetImage action",
			bounds("cluster-config|node-infrastructure|undetermined", "AccessForbidden", "likely|confirmed"),
			"* CredentialsRejected|CredentialsExpired *")),
		refusal("acr-role-missing", azure, &login{"00000000-0000-0000-0000-000000000000", "refresh"}, 401, "UNAUTHORIZED",
			"authentication required, visit https://aka.ms/acr/authorization for more information.",
			bounds("cluster-config|node-infrastructure|undetermined",
				"CredentialsRejected|AccessForbidden|AccessDeniedOrMissing", "likely"), "* CredentialsRejected confirmed"),
		refusal("acr-without-a-login", azure, nil, 401, "UNAUTHORIZED",
			"authentication required, visit https://aka.ms/acr/authorization for more information.",
			bounds("node-infrastructure|undetermined", "CredentialsMissing|AccessDeniedOrMissing|CredentialProviderFailed",
				"likely|undetermined"), "* * confirmed"),
		refusal("acr-network-rule", azure, nil, 403, "DENIED",
			"client with IP '10.0.0.4' is not allowed access, refer https://aka.ms/acr/firewall to grant access",
			bounds("node-infrastructure|undetermined|cluster-config", "AccessForbidden|AccessDeniedOrMissing",
				"likely|undetermined"), "* * confirmed"),
		refusal("gar-without-a-login", func(s *scene) *host { return public(s, "europe-west4-docker.pkg.dev") }, nil, 403,
			"DENIED",
			`Unauthenticated request. Unauthenticated requests do not have permission `+
				`"artifactregistry.repositories.downloadArtifacts" on resource `+
				`"projects/p/locations/l/repositories/r" (or it may not exist)`,
			bounds("node-infrastructure|undetermined", "AccessDeniedOrMissing|CredentialsMissing|CredentialProviderFailed",
				"likely|undetermined"), "* * confirmed"),
		refusal("ghcr-private-or-missing", private, nil, 403, "DENIED", "requested access to the resource is denied",
			hiddenOrMissing),
		refusal("gitlab-wrong-password", private, newLogin(), 401, "UNAUTHORIZED",
			"HTTP Basic: Access denied. The provided password or token is incorrect", rejected),
		refusal("gitlab-token-without-scope", private, newLogin(), 403, "DENIED", "access forbidden", forbidden,
			"* * confirmed"),
		refusal("harbor-robot-disabled", private, &login{"robot$team+puller", "x" + randomWord()}, 401, "UNAUTHORIZED",
			"unauthorized: authentication required", rejected),
		refusal("quay-unknown-robot", private, &login{"team+robot", "x" + randomWord()}, 401, "UNAUTHORIZED",
			"Could not find robot with username: team+robot", rejected),
		refusal("docker-hub-account-limited", private, newLogin(), 429, "TOOMANYREQUESTS",
			"too many failed login attempts for username or IP address",
			bounds("registry", "RateLimited", "likely|confirmed")),
		failing(answer("nexus-no-permission", private, "puller", 403, "DENIED",
			"access to the requested resource is not authorized", bounds("cluster-config", "AccessForbidden",
				"likely|confirmed"))),
		failing(answer("artifactory-xray-blocks", private, "puller", 403, "DENIED",
			"Artifact download request rejected: app/manifest.json was not downloaded due to the download blocking "+
				"policy configured in Xray for docker-local.",
			bounds("cluster-config|registry", "AccessForbidden", "likely|confirmed"))),
		failing(answer("harbor-policy", private, "robot$team+puller", 412, "PROJECTPOLICYVIOLATION",
			"The image is not signed in Notary.",
			bounds("cluster-config|registry", "AccessForbidden", "likely|confirmed"))),
		answer("harbor-project-missing", private, "robot$team+puller", 404, "NOT_FOUND", "project team not found",
			bounds("cluster-config", "RepositoryNotFound|TagNotFound", "likely|confirmed")),
		answer("artifactory-repository-missing", private, "puller", 404, "MANIFEST_UNKNOWN",
			"The named manifest is not known to the registry.",
			bounds("cluster-config", "RepositoryNotFound|TagNotFound", "likely|confirmed")),
		failing(answer("registry-token-for-another-audience", private, "puller", 400, "UNSUPPORTED",
			"The operation is unsupported.",
			bounds("undetermined|registry", "Undetermined|RegistryUnavailable", "likely|undetermined"))),
		{
			name: "docker-hub-private-or-missing", kind: clouds,
			setup: func(s *scene) *subject {
				h, service := public(s, "registry-1.docker.io"), public(s, "auth.docker.io")
				_, repository, tag := s.pushApp(h)
				t := &tokenService{grant: grantOnly(newLogin())}
				h.setFault(t.requireToken(realmOf(service)))
				service.setFault(func(http.Handler) http.Handler { return t })
				return &subject{image: "docker.io/" + repository + ":" + tag, fix: func() { t.setGrant(grantAll) }}
			},
			runtime: fails(`insufficient_scope`),
			want:    bounds("cluster-config", "AccessDeniedOrMissing", "confirmed|likely", "pull"),
		},
	}
}
