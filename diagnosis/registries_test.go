package diagnosis_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
)

// registryFailures are the rows of the fault matrix that simulate what a registry
// documents, in the order of docs/registries.md.
var registryFailures = []struct{ registry, failure, answer, row string }{
	{"Amazon ECR", "no login", "401, Basic challenge", "ecr-without-a-login"},
	{"", "no login, FIPS endpoint", "401, Basic challenge", "ecr-fips-without-a-login"},
	{"", "no login, China", "401, Basic challenge", "ecr-china-without-a-login"},
	{"", "no login, isolated region", "401, Basic challenge", "ecr-iso-without-a-login"},
	{"", "no login, dual-stack endpoint", "401, Basic challenge", "ecr-dual-stack-without-a-login"},
	{"", "the repository's policy forbids it", "403 to the login", "ecr-policy-forbids"},
	{"Azure ACR", "no login", "401 from the token service", "acr-without-a-login"},
	{"", "the identity has no role AcrPull", "401 from the token service", "acr-role-missing"},
	{"", "a network rule forbids the address", "403 from the token service", "acr-network-rule"},
	{"Google Artifact Registry", "no login", "403 from the token service", "gar-without-a-login"},
	{"Docker Hub", "private or missing", "401, insufficient_scope", "docker-hub-private-or-missing"},
	{"", "too many failed logins", "429 from the token service", "docker-hub-account-limited"},
	{"GHCR", "private or missing", "403 from the token service", "ghcr-private-or-missing"},
	{"Quay", "the robot does not exist", "401 from the token service", "quay-unknown-robot"},
	{"GitLab", "wrong password", "401 from the token service", "gitlab-wrong-password"},
	{"", "the token lacks the scope `read_registry`", "403 from the token service", "gitlab-token-without-scope"},
	{"Harbor", "the robot is disabled", "401 from the token service", "harbor-robot-disabled"},
	{"", "the project does not exist", "404 to the login", "harbor-project-missing"},
	{"", "a policy forbids the image", "412", "harbor-policy"},
	{"Nexus", "the user has no permission", "403 to the login", "nexus-no-permission"},
	{"Artifactory", "Xray blocks the image", "403 to the login", "artifactory-xray-blocks"},
	{"", "the repository does not exist", "404 to the login", "artifactory-repository-missing"},
	{"", "hidden repository, login never asked for", "404, no challenge", "hidden-without-a-challenge-to-a-login-never-used"},
}

// docs/registries.md says what the verdict is for every documented failure of a
// registry: -update writes it from the recordings.
func TestRegistriesAreDocumented(t *testing.T) {
	rows := map[string]recording{}
	for _, r := range recordings(t) {
		rows[r.Row] = r
	}
	var want strings.Builder
	want.WriteString("| registry | failure | its answer | cause | confidence | who acts |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range registryFailures {
		r, ok := rows[f.row]
		if !ok {
			t.Errorf("the matrix has no row %s", f.row)
			continue
		}
		v := Diagnose(r.Checks)
		fmt.Fprintf(&want, "| %s | %s | %s | `%s` | %s | %s |\n", f.registry, f.failure, f.answer, v.Cause, v.Confidence, v.Fault)
	}
	expectSection(t, "../docs/registries.md", "failures", want.String())
}
