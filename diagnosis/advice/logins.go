package advice

import (
	"cmp"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// fixOfLogin returns the fix of a login that is missing or refused, where the fix of
// the cause does not apply: a password goes to no host that is not known to be a
// registry, and a node that gets its logins from a provider needs no secret.
func (a adviser) fixOfLogin() string {
	switch a.Cause {
	case report.CredentialsMissing, report.CredentialsRejected, report.AccessDeniedOrMissing, report.PullSecretMissing,
		report.PullSecretOtherRegistry:
	default:
		return ""
	}
	switch {
	case len(a.Hosts()) > 0 && (!a.IsRegistry() || a.UnderWildcard()):
		return "check first whether {host} is the intended registry, and send it no password before: a misspelt name may resolve to it:\n" +
			"curl -i https://{host}/v2/"
	case a.names.Provider != "" &&
		(a.Fault == report.FaultUndetermined || a.Fault == report.FaultNode && a.Cause.FixOnlyFor(report.FaultNode) == ""):
		return "find out on {node} why {provider} returned no credentials:\n{kubeletLog}\n" +
			"if it gave one, check the name {registry}/{repository}"
	}
	return ""
}

// fixOfProvider returns the fix of a login that is missing because the cluster's
// configuration keeps the kubelet from running a credential provider for the pod.
func (a adviser) fixOfProvider() string {
	if a.Cause != report.CredentialsMissing || a.Fault != report.FaultConfig {
		return ""
	}
	for _, c := range a.Below(report.FamilyProvider) {
		switch provider := "credential provider " + c.Target; {
		case c.Is(report.KeyKubeletToo):
			return "let the nodes request tokens for the audience of " + provider + " (verb request-serviceaccounts-token-audience, " +
				"the audience as the resource, for the group system:nodes), or give the pod a pull secret for {registry}"
		case c.Evidence[report.KeyAnnotation] != "":
			return "set the annotation " + c.Evidence[report.KeyAnnotation] + " of ServiceAccount {sa}, which " + provider +
				" requires, or give the pod a pull secret for {registry}"
		}
	}
	return ""
}

// fixOfRefusal returns the fix of a refusal for which the registry has a reason of
// its own.
func (a adviser) fixOfRefusal() string {
	reason := a.Decided(report.KeyRefusedFor)
	if a.Decided(report.KeyPolicy) == report.True {
		reason = "policy"
	}
	if a.Cause != report.AccessForbidden && a.Cause != report.AccessDeniedOrMissing {
		return ""
	}
	switch reason {
	case "", "none":
		return ""
	case "quota", "billing":
		return "ask the owner of the project on {host} to settle its " + reason + ": the registry refuses for that, not for the login"
	case "quarantine":
		return "wait until {host} has scanned {repository}:{tag}, or ask its operator why it is quarantined"
	case "owner":
		return "ask the owner of {repository} on {host} to let this account pull (the repository's policy), or correct the name"
	case "country", "network":
		return "ask the operator of {host} to allow this " + reason + ", or pull through a mirror that it allows"
	}
	return "correct what the rule of {host} objects to in {repository}:{tag} (vulnerabilities, signature), " +
		"or ask its operator for an exception"
}

// fixOfSecret returns the fix of a pull secret, by what is known of it.
func (a adviser) fixOfSecret() string {
	secret := a.Get(report.IDCredentials).Evidence
	several := strings.Contains(secret[report.KeyAbsent]+a.Fact(report.IDPod, report.KeyPullSecrets), ",")
	switch {
	case a.Cause == report.PullSecretNotAttached && a.Fact(report.IDCredentialsAccount, report.KeyWhy) == "later":
		return "recreate the pod: secret {secret} was added to ServiceAccount {sa} after the pod was created, and only new pods get it"
	case a.Cause == report.PullSecretNotAttached && a.Fact(report.IDCredentialsAccount, report.KeyWhy) == "podListsOwn":
		return "add {secret} to the pod's own imagePullSecrets: a pod that lists some gets none of ServiceAccount {sa}"
	case a.Cause == report.PullSecretMalformed && strings.Contains(secret[report.KeySecret], "/"): // the path of a file
		return "log in to {registry} again, which writes {secret}"
	case a.Cause == report.PullSecretMalformed && a.Failed(report.IDCredentials) && secret[report.KeyFatal] == "" &&
		a.Kubelet.Cause != report.PullSecretMalformed:
		// It may serve another purpose: to recreate it would take it away.
		return "the kubelet ignores {secret}: it needs the type kubernetes.io/dockerconfigjson, and a type cannot be changed.\n" +
			"1. create another one, with your values for <USER> and <PASSWORD>:\n" + report.CreateNewSecret + "\n2. {attach}"
	case a.Cause == report.PullSecretMissing && several: // which of them is for this registry is not known
		return a.Cause.FixInWords()
	case (a.Cause == report.PullSecretMissing || a.Cause == report.CredentialsMissing && a.Fault == report.FaultConfig) &&
		a.Fact(report.IDPod, report.KeySimilarSecret) != "":
		return a.fixOfSecretOfOthers()
	case a.Cause == report.RateLimited && a.Fault == report.FaultRegistry && !a.names.Lacks("{ns}{pod}") && a.hasNoLogin():
		return report.LogInAtLimit
	case a.Cause == report.CredentialsMissing && a.LoginsUnread():
		return "check that the pull secrets of the pod exist, and that one is for {registry}; pullprobe cannot read them:\n" +
			"kubectl -n {ns} get secrets " + strings.ReplaceAll(a.Fact(report.IDPod, report.KeyPullSecrets), ",", " ")
	case a.Cause != report.CredentialsRejected || a.Fault == report.FaultNode:
		return ""
	case facts.IsAzure(a.names.Host):
		return "put valid credentials for {registry} into {source}; if they are valid, grant their identity the role AcrPull: " +
			"Azure answers 401 in both cases"
	}
	name, ok := strings.CutPrefix(a.names.Source, "secret ")
	if !ok || strings.Contains(name, ",") { // it has several registries, which a new one would lack
		return a.Cause.FixInWords()
	}
	ns, name := cutNamespace(name)
	return strings.NewReplacer("{secret}", name, "{ns}", cmp.Or(ns, "{ns}")).Replace(a.Cause.Fix(report.FaultNone))
}

// hasNoLogin reports whether the deciding request had no credentials, and none were left out.
func (a adviser) hasNoLogin() bool {
	return a.Decided(report.KeyAnonymous) == report.True && a.Fact(report.IDCredentials, report.KeyUnreadable) == "" &&
		a.Fact(report.IDPod, report.KeyPullSecrets) == ""
}

// fixOfSecretOfOthers returns the fix where the pod probably means a secret that other pods
// of its namespace use.
func (a adviser) fixOfSecretOfOthers() string {
	name, users := a.Fact(report.IDPod, report.KeySimilarSecret), a.Fact(report.IDPod, report.KeySimilarUsers)
	used := users + " other pods of namespace {ns} on this node use"
	if users == "1" {
		used = "another pod of namespace {ns} on this node uses"
	}
	create := "create {secret}, with your values for <USER> and <PASSWORD>:\n" + report.CreateSecret
	if a.Fact(report.IDPod, report.KeySimilarFor) != "" {
		used += " for {registry}"
	}
	if a.Cause == report.CredentialsMissing {
		create = "create another secret, with your values for <USER> and <PASSWORD>, and list that one:\n" + report.CreateNewSecret
	}
	attach := strings.Replace(strings.Replace(a.names.Attach, "list it", "list "+name, 1), `"{newSecret}"`, `"`+name+`"`, 1)
	if a.Cause == report.PullSecretMissing { // else the kubelet goes on to warn of it
		attach = strings.Replace(attach, `{"name":"`+name+`"}]`, `{"name":"`+name+`"},{"$patch":"delete","name":"{secret}"}]`, 1)
	}
	return "1. check whether the pod should use secret " + name + ", which " + used + ":\nkubectl -n {ns} get secret " + name +
		"\n2. if it should, " + attach + "\n3. if not, " + create
}

// cutNamespace splits NAMESPACE/NAME; the namespace may be missing.
func cutNamespace(s string) (ns, name string) {
	i := strings.LastIndex(s, "/")
	return s[:max(i, 0)], s[i+1:]
}
