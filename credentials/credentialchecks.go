package credentials

import (
	"slices"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// A tenant's secret can have any number of entries, so these bound how many
// credentials that apply are tried, and how many others have a check.
const (
	maxCandidates = 8
	maxMismatched = 4
)

// expiryWarning is how long before its expiry a password is reported.
const expiryWarning = time.Hour

// addCandidates adds a check for each credential: first those that apply, in
// the kubelet's order, then those that do not.
func (r *resolver) addCandidates() {
	add := func(c report.Check) {
		c.ID = "credentials/" + strconv.Itoa(len(r.candidates)+1)
		r.candidates = append(r.candidates, c)
	}
	all := slices.Concat(r.matched, r.ownCredentials())
	for i, c := range all[:min(len(all), 2*maxCandidates)] {
		check := credentialCheck(c, r.now)
		check.Evidence["order"] = strconv.Itoa(i + 1)
		e := r.overall.Evidence
		if c.Note == "" && e["expires"] == "" && check.Evidence["expires"] != "" {
			e["expires"] = check.Evidence["expires"]
		}
		if check.Evidence["expired"] != "" {
			e["expired"] = c.Source
		}
		add(check)
	}
	for _, c := range r.mismatched[:min(len(r.mismatched), maxMismatched)] {
		why := mismatch(c.Server, r.repository)
		if len(r.malformed) > 0 && len(newKeyring([]Credential{c}).Lookup(r.repository)) > 0 {
			why = "another pull secret of the pod is not valid, so every pull fails"
		}
		add(mismatchCheck(c, why))
	}
	if more := len(all) + len(r.mismatched) - len(r.candidates); more > 0 {
		r.overall.Evidence["more"] = strconv.Itoa(more)
	}
}

// mismatchCheck returns the check of a credential that does not apply, and why.
func mismatchCheck(c Credential, why string) report.Check {
	check := newCheck("")
	check.Target = c.Source
	check.Summary = c.String() + " does not apply: " + why
	check.Evidence["source"], check.Evidence["server"] = c.Source, c.server()
	check.Evidence["applies"], check.Evidence["why"] = "false", why
	return check
}

// credentialCheck returns the check of a credential that applies.
func credentialCheck(c Credential, now time.Time) report.Check {
	check := newCheck("")
	check.Target = c.Source
	check.Summary = c.String() + " applies"
	e := check.Evidence
	e["source"], e["server"], e["applies"] = c.Source, c.server(), "true"
	if c.Host != "" {
		check.Host = clean(c.Host)
		check.Summary = "containerd uses its own credentials for " + check.Host + " (" + c.Source + "), because the kubelet has none"
	}
	if c.Note != "" {
		e["note"] = c.Note
		check.Summary += "; " + c.Note
	}
	if c.anonymous() {
		e["empty"] = "true"
		check.Summary += "; it has no user name, so the runtime pulls anonymously"
	}
	at, ok := Expiry(c.Password)
	if !ok || now.IsZero() {
		return check
	}
	e["expires"] = at.UTC().Format(time.RFC3339)
	left := at.Sub(now)
	switch {
	case left <= 0:
		e["expired"] = "true"
		check.Outcome, check.Cause = report.Fail, report.CredentialsExpired
		check.Summary = c.Source + " expired at " + formatTime(at) + " (" + roughDuration(-left) +
			" ago); while it exists, the kubelet does not pull anonymously"
	case left < expiryWarning:
		e["expiresSoon"] = "true"
		check.Summary += "; it expires in " + roughDuration(left) + ", at " + formatTime(at)
	default:
		check.Summary += "; it expires at " + formatTime(at)
	}
	return check
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// roughDuration formats a duration in its largest useful unit.
func roughDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d.Hours()/24)) + " days"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(max(int(d.Minutes()), 1)) + " min"
}
