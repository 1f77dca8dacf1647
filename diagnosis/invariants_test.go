package diagnosis_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// Invariants hold for every verdict: on the recordings of the fault matrix, with
// checks removed, made unknown, or replaced by those of another recording.
func FuzzInvariants(f *testing.F) {
	all := recordings(f)
	for seed := range uint64(600) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		row := all[r.IntN(len(all))]
		checks := mutated(r, row.Checks, all)
		for _, violation := range violations(checks) {
			t.Errorf("%s: %s\n%+v\nof %s", row.Row, violation, Diagnose(checks), list(checks))
		}
	})
}

// mutated returns the checks with random changes.
func mutated(r *rand.Rand, checks []Check, all []recording) []Check {
	out := slices.Clone(checks)
	if r.IntN(4) == 0 { // a message about something else
		for _, c := range all[r.IntN(len(all))].Checks {
			if i := slices.IndexFunc(out, func(o Check) bool { return o.ID == c.ID }); isMessage(c) && i >= 0 {
				out[i] = c
			} else if isMessage(c) {
				out = append(out, c)
			}
		}
	}
	for range r.IntN(6) {
		i := r.IntN(len(out))
		switch r.IntN(6) {
		case 0:
			out = slices.Delete(out, i, i+1)
		case 1:
			out[i] = endedAs(r, out[i], all)
		case 2:
			out[i] = withoutFact(r, out[i])
		default:
			out[i] = notMade(out[i], []Outcome{Unknown, Skipped, Error}[r.IntN(3)])
		}
		if len(out) == 0 {
			break
		}
	}
	if r.IntN(4) == 0 {
		out = slices.DeleteFunc(out, func(c Check) bool { return c.ID == "pull" })
	}
	return out
}

// notMade returns a check that was planned and not made.
func notMade(c Check, how Outcome) Check {
	return Check{ID: c.ID, Kind: c.Kind, Host: c.Host, Outcome: how, Summary: "not made"}
}

// endedAs returns a check with the result of one of its kind in another recording.
func endedAs(r *rand.Rand, c Check, all []recording) Check {
	var same []Check
	for _, row := range all {
		for _, o := range row.Checks {
			if o.Kind == c.Kind && strings.Count(o.ID, "/") == strings.Count(c.ID, "/") && o.BlockedBy == "" && !isMessage(o) {
				same = append(same, o)
			}
		}
	}
	if isMessage(c) || len(same) == 0 {
		return c
	}
	o := same[r.IntN(len(same))]
	o.ID, o.Host, o.Target = c.ID, c.Host, c.Target
	return o
}

// withoutFact returns a check that lacks a piece of its evidence.
func withoutFact(r *rand.Rand, c Check) Check {
	if len(c.Evidence) > 0 {
		c.Evidence = maps.Clone(c.Evidence)
		delete(c.Evidence, slices.Sorted(maps.Keys(c.Evidence))[r.IntN(len(c.Evidence))])
	}
	return c
}

func isMessage(c Check) bool { return c.ID == "pull" || c.ID == "pod" }

// violations lists the invariants that the verdict on these checks violates.
func violations(checks []Check) (out []string) {
	expect := func(ok bool, violation string) {
		if !ok {
			out = append(out, violation)
		}
	}
	before := slices.Clone(checks)
	v := Diagnose(checks)
	expect(cmp.Equal(v, Diagnose(checks)), "the same checks give another verdict")
	expect(cmp.Equal(before, checks), "Diagnose changes the checks")

	for i, id := range v.Because {
		expect(slices.ContainsFunc(checks, func(c Check) bool { return c.ID == id }), "because of "+id+", which does not exist")
		expect(!slices.Contains(v.Because[:i], id), "because of "+id+" twice")
	}
	open := len(v.WouldDecide) == 0 && v.Confidence == ConfidenceUndetermined && len(checks) > 0
	expect(v.Cause.Known() && v.Summary != "", "no cause, or no summary")
	expect(!strings.ContainsAny(v.Summary+v.Fix, "{}"), "a placeholder in summary or fix")
	expect((v.Fault == FaultNone) == (v.Cause.DefaultFault() == FaultNone), "a fault without a faulty cause, or the reverse")
	expect(v.Fault != FaultUndetermined || v.Confidence != Confirmed || len(v.WouldDecide) > 0, "fault undetermined, and nothing would decide")
	expect(v.Confidence != ConfidenceUndetermined || v.Cause == Undetermined, "a cause that is undetermined")
	expect(!open || v.Summary != Undetermined.Meaning(), "undetermined without a reason")
	expect(!slices.Contains(v.Also, v.Cause), "the cause is also another cause")
	return append(out, unsupported(checks, v)...)
}

// unsupported lists what the verdict claims without enough evidence.
func unsupported(checks []Check, v Verdict) (out []string) {
	expect := func(ok bool, violation string) {
		if !ok {
			out = append(out, violation)
		}
	}
	var message, check, proven bool // among what decided: a failure by the message, by a check; a message that proves it
	for _, id := range v.Because {
		c := Find(checks, id)
		message = message || isMessage(c) && c.Outcome == Fail
		check = check || !isMessage(c) && c.Outcome == Fail
		proven = proven || c.Is(KeyProven)
	}
	passed := slices.ContainsFunc(checks, func(c Check) bool {
		return c.Outcome == Pass && (c.Kind == KindPull || c.Kind == KindManifest || c.Kind == KindImage || c.Kind == KindBlob)
	})
	failed := slices.ContainsFunc(checks, func(c Check) bool { return c.Outcome == Fail })
	withoutFailure := []Cause{PullTimedOut, PullQueueLimited, ResolverWrongAnswer}
	expect(failed || v.Fault == FaultNone || v.Fault == FaultUndetermined || slices.Contains(withoutFailure, v.Cause),
		"a fault without a failed check")

	switch v.Cause {
	case Healthy, Recovered:
		expect(passed, "healthy, though nothing passed")
		expect(v.Confidence != Confirmed || Find(checks, IDPull).Outcome == Pass, "confirmed healthy without a pull")
	case InvalidReference, NotAPullProblem, Unscheduled: // the input alone proves them
	case RuntimeConfigStale: // what passes with the files fails in the process
		expect(v.Confidence != Confirmed || message, "confirmed without a message")
	default:
		expect(v.Confidence != Confirmed || proven || message && check, "confirmed by one source")
	}

	// With less evidence a verdict is not more certain.
	for _, id := range v.Because {
		less := slices.Clone(checks)
		for i, c := range less {
			if c.ID == id {
				less[i] = notMade(c, Unknown)
			}
		}
		got := Diagnose(less)
		expect(got.Cause != v.Cause || got.Fault != v.Fault || rank(got.Confidence) <= rank(v.Confidence), "more certain without "+id)
	}
	return out
}

func rank(c Confidence) int {
	return slices.Index([]Confidence{ConfidenceUndetermined, Likely, Confirmed}, c)
}

func list(checks []Check) string {
	var b strings.Builder
	for _, c := range checks {
		b.WriteString("\n  " + c.ID + " " + c.Outcome.String() + " " + string(c.Cause) + " by " + c.BlockedBy)
	}
	return b.String()
}
