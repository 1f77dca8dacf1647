package diagnosis_test

import (
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// A test pull without credentials proves nothing against a kubelet whose own credentials
// are not known here, whatever its message is about.
func TestAnonymousPullAgainstUnknownLogins(t *testing.T) {
	credentials := check("credentials", KindCredentials, Pass, "",
		ev("unknown", "the node's docker config file and credential providers", "node", "unknown"))
	pull := check("pull", KindPull, Pass, "", ev("auth", "anonymous"))
	for name, message := range map[string]Check{
		"a limit of the account":                      reported(RateLimited),
		"an account without access":                   reported(AccessDeniedOrMissing, CredentialsMissing, RepositoryNotFound),
		"a token service that fails for a login":      reported(TokenServiceFailed, RegistryUnavailable),
		"a registry that hides from the node's login": reported(TagNotFound, RepositoryNotFound, AccessDeniedOrMissing),
	} {
		v := Diagnose(all(message, credentials, pullable(), pull))
		if v.Cause == Recovered && v.Confidence == Confirmed {
			t.Errorf("%s: %s %s %s: %s", name, v.Fault, v.Cause, v.Confidence, v.Fix)
		}
	}
}
