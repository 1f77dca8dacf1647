package report_test

import (
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

// A fix for the node says only what was compared: images that were pulled from
// the registry before, or other hosts that are unreachable too.
func TestFixSaysWhatWasCompared(t *testing.T) {
	const before, nothing = "pulled here before", "nothing else can be reached"
	pulled := check(LocalID(host), KindImage, Pass, "", ev(KeyCount, "3"))
	none := check(LocalID(host), KindImage, Pass, "", ev(KeyCount, "0"))
	isolated := check(IDControl, KindControl, Fail, NetworkUnreachable)
	for _, cause := range []Cause{ConnectionRefused, ConnectionTimeout} {
		for _, tt := range []struct {
			name          string
			checks        []Check
			fault         Fault
			want, wantNot []string
		}{
			{"images are here", []Check{pulled}, FaultNode, []string{before, host}, []string{nothing}},
			{"nothing is reachable", []Check{none, isolated}, FaultNode, []string{nothing}, []string{before}},
			{"nothing is reachable, and images are here", []Check{pulled, isolated}, FaultNode, []string{nothing}, []string{before}},
			{"no comparison", []Check{none}, FaultUndetermined, nil, []string{before, nothing}},
		} {
			v := Diagnose(all(tt.checks, ladder(KindDial, cause)))
			if v.Fault != tt.fault {
				t.Errorf("%s: %s: fault %s", cause, tt.name, v.Fault)
			}
			for _, s := range tt.want {
				if !strings.Contains(v.Fix, s) {
					t.Errorf("%s: %s: no %q in %q", cause, tt.name, s, v.Fix)
				}
			}
			for _, s := range tt.wantNot {
				if strings.Contains(v.Fix, s) {
					t.Errorf("%s: %s: %q in %q", cause, tt.name, s, v.Fix)
				}
			}
		}
		if _, fix := Advice(cause, FaultNode, host, ""); strings.Contains(fix, before) || strings.Contains(fix, nothing) {
			t.Errorf("%s: advice without evidence compares: %q", cause, fix)
		}
	}
}

// The summary is the sentence of the check that found the cause. It follows a
// description of the cause if the check found only a symptom, or is a message.
func TestSummarySaysItOnce(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"own sentence", `tag "1" does not exist in registry.example/app`},
		{"host added", host + ": connection refused"},
		{"control added", host + ": connection refused; this node reaches 1 of 1 other hosts: mirror.example"},
		{"symptom", "a pull secret of the pod is not valid, so every pull of this pod fails: symptom"},
		{"message", "the image's content does not match its digest: unexpected EOF"},
	} {
		var checks []Check
		switch tt.name {
		case "own sentence":
			checks = all(ladder(KindManifest, TagNotFound, saying(`tag "1" does not exist in registry.example/app`)))
		case "host added":
			checks = all(ladder(KindDial, ConnectionRefused, saying("connection refused")))
		case "control added":
			checks = all(ladder(KindDial, ConnectionRefused, saying("connection refused")),
				check(IDControl, KindControl, Pass, "", saying("this node reaches 1 of 1 other hosts: mirror.example")))
		case "symptom":
			checks = all(check(IDPod, KindPod, Fail, PullSecretMalformed, ev(KeyProven, True), saying("symptom")))
		case "message":
			checks = all(with(reported(LayerCorrupt), saying("unexpected EOF")), ladder("", ""))
		}
		if v := Diagnose(checks); v.Summary != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, v.Summary, tt.want)
		}
	}
}

// An existing name that may be meant comes first.
func TestFixNamesWhatExists(t *testing.T) {
	for _, tt := range []struct {
		cause Cause
		edit  edit
		want  string
	}{
		{TagNotFound, ev(KeySuggestTag, "1.0"), "use the existing tag: kubectl -n shop set image pod/web CONTAINER=registry.example/app:1.0 " +
			"(or in the controller that owns the pod), or push registry.example/app:1"},
		{RepositoryNotFound, ev(KeySuggestRepository, "shop/app"), "use the existing repository: kubectl -n shop set image pod/web " +
			"CONTAINER=registry.example/shop/app:1 (or in the controller that owns the pod), or push registry.example/app:1"},
		{TagNotFound, nil, "push registry.example/app:1, or use an existing tag: kubectl -n shop set image pod/web " +
			"CONTAINER=registry.example/app:TAG (or in the controller that owns the pod)"},
	} {
		edits := []edit{tt.edit}
		if tt.edit == nil {
			edits = nil
		}
		if v := Diagnose(all(reported(tt.cause), ladder(KindManifest, tt.cause, edits...))); v.Fix != tt.want {
			t.Errorf("%s: %q, want %q", tt.cause, v.Fix, tt.want)
		}
	}
}

func TestExplanation(t *testing.T) {
	text := func(x Explanation) string {
		var b strings.Builder
		x.Text(&b)
		return b.String()
	}
	candidates := []Cause{AccessForbidden, AccessDeniedOrMissing, RateLimited, CredentialsExpired, TagNotFound}
	x := NewExplanation("unexpected status 403", Reading{Cause: AccessForbidden, Candidates: candidates, Host: host, Clause: "403 Forbidden"})
	if x.Fault != FaultConfig || x.Confidence != Likely || len(x.Alternatives) != 3 || x.Alternatives[0] != AccessDeniedOrMissing {
		t.Errorf("%+v", x)
	}
	want := `cluster-config  AccessForbidden  (likely)
  why          these credentials have no pull access to the repository: 403
               Forbidden
  fix          grant the account in the pull secret pull access to
               registry.example/REPOSITORY
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
