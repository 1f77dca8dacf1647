package refusal

import (
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
)

// A 401 of a token service says whether it is about the login.
func TestReasonOfLogin(t *testing.T) {
	for _, tt := range []struct{ product, body, want string }{
		{"nothing", "", None},
		{"nothing but a code", `{"errors":[{"code":"UNAUTHORIZED"}]}`, None},
		{"distribution", probetest.OCIError("UNAUTHORIZED", "authentication required"), None},
		{"Docker Hub", `{"details":"incorrect username or password"}`, None},
		{"Harbor", probetest.OCIError("UNAUTHORIZED", "unauthorized: unauthorized to access repository: library/app, action: pull"), None},
		{"Quay", `{"error":"Could not find robot with username: acme+node and supplied password."}`, None},
		{"Quay, user", `{"error":"Invalid username or password."}`, None},
		{"GitLab", `{"errors":[{"code":"UNAUTHORIZED","message":"HTTP Basic: Access denied"}]}`, None},
		{"ACR", probetest.OCIError("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information."), None},
		{"Artifactory", `{"errors":[{"status":401,"message":"Bad credentials"}]}`, None},
		{"Keycloak", `{"error":"invalid_grant","error_description":"Invalid user credentials"}`, None},
		{"plain text", "Unauthorized\n", None},
		{"a directory that is down", probetest.OCIError("UNAUTHORIZED", "identity provider is not reachable: dial tcp 10.0.0.5:636: connect: connection refused"), Other},
		{"a clock", probetest.OCIError("UNAUTHORIZED", "request expired: the client's clock differs by more than 5 minutes"), Other},
		{"locked", probetest.OCIError("UNAUTHORIZED", "account is locked: too many failed login attempts, try again in 15 minutes"), Other},
		{"another language", probetest.OCIError("UNAUTHORIZED", "Zugang gesperrt: Prüfung läuft"), Other},
		{"a page", "<html><body>Unauthorized</body></html>", ""},
		{"other words", probetest.OCIError("DENIED", "as it pleases"), ""},
	} {
		if got := ReasonOfLogin(tt.body); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.product, got, tt.want)
		}
	}
}
