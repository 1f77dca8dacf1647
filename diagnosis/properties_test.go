package diagnosis_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// evidenceOfTests returns the evidence of every situation, recording and rival.
func evidenceOfTests(t *testing.T) map[string][]Check {
	t.Helper()
	out := map[string][]Check{}
	for _, s := range situations() {
		out["situation "+s.name] = s.checks
	}
	for _, r := range recordings(t) {
		out["recording "+r.Row] = r.Checks
	}
	for _, c := range rivalCases() {
		out["rival "+c.id] = c.open
	}
	return out
}

// What a check did not see lowers every verdict that rests on it, whatever the cause.
func TestWeakChecksConfirmNothing(t *testing.T) {
	weak := map[string]string{KeyRemembered: True, KeyDeadline: True, KeyLoginNotSent: "the token service has no TLS"}
	n := 0
	for name, checks := range evidenceOfTests(t) {
		v := Diagnose(checks)
		if v.Confidence != Confirmed || v.Fault == FaultNone {
			continue
		}
		for _, id := range v.Because {
			c := Find(checks, id)
			if isMessage(c) || c.Outcome != Fail {
				continue
			}
			for key, value := range weak {
				if key == KeyRemembered && c.Evidence[KeyAnsweredAt] != "" {
					continue // the answer to the same request
				}
				n++
				if got := Diagnose(set(checks, id, key, value)); got.Cause == v.Cause && got.Confidence == Confirmed {
					t.Errorf("%s: %s is confirmed with %s of %s", name, v.Cause, key, id)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d cases", n)
	}
}

// A password goes to no host that is not known to be a registry: no verdict on an
// answer of one is confirmed, and no fix has the command for it.
func TestNoLoginForAWebSite(t *testing.T) {
	answers := []Cause{CredentialsMissing, CredentialsRejected, AccessDeniedOrMissing, TagNotFound, RepositoryNotFound,
		PullSecretMissing, PullSecretOtherRegistry}
	n := 0
	for name, checks := range evidenceOfTests(t) {
		site := slices.Clone(checks)
		for _, c := range checks {
			if c.Kind == KindRegistry {
				site = set(site, c.ID, KeyIsRegistry, "false")
			}
		}
		v := Diagnose(site)
		if !slices.Contains(answers, v.Cause) || strings.HasPrefix(v.Because[0], "blob/") || !slices.ContainsFunc(site, func(c Check) bool { return c.Kind == KindRegistry }) {
			continue
		}
		n++
		if strings.Contains(v.Fix, "create secret") {
			t.Errorf("%s: %s: %s", name, v.Cause, v.Fix)
		}
		if v.Confidence == Confirmed {
			t.Errorf("%s: %s is confirmed for a host that is no registry", name, v.Cause)
		}
	}
	if n < 50 {
		t.Errorf("only %d cases", n)
	}
}

// A verdict is confirmed, or says what would confirm it. Whatever is wrong has a fix,
// without words that stand for what is not known, and without a command that removes
// what the node may not be able to pull again.
func TestVerdictsAreOfUse(t *testing.T) {
	blank := regexp.MustCompile(`\b(NAMESPACE|POD|CONTAINER|SECRET|IMAGE|REGISTRY|REPOSITORY|TAG)\b|--prune`)
	for name, checks := range evidenceOfTests(t) {
		v := Diagnose(checks)
		if v.Fault == FaultNone || len(checks) == 0 {
			continue
		}
		if v.Confidence != Confirmed && len(v.WouldDecide) == 0 {
			t.Errorf("%s: %s %s, and nothing would decide", name, v.Cause, v.Confidence)
		}
		if v.Fix == "" || blank.MatchString(v.Fix) {
			t.Errorf("%s: %s: fix %q", name, v.Cause, v.Fix)
		}
	}
}
