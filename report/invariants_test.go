package report_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

// What holds of every verdict, whatever the evidence: the recordings of the
// fault matrix, with checks taken away, made unknown, or put in from another
// recording's runtime or kubelet.
func FuzzInvariants(f *testing.F) {
	all := recordings(f)
	for seed := range uint64(600) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		row := all[r.IntN(len(all))]
		checks := mutated(r, row.Checks, all)
		for _, wrong := range broken(checks) {
			t.Errorf("%s: %s\n%+v\nof %s", row.Row, wrong, Diagnose(checks), list(checks))
		}
	})
}

// mutated is evidence that could have come of a day with less luck.
func mutated(r *rand.Rand, checks []Check, all []recording) []Check {
	out := slices.Clone(checks)
	if r.IntN(4) == 0 { // words about something else
		for _, c := range all[r.IntN(len(all))].Checks {
			if i := slices.IndexFunc(out, func(o Check) bool { return o.ID == c.ID }); isWords(c) && i >= 0 {
				out[i] = c
			} else if isWords(c) {
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
			out[i] = ended(r, out[i], all)
		case 2:
			out[i] = forgetful(r, out[i])
		default:
			out[i] = never(out[i], []Outcome{Unknown, Skipped, Error}[r.IntN(3)])
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

// never is a check that was planned, and not made.
func never(c Check, how Outcome) Check {
	return Check{ID: c.ID, Kind: c.Kind, Host: c.Host, Outcome: how, Summary: "never made"}
}

// ended is a check that ended as one of its kind did in another recording.
func ended(r *rand.Rand, c Check, all []recording) Check {
	var same []Check
	for _, row := range all {
		for _, o := range row.Checks {
			if o.Kind == c.Kind && strings.Count(o.ID, "/") == strings.Count(c.ID, "/") && o.BlockedBy == "" && !isWords(o) {
				same = append(same, o)
			}
		}
	}
	if isWords(c) || len(same) == 0 {
		return c
	}
	o := same[r.IntN(len(same))]
	o.ID, o.Host, o.Target = c.ID, c.Host, c.Target
	return o
}

// forgetful is a check that lacks a piece of its evidence.
func forgetful(r *rand.Rand, c Check) Check {
	if len(c.Evidence) > 0 {
		c.Evidence = maps.Clone(c.Evidence)
		delete(c.Evidence, slices.Sorted(maps.Keys(c.Evidence))[r.IntN(len(c.Evidence))])
	}
	return c
}

func isWords(c Check) bool { return c.ID == "pull" || c.ID == "pod" }

// broken lists the invariants that do not hold of the verdict on these checks.
func broken(checks []Check) (out []string) {
	say := func(ok bool, wrong string) {
		if !ok {
			out = append(out, wrong)
		}
	}
	before := slices.Clone(checks)
	v := Diagnose(checks)
	say(cmp.Equal(v, Diagnose(checks)), "the same checks give another verdict")
	say(cmp.Equal(before, checks), "Diagnose changes the checks")

	get := func(id string) Check {
		i := slices.IndexFunc(checks, func(c Check) bool { return c.ID == id })
		if i < 0 {
			return Check{}
		}
		return checks[i]
	}
	var words, seen bool // among what decided: that something fails
	for i, id := range v.Because {
		c := get(id)
		say(c.ID != "", "because of "+id+", which is not there")
		say(!slices.Contains(v.Because[:i], id), "because of "+id+" twice")
		words = words || isWords(c) && c.Outcome == Fail
		seen = seen || !isWords(c) && c.Outcome == Fail
	}
	passed := slices.ContainsFunc(checks, func(c Check) bool {
		return c.Outcome == Pass && (c.Kind == KindPull || c.Kind == KindManifest || c.Kind == KindImage || c.Kind == KindBlob)
	})
	failed := slices.ContainsFunc(checks, func(c Check) bool { return c.Outcome == Fail })

	say(v.Cause.Known() && v.Summary != "", "no cause, or no summary")
	say(!strings.ContainsAny(v.Summary+v.Fix, "{}"), "a gap in summary or fix")
	say((v.Fault == FaultNone) == (v.Cause.DefaultFault() == FaultNone), "nobody is at fault, or somebody for what is no fault")
	say(v.Fault != FaultUndetermined || v.Confidence != Confirmed || len(v.WouldDecide) > 0, "nobody knows who acts, and nothing would decide")
	say(v.Confidence != Uncertain || v.Cause == Undetermined, "a cause that is no more than possible")
	say(v.Confidence == Confirmed || len(v.WouldDecide) > 0 || v.Confidence == Likely || len(checks) == 0 || v.Summary != meaningOf(Undetermined), "open, and not said why")
	say(!slices.Contains(v.Also, v.Cause), "the cause is also the cause")
	say(failed || v.Fault == FaultNone || v.Fault == FaultUndetermined || slices.Contains([]Cause{PullTimedOut, PullQueueLimited, ResolverWrongAnswer}, v.Cause), "a fault that nothing shows")

	switch v.Cause {
	case Healthy, Recovered:
		say(passed, "well, though nothing passed")
		say(v.Confidence != Confirmed || get("pull").Outcome == Pass, "surely well without a pull")
	case InvalidReference, NotAPullProblem, Unscheduled: // the input alone proves them
	case RuntimeConfigStale: // what passes by the files fails in the process
		say(v.Confidence != Confirmed || words, "confirmed by nobody's words")
	default:
		proven := slices.ContainsFunc(v.Because, func(id string) bool { return get(id).Evidence["proven"] == "true" })
		say(v.Confidence != Confirmed || proven || words && seen, "confirmed by one witness")
	}

	// Without a witness a verdict stands no firmer.
	for _, id := range v.Because {
		less := slices.Clone(checks)
		for i, c := range less {
			if c.ID == id {
				less[i] = never(c, Unknown)
			}
		}
		got := Diagnose(less)
		say(got.Cause != v.Cause || got.Fault != v.Fault || rank(got.Confidence) <= rank(v.Confidence), "firmer without "+id)
	}
	return out
}

func rank(c Confidence) int { return slices.Index([]Confidence{Uncertain, Likely, Confirmed}, c) }

func meaningOf(c Cause) string {
	description, _ := Templates(c)
	return description
}

func list(checks []Check) string {
	var b strings.Builder
	for _, c := range checks {
		b.WriteString("\n  " + c.ID + " " + c.Outcome.String() + " " + string(c.Cause) + " by " + c.BlockedBy)
	}
	return b.String()
}
