package diagnosis

import (
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rivalsOfLogins are those of answers to a login, or to none.
func rivalsOfLogins() []rivalry {
	return []rivalry{
		{cause: report.CredentialsMissing, rivals: []rival{
			fromNode("login-from-the-node"),
			notARegistry("login-of-a-site", "a web site with a login of its own, where a misspelt host leads"),
			underAWildcard("login-under-a-wildcard", "a misspelt host that a wildcard record leads to something else with a login"),
		}},
		{cause: report.CredentialsRejected, rivals: []rival{
			notARegistry("password-of-a-site", "a web site with a login of its own, where a misspelt host leads"),
			ofAnotherSite("password-of-another-site"),
			{
				id:       "login-without-role",
				looks:    "a valid login without access: some token services answer 401 then (Azure without the role AcrPull)",
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
				looks:    "a login that is rejected for another reason",
				question: "check when the credentials expire: they do not say it",
				excluded: func(f finding) bool { return f.Has(report.KeyCredentialExpires) || f.Has(report.KeyExpired) },
			},
		}},
		{cause: report.AccessForbidden, rivals: []rival{
			refusedOtherwise("refused-to-login", "-u USER "),
			{
				id:       "head-forbidden-to-login",
				looks:    "a firewall or gateway in front of the registry that forbids HEAD and passes GET on",
				acts:     report.FaultRegistry,
				question: "compare the answers to GET and HEAD (-I for -i):\ncurl -i -u USER https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool {
					status := f.Manifest(report.KeyGetStatus)
					return !f.ForbiddenWithoutReason() || status != "" && status != "200" || f.Is(report.ManifestID(f.Host), report.KeyPolicy)
				},
			},
			{
				id:       "forbidden-may-be-expired",
				looks:    "an expired login: some registries and token services answer 403 then",
				question: "check whether the credentials have expired: some registries answer 403 then",
				excluded: func(f finding) bool {
					token := f.Get(f.Get(report.ManifestID(f.Host)).BlockedBy).Kind == report.KindToken
					return f.Has(report.KeyCredentialExpires) || f.Manifest(report.KeyAuth) != "basic" && !token ||
						f.Is(report.ManifestID(f.Host), report.KeyPolicy)
				},
			},
			{
				id:       "existence-hidden",
				looks:    "a repository that does not exist: the registry gives the same answer for it",
				acts:     report.FaultConfig,
				rare:     true,
				question: "check whether the repository exists: {host} answers the same for one that does not",
				excluded: func(f finding) bool { return f.Manifest(report.KeyExistence) != "hidden" },
			},
		}},
	}
}

// decidedOrToken returns a fact of a check that decided, or of the host's token
// service.
func (f finding) decidedOrToken(key string) string {
	if s := f.Decided(key); s != "" {
		return s
	}
	return f.Fact(report.TokenID(f.Host), key)
}

// fromNode is the rival of causes in a pod's secrets: the login comes from the node.
func fromNode(id string) rival {
	return rival{
		id:       id,
		looks:    "a login that the node itself should supply (credential provider, docker configuration), whatever secrets the pod has",
		acts:     report.FaultNode,
		question: "check whether a credential provider of {node} has the login for {registry}",
		excluded: func(f finding) bool {
			c := f.Get(report.IDCredentials).Evidence
			return c[report.KeyPossibleProvider]+c[report.KeyExpectedProvider]+c[report.KeyProviderNotRun] == "" || f.WithLogin()
		},
	}
}

// rivalsOfSecrets are those of the pod's pull secrets.
func rivalsOfSecrets() []rivalry {
	return []rivalry{
		{cause: report.PullSecretMissing, rivals: []rival{
			fromNode("missing-secret-not-needed"),
			{
				id:       "missing-secret-of-several",
				looks:    "a pod with several secrets, of which the missing one is for another registry",
				question: "check which registry secret {secret} is meant for: the pod names several",
				excluded: func(f finding) bool {
					return !strings.Contains(f.Fact(report.IDCredentials, report.KeyAbsent)+f.Fact(report.IDPod, report.KeyPullSecrets), ",")
				},
			},
			notARegistry("secret-for-a-site", "a web site with a login of its own, where a misspelt host leads"),
		}},
		{cause: report.PullSecretMalformed, rivals: []rival{
			{
				id:       "secret-passed-over",
				looks:    "a secret of type Opaque, which the kubelet ignores: the login is missing for another reason",
				question: "check the type of the secret: the kubelet ignores Opaque ones:\nkubectl -n {ns} get secret {secret}",
				excluded: func(f finding) bool {
					c := f.Get(report.IDCredentials)
					return c.Is(report.KeyFatal) || f.FailedHere(report.KindManifest)
				},
			},
		}},
		{cause: report.PullSecretOtherRegistry, rivals: []rival{
			fromNode("other-secret-not-needed"),
			notARegistry("other-secret-for-a-site", "a web site with a login of its own, where a misspelt host leads"),
		}},
		{cause: report.PullSecretNotAttached, rivals: []rival{
			fromNode("unattached-secret-not-needed"),
		}},
		{cause: report.NeverPullNotPresent, rivals: []rival{
			{
				id:       "present-for-others",
				looks:    "an image that is on the node and that this pod may not use: newer kubelets report the same",
				question: "check whether the image is on the node:\ncrictl images | grep {repository}",
				excluded: func(f finding) bool { return f.LocalImages().Evidence[report.KeyPresent] == "false" },
			},
		}},
		{cause: report.PresentNotAuthorized, rivals: []rival{
			{
				id:       "pulled-meanwhile",
				looks:    "an image that was pulled to the node after the kubelet's last attempt",
				acts:     report.FaultNone,
				rare:     true,
				question: "wait for the kubelet's next attempt: the image may have been pulled to the node after its last one",
			},
		}},
		{cause: report.SignatureRejected, rivals: []rival{
			{
				id:       "verifier-not-run",
				looks:    "a verifier of the node that fails instead of deciding: no check can call it",
				acts:     report.FaultNode,
				rare:     true,
				question: "read the verifier's own log on {node}",
			},
		}},
		{cause: report.CredentialProviderFailed, rivals: []rival{
			{
				id:       "provider-fails-here-only",
				looks:    "a provider that fails when pullprobe runs it, and not when the kubelet does",
				question: "read the kubelet's log on {node}:\n{kubeletLog}",
				excluded: finding.Agreed,
			},
		}},
	}
}
