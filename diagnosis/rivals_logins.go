package diagnosis

import (
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rivalsOfLogins returns the rivals of the registry's answers to a login, or to none:
// CredentialsMissing, CredentialsRejected, CredentialsExpired, AccessForbidden.
func rivalsOfLogins() []rivalry {
	return []rivalry{
		{cause: report.CredentialsMissing, rivals: []rival{
			fromNode("login-from-the-node"),
			notARegistry("login-of-a-site", "the host name is misspelt, and a web site with its own login answers"),
			underAWildcard("login-under-a-wildcard",
				"the host name is misspelt, and a wildcard DNS record resolves it to another service with a login"),
		}},
		{cause: report.CredentialsRejected, rivals: []rival{
			notARegistry("password-of-a-site", "the host name is misspelt, and a web site with its own login answers"),
			ofAnotherSite("password-of-another-site"),
			{
				id:       "login-without-role",
				looks:    "the login is valid but has no access: some token services answer 401 then (Azure without the role AcrPull)",
				question: "check whether the login works for anything at {host}:\ndocker login {host}",
				excluded: func(f finding) bool {
					if facts.IsAzure(f.Host) || strings.HasPrefix(f.Decided(report.KeyUsedCredential), "provider ") {
						return false
					}
					basic := f.Manifest(report.KeyAuth) == "basic" && f.Manifest(report.KeyStatus) == "401"
					return basic || f.decidedOrToken(report.KeyLoginWorks) == "false" || f.Fact(report.TokenID(f.Host), report.KeyStatus) == "401"
				},
			},
		}},
		{cause: report.CredentialsExpired, rivals: []rival{
			{
				id:       "expiry-unknown",
				looks:    "the registry rejects the login for another reason than its age",
				question: "check when the credentials expire: they do not contain that time",
				excluded: func(f finding) bool { return f.Has(report.KeyCredentialExpires) || f.Has(report.KeyExpired) },
			},
		}},
		{cause: report.AccessForbidden, rivals: []rival{
			refusedByRegistry("refused-to-login", "-u USER "),
			{
				id:       "head-forbidden-to-login",
				looks:    "a firewall or gateway in front of the registry forbids HEAD and passes GET on",
				acts:     report.FaultRegistry,
				question: "compare the answers to GET and HEAD (-I for -i):\ncurl -i -u USER https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool {
					status := f.Manifest(report.KeyGetStatus)
					return !f.ForbiddenWithoutReason() || status != "" && status != "200" || f.Is(report.ManifestID(f.Host), report.KeyPolicy)
				},
			},
			{
				id:       "forbidden-may-be-expired",
				looks:    "the credentials have expired: some registries and token services answer 403 then",
				question: "check whether the credentials have expired: some registries answer 403 then",
				excluded: func(f finding) bool {
					token := f.Get(f.Get(report.ManifestID(f.Host)).BlockedBy).Kind == report.KindToken
					return f.Has(report.KeyCredentialExpires) || f.Manifest(report.KeyAuth) != "basic" && !token ||
						f.Is(report.ManifestID(f.Host), report.KeyPolicy)
				},
			},
			{
				id:       "existence-hidden",
				looks:    "the repository does not exist: the registry gives the same answer for it",
				acts:     report.FaultConfig,
				rare:     true,
				question: "check whether the repository exists: {host} answers the same for one that does not",
				excluded: func(f finding) bool { return f.Manifest(report.KeyExistence) != "hidden" },
			},
		}},
	}
}

// decidedOrToken returns a fact of a check that decided the verdict, or of the host's token
// service.
func (f finding) decidedOrToken(key string) string {
	if s := f.Decided(key); s != "" {
		return s
	}
	return f.Fact(report.TokenID(f.Host), key)
}

// fromNode returns the rival of causes in a pod's secrets: the credentials come from the node.
func fromNode(id string) rival {
	return rival{
		id:       id,
		looks:    "the node should supply the credentials (credential provider, docker configuration), and the pod needs no secret",
		acts:     report.FaultNode,
		question: "check whether a credential provider of {node} has credentials for {registry}",
		excluded: func(f finding) bool {
			c := f.Get(report.IDCredentials).Evidence
			return c[report.KeyPossibleProvider]+c[report.KeyExpectedProvider]+c[report.KeyProviderNotRun] == "" || f.WithLogin()
		},
	}
}

// rivalsOfSecrets returns the rivals of causes in the pod's pull secrets, and of those about
// images on the node, image verifiers and credential providers.
func rivalsOfSecrets() []rivalry {
	return []rivalry{
		{cause: report.PullSecretMissing, rivals: []rival{
			fromNode("missing-secret-not-needed"),
			{
				id:       "missing-secret-of-several",
				looks:    "the pod names several secrets, and the missing one is for another registry",
				question: "check which registry secret {secret} is meant for: the pod names several secrets",
				excluded: func(f finding) bool {
					return !strings.Contains(f.Fact(report.IDCredentials, report.KeyAbsent)+f.Fact(report.IDPod, report.KeyPullSecrets), ",")
				},
			},
			notARegistry("secret-for-a-site", "the host name is misspelt, and a web site with its own login answers"),
		}},
		{cause: report.PullSecretMalformed, rivals: []rival{
			{
				id:       "secret-passed-over",
				looks:    "the secret has the type Opaque, so the kubelet ignores it: the credentials are missing for another reason",
				question: "check the type of the secret: the kubelet ignores the type Opaque:\nkubectl -n {ns} get secret {secret}",
				excluded: func(f finding) bool {
					c := f.Get(report.IDCredentials)
					return c.Is(report.KeyFatal) || f.FailedHere(report.KindManifest)
				},
			},
		}},
		{cause: report.PullSecretOtherRegistry, rivals: []rival{
			fromNode("other-secret-not-needed"),
			notARegistry("other-secret-for-a-site", "the host name is misspelt, and a web site with its own login answers"),
		}},
		{cause: report.PullSecretNotAttached, rivals: []rival{
			fromNode("unattached-secret-not-needed"),
		}},
		{cause: report.NeverPullNotPresent, rivals: []rival{
			{
				id:       "present-for-others",
				looks:    "the image is on the node, but this pod may not use it: newer kubelets report the same",
				question: "check whether the image is on the node:\ncrictl images | grep {repository}",
				excluded: func(f finding) bool { return f.LocalImages().Evidence[report.KeyPresent] == "false" },
			},
		}},
		{cause: report.PresentNotAuthorized, rivals: []rival{
			{
				id:       "pulled-meanwhile",
				looks:    "the image was pulled to the node after the kubelet's last attempt",
				acts:     report.FaultNone,
				rare:     true,
				question: "wait for the kubelet's next attempt: the image may have been pulled to the node after the last attempt",
			},
		}},
		{cause: report.SignatureRejected, rivals: []rival{
			{
				id:       "verifier-not-run",
				looks:    "a verifier of the node failed, and neither approved nor rejected the image: no check can call the verifier",
				acts:     report.FaultNode,
				rare:     true,
				question: "read the verifier's own log on {node}",
			},
		}},
		{cause: report.CredentialProviderFailed, rivals: []rival{
			{
				id:       "provider-fails-here-only",
				looks:    "the provider fails only when pullprobe runs it, not when the kubelet does",
				question: "read the kubelet's log on {node}:\n{kubeletLog}",
				excluded: finding.Agreed,
			},
		}},
	}
}
