package examine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/report"
)

func TestNoTestPull(t *testing.T) {
	deny, err := guard.ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	denied := deniedChecks(t, deny)
	passed := func(id string) report.Check { return report.Check{ID: id, Outcome: report.Pass} }
	for _, tt := range []struct {
		name   string
		change func(*pullFacts)
		want   string // part of the summary; empty: there is a test pull
		reason refusal
	}{
		{
			name:   "the pod's own pull fails",
			change: func(*pullFacts) {},
		},
		{
			name:   "probes that found nothing",
			change: func(f *pullFacts) { f.found = []report.Check{passed("manifest/r.example")} },
		},
		{
			name:   "switched off",
			change: func(f *pullFacts) { f.off, f.failing = true, false },
			want:   "switched off",
		},
		{
			name:   "nothing has failed",
			change: func(f *pullFacts) { f.failing = false },
			want:   "no pull of this image has failed here",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "the kubelet is still pulling",
			change: func(f *pullFacts) { f.failing, f.notFailing = false, NoPullCreating },
			want:   NoPullCreating,
			reason: refusal{skipped: "notFailing"},
		},
		{
			name: "a pull secret that stops the kubelet",
			change: func(f *pullFacts) {
				f.credentials = report.Check{Outcome: report.Fail, Evidence: map[string]string{"fatal": "true"}}
			},
			want:   "the kubelet rejects the pull secret",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name: "unknown credentials, which may be more than what is known to be wrong",
			change: func(f *pullFacts) {
				f.credentials = report.Check{Outcome: report.Skipped, Evidence: map[string]string{"fatal": "true"}}
			},
			want:   "credentials for this image are unknown",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "a login that would be sent in clear",
			change: func(f *pullFacts) { f.found = []report.Check{plainRealm(report.Skipped)} },
			want:   "send the password in clear",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "a token service without TLS and no login",
			change: func(f *pullFacts) { f.found = []report.Check{plainRealm(report.Pass)} },
		},
		{
			name:   "an unknown runtime handler",
			change: func(f *pullFacts) { f.noHandler = true },
			want:   "the runtime handler of the pod's RuntimeClass is unknown",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "a denied host",
			change: func(f *pullFacts) { f.found = denied },
			want:   "refused by the setting deny",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "rejected credentials",
			change: func(f *pullFacts) { f.rejected, f.found = true, denied },
			want:   "rejected every credential",
			reason: refusal{skipped: "notFailing"},
		},
		{
			name:   "the runtime is down",
			change: func(f *pullFacts) { f.runtime.Outcome = report.Fail },
			want:   "the runtime is not available",
			reason: refusal{blockedBy: "runtime"},
		},
		{
			name:   "the runtime is down and nothing has failed",
			change: func(f *pullFacts) { f.runtime.Outcome, f.failing = report.Error, false },
			want:   "no pull of this image has failed here",
			reason: refusal{skipped: "notFailing"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := pullFacts{failing: true, runtime: passed("runtime"), credentials: passed("credentials")}
			tt.change(&f)
			got, refused := noTestPull(f)
			if refused != (tt.want != "") || !strings.Contains(got.summary, tt.want) {
				t.Errorf("refused %v: %q, want %q", refused, got.summary, tt.want)
			}
			if got.skipped != tt.reason.skipped || got.blockedBy != tt.reason.blockedBy {
				t.Errorf("%+v, want %+v", got, tt.reason)
			}
		})
	}
}

// plainRealm returns what the probes find of a token service without TLS.
func plainRealm(o report.Outcome) report.Check {
	return report.Check{
		ID:       report.TokenID("r.example"),
		Kind:     report.KindToken,
		Outcome:  o,
		Evidence: map[string]string{"realmPlain": "true", "runtimeWouldSend": "true"},
	}
}

// deniedChecks returns what the probes find of a registry that the policy denies.
func deniedChecks(t *testing.T, deny guard.Pattern) []report.Check {
	t.Helper()
	e := &Examiner{Node: &NodeReader{OwnFiles: true, Policy: func() Policy { return Policy{Deny: []guard.Pattern{deny}} }}}
	s := Subject{Image: "r.example/app:1", Secrets: func(context.Context) []credentials.SecretLookup { return nil }}
	checks := e.Examine(t.Context(), s, nil).Checks
	if _, ok := guard.FirstDenied(checks); !ok {
		t.Fatalf("nothing is denied: %+v", checks)
	}
	return checks
}

func TestAssemble(t *testing.T) {
	check := func(id string) report.Check { return report.Check{ID: id} }
	known := gathered{
		reference:   check("reference"),
		runtime:     check("runtime"),
		local:       check("local/r.example"),
		credentials: credentials.Resolution{Checks: []report.Check{check("credentials"), check("credentials/1")}},
	}
	known.node.checks = []report.Check{check("runtime/ca"), check("runtime/proxy")}
	var got []string
	for _, c := range assemble(known, check("disk"), []report.Check{check("hosts/r.example"), check("control")}, check("pull")) {
		got = append(got, c.ID)
	}
	want := []string{
		"reference", "credentials", "credentials/1", "runtime", "runtime/ca", "runtime/proxy",
		"disk", "local/r.example", "hosts/r.example", "control", "pull",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The control check starts when the probes have had their head start, and has
// ended when the examination has.
func TestControlCheckIsJoined(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	control := func(ctx context.Context, domain string) report.Check {
		close(started)
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond)
		close(ended)
		return report.Check{ID: "control", Host: domain}
	}
	c := startControl(t.Context(), control, "r.example")
	<-started
	c.stop()
	select {
	case <-ended:
	default:
		t.Error("the control check still runs")
	}
	if got := c.result(); got.Host != "r.example" {
		t.Errorf("%+v", got)
	}

	c = startControl(t.Context(), control, "r.example") // stopped before its head start is over: a second run would panic
	c.stop()
}
