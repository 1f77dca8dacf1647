package report_test

import (
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

func TestExplanation(t *testing.T) {
	text := func(x Explanation) string {
		var b strings.Builder
		x.Text(&b)
		return b.String()
	}
	candidates := []Cause{AccessForbidden, AccessDeniedOrMissing, RateLimited, CredentialsExpired, TagNotFound}
	x := NewExplanation("unexpected status 403", Reading{Cause: AccessForbidden, Candidates: candidates, Host: "registry.example", Clause: "403 Forbidden"})
	if x.Fault != FaultConfig || x.Confidence != Likely || len(x.Alternatives) != 3 || x.Alternatives[0] != AccessDeniedOrMissing {
		t.Errorf("%+v", x)
	}
	want := `cluster-config  AccessForbidden  (likely)
  why          these credentials have no pull access to the repository: 403
               Forbidden
  fix          grant pull access to registry.example/REPOSITORY to the account
               in the pull credentials
  or           AccessDeniedOrMissing, RateLimited, CredentialsExpired
`
	if got := text(x); got != want {
		t.Errorf("%s", got)
	}
	fitsTerminal(t, text(x))

	x = NewExplanation("something odd", Reading{Cause: Undetermined})
	if x.Fault != FaultUndetermined || x.Confidence != ConfidenceUndetermined || x.Fix == "" || x.Alternatives == nil {
		t.Errorf("%+v", x)
	}
	if got := text(x); !strings.HasPrefix(got, "unknown: this message matches no known pull failure\n  fix ") {
		t.Errorf("%s", got)
	}
	fitsTerminal(t, text(x))

	if x := NewExplanation("", Reading{Cause: SignatureRejected, Step: "verifier", Proven: true}); x.Fault != FaultNode || x.Confidence != Confirmed {
		t.Errorf("%+v", x)
	}
}

// A host without a port gets that of HTTPS in commands that need one.
func TestFixHasOnePort(t *testing.T) {
	for name, want := range map[string]string{
		"r.example":          "r.example:443",
		"r.example:5000":     "r.example:5000",
		"[2001:db8::1]":      "[2001:db8::1]:443",
		"[2001:db8::1]:5000": "[2001:db8::1]:5000",
	} {
		if _, fix := Advice(TLSHandshakeFailed, FaultNode, Reading{Host: name}); !strings.HasSuffix(fix, "-connect "+want) {
			t.Errorf("%s: %s", name, fix)
		}
	}
}
