package credentials

import (
	"slices"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// Bounds of what a tenant's secret can bring about: how many credentials that
// apply are tried, and how many that do not have a check of their own.
const (
	maxTried  = 8
	maxOthers = 4
)

// soon is how long before its end a password is warned about.
const soon = time.Hour

// candidates makes a check for each credential: first those that apply, in the
// kubelet's order, then what does not apply, and why.
func (w *walk) candidates() {
	number := 0
	next := func() string {
		number++
		return "credentials/" + strconv.Itoa(number)
	}
	all := slices.Concat(w.matched, w.runtimeOwn())
	for i, c := range all {
		if number == 2*maxTried {
			break
		}
		check := w.applies(c)
		check.ID = next()
		check.Evidence["order"] = strconv.Itoa(i + 1)
		w.tried = append(w.tried, check)
	}
	for i, c := range w.others {
		if i == maxOthers {
			break
		}
		why := mismatch(c.Server, w.repository)
		w.tried = append(w.tried, report.Check{
			ID: next(), Kind: report.KindCredentials, Target: c.Source, Outcome: report.Pass, Summary: c.String() + " does not apply: " + why,
			Evidence: map[string]string{"source": c.Source, "server": c.server(), "applies": "false", "why": why},
		})
	}
	if more := len(all) + len(w.others) - len(w.tried); more > 0 {
		w.check.Evidence["more"] = strconv.Itoa(more)
	}
}

// applies is the check of a credential that applies.
func (w *walk) applies(c Credential) report.Check {
	e := map[string]string{"source": c.Source, "server": c.server(), "applies": "true"}
	check := report.Check{Kind: report.KindCredentials, Target: c.Source, Outcome: report.Pass, Evidence: e, Summary: c.Source + " applies as " + c.server()}
	if c.Host != "" {
		check.Host = clean(c.Host)
		check.Summary = "the kubelet has none, so containerd's own credentials for " + check.Host + " apply (" + c.Source + ")"
	}
	if c.Note != "" {
		e["note"] = c.Note
		check.Summary += "; " + c.Note
	}
	if c.anonymous() {
		e["empty"] = "true"
		check.Summary += "; it has no user name, so the runtime asks as nobody"
	}
	at, ok := Expiry(c.Password)
	if !ok || w.now.IsZero() {
		return check
	}
	e["expires"] = at.UTC().Format(time.RFC3339)
	left := at.Sub(w.now)
	switch {
	case left <= 0:
		e["expired"] = "true"
		check.Outcome, check.Cause = report.Fail, report.CredentialsExpired
		check.Summary = c.Source + " expired at " + clock(at) + " (" + span(-left) + " ago); while it is there, the kubelet does not pull without it"
	case left < soon:
		e["expiresSoon"] = "true"
		check.Summary += "; it expires at " + clock(at) + ", in " + span(left)
	default:
		check.Summary += "; it expires at " + clock(at)
	}
	if c.Note == "" && w.check.Evidence["expires"] == "" {
		w.check.Evidence["expires"] = e["expires"]
	}
	if e["expired"] != "" {
		w.check.Evidence["expired"] = c.Source
	}
	return check
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span is a duration for people, with as much of it as matters.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d.Hours()/24)) + " days"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(max(int(d.Minutes()), 1)) + " min"
}
