package report_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

// node returns a node on which two pods are stuck, and whose disk is full.
func node() NodeReport {
	at := time.Date(2026, 11, 21, 3, 58, 12, 0, time.UTC)
	return NodeReport{
		Schema: Schema, Node: "node-a", Agent: "v0", Time: at, Fault: FaultNode, Cause: ConnectionTimeout, Stuck: 41,
		Faults: FaultCounts{Node: 1, Config: 40},
		Incidents: []Incident{
			{
				Image: "registry.example/db:2", From: Conclusion{FaultRegistry, RegistryUnavailable}, To: &Conclusion{FaultNone, Healthy},
				Began: at.Add(-2 * time.Hour), Ended: at.Add(-77 * time.Minute), Pods: 12, Workload: "shop/deployment/db",
			},
			{
				Image: "registry.example/job:1", From: Conclusion{FaultConfig, TagNotFound},
				Began: at.Add(-5 * time.Hour), Ended: at.Add(-4 * time.Hour), Pods: 1, Workload: "shop/job/nightly",
			},
		},
		Runtime: Check{ID: "runtime", Outcome: Pass, Summary: "containerd 2.4.2, ready"},
		Disk:    Check{ID: "disk", Outcome: Fail, Cause: DiskFull, Summary: "/var/lib/containerd has 12 KiB free of 600 MiB"},
		Diagnoses: []Diagnosis{
			{
				Image: "registry.example/app:1", Node: "node-a", Pod: "shop/web-1", Container: "web", Time: at,
				Pods: &Pods{
					Count: 40, Since: at.Add(-12 * time.Minute), NextTry: at.Add(100 * time.Second),
					Owners: []Owner{
						{Name: "deployment/web", Pods: 38},
						{Name: "cronjob/nightly", Pods: 2, Fix: "kubectl -n shop set image cronjob/nightly run=registry.example/app:1.0"},
					},
				},
				Verdict: Verdict{
					Fault: FaultConfig, Cause: TagNotFound, Confidence: Confirmed,
					Summary: `tag "1" does not exist in registry.example/app; closest existing tag: "1.0"`,
					Fix: "use the existing tag:\nkubectl -n shop set image deployment/web web=registry.example/app:1.0\n" +
						"or push registry.example/app:1",
					Because: []string{"manifest/registry.example", "pod"},
				},
				Checks: path(
					Check{ID: "pod", Kind: KindPod, Outcome: Fail, Cause: TagNotFound, Summary: "not found"},
					Check{ID: "manifest/registry.example", Kind: KindManifest, Host: "registry.example", Outcome: Fail, Cause: TagNotFound},
				),
			},
			{
				Image: "registry.example/app:1", Node: "node-a", Pod: "shop/web-2", Container: "web", Time: at,
				Pods: &Pods{Count: 1, Since: at.Add(-90 * time.Second), Owners: []Owner{{Name: "daemonset/web", Pods: 1}}},
				Verdict: Verdict{
					Fault: FaultNode, Cause: ConnectionTimeout, Confidence: Likely,
					Summary: "registry.example: cannot connect to 192.0.2.1:443: no answer within 2.5 s",
					Fix: "on node-a: check firewall, security group and route to 192.0.2.1:443 " +
						"(images from registry.example were pulled here before)",
					Because: []string{"dial/registry.example/192.0.2.1:443", "local/registry.example"},
					WouldDecide: []string{
						"check from another node: if it fails there too, registry.example itself is down",
						"wait for the runtime's own error (after its longer timeout, usually 30 s or more)",
					},
				},
				Checks: path(
					Check{ID: "credentials", Kind: KindCredentials, Outcome: Skipped, Summary: "cannot read secret shop/regcred"},
					Check{ID: "dial/registry.example/192.0.2.1:443", Kind: KindDial, Host: "registry.example", Outcome: Fail, Cause: ConnectionTimeout},
				),
			},
		},
	}
}

// path returns these checks, and one behind them that they block.
func path(checks ...Check) []Check {
	last := checks[len(checks)-1]
	return append(checks, Check{
		ID: "image/registry.example", Kind: KindImage, Host: last.Host, Outcome: Skipped, Summary: "not checked", BlockedBy: last.ID,
	})
}

func TestSummary(t *testing.T) {
	n := node()
	golden(t, "summary", n.Summary())

	// The first screen of a terminal has how many pods wait for how many reasons, who must
	// act, and what fixes the worst.
	screen := strings.Join(strings.SplitAfter(n.Summary(), "\n")[:24], "")
	for _, want := range []string{"41 pods", "2 reasons", "Who acts: the node team (1 pod), the owner of the workload (40 pods)", "check firewall"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
}

// A container without a fault is a line in the entry of the pod that another one keeps
// waiting, and no reason of its own. Pods that wait for nothing else keep their entry.
func TestSummaryBesideFault(t *testing.T) {
	healthy := func(pod string, others ...string) Diagnosis {
		d := Diagnosis{
			Pod: pod, Container: "proxy", Image: "registry.example/proxy:2", Pods: &Pods{Count: 1 + len(others), Since: node().Time},
			Verdict: Verdict{Fault: FaultNone, Cause: Healthy, Confidence: Likely},
		}
		for _, o := range others {
			d.Pods.Others = append(d.Pods.Others, PodRef{Pod: o, Container: "proxy"})
		}
		return d
	}
	const line = "  no fault     container proxy, image registry.example/proxy:2\n"
	warned, fixed := healthy("shop/web-1"), healthy("shop/web-1")
	warned.Verdict.Also = []Cause{ClockSkewed}
	fixed.Verdict.Fix = "see what it waits for"
	for name, tt := range map[string]struct {
		more    Diagnosis
		reasons string
		lines   int
	}{
		"beside":                {healthy("shop/web-1"), "2 reasons", 1},
		"beside two":            {healthy("shop/web-1", "shop/web-2"), "2 reasons", 1},
		"another pod":           {healthy("shop/well"), "3 reasons", 0},
		"another pod, too":      {healthy("shop/web-1", "shop/well"), "3 reasons", 0},
		"with something to say": {warned, "3 reasons", 0},
		"with something to do":  {fixed, "3 reasons", 0},
	} {
		n := node()
		n.Diagnoses = append(n.Diagnoses, tt.more)
		text := n.Summary()
		entries := strings.Count(text, "\nnone  Healthy")
		if strings.Count(text, line) != tt.lines || entries != 1-tt.lines || !strings.Contains(text, tt.reasons) {
			t.Errorf("%s: not %d lines, %s in\n%s", name, tt.lines, tt.reasons, text)
		}
		if _, body, _ := n.Bounded(MaxReport); strings.Count(string(body), `"Healthy"`) < 1 {
			t.Errorf("%s: not in report.json", name)
		}
	}
}

// A registry that limits requests is not for its operator to fix.
func TestSummaryOfLimit(t *testing.T) {
	of := func(pod string, f Fault, c Cause) Diagnosis {
		return Diagnosis{Pod: pod, Image: "app", Verdict: Verdict{Fault: f, Cause: c, Confidence: Confirmed}}
	}
	n := node()
	n.Faults, n.Stuck = FaultCounts{Registry: 2, Config: 1}, 3
	n.Diagnoses = []Diagnosis{
		of("shop/a", FaultRegistry, RateLimited), of("shop/b", FaultRegistry, RegistryUnavailable), of("shop/c", FaultConfig, TagNotFound),
	}
	text := n.Summary()
	last := 0
	for _, want := range []string{
		"Who acts: the operator of the registry (1 pod), the owner of the workload or the", "node team (1 pod), the owner of the workload (1 pod).\n",
		"The operator of the registry must act:\nregistry  RegistryUnavailable",
		"The owner of the workload or the node team must act:\nregistry  RateLimited",
		"The owner of the workload must act:\ncluster-config  TagNotFound",
	} {
		at := strings.Index(text, want)
		if at < last {
			t.Fatalf("no %q, or too early, in\n%s", want, text)
		}
		last = at
	}
}

// The fix of a full disk is printed once: here, or with the pod that needs it.
func TestSummaryOfFullDisk(t *testing.T) {
	n := node()
	for _, tt := range []struct {
		cause Cause
		want  int
	}{{TagNotFound, 1}, {DiskFull, 0}} {
		n.Diagnoses = []Diagnosis{{Image: "app", Verdict: Verdict{Fault: FaultNode, Cause: tt.cause}}}
		text := n.Summary()
		if strings.Count(text, "on node-a, free space on") != tt.want || strings.Count(text, "12 KiB free") != 1 {
			t.Errorf("%s:\n%s", tt.cause, text)
		}
	}
}

// golden compares a summary with a file that was reviewed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
	fitsTerminal(t, got)
}

// fitsTerminal checks that a summary fits 80 columns. Only text to be copied may be
// longer: a command, or a long name at the end of its line.
func fitsTerminal(t *testing.T, summary string) {
	t.Helper()
	for line := range strings.Lines(summary) {
		line = strings.TrimSuffix(line, "\n")
		last := line[strings.LastIndexByte(line, ' ')+1:]
		if utf8.RuneCountInString(line) > 80 && len(last) <= 33 && !strings.Contains(line, "kubectl") {
			t.Errorf("wider than 80 columns: %q", line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("ends in spaces: %q", line)
		}
	}
}

// A report of 500 stuck pods stays within its limit, keeps the newest and says how
// many it left out.
func TestBounded(t *testing.T) {
	n := node()
	d := n.Diagnoses[0]
	n.Diagnoses = nil
	for i := range 500 {
		d.Pod = fmt.Sprintf("shop/web-%d", i)
		n.Diagnoses = append(n.Diagnoses, d)
	}
	summary, body, err := n.Bounded(MaxReport)
	if err != nil {
		t.Fatal(err)
	}
	if len(summary)+len(body) > MaxReport {
		t.Errorf("%d + %d bytes", len(summary), len(body))
	}
	var back NodeReport
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Diagnoses)+back.Omitted != 500 || back.Omitted == 0 || len(back.Diagnoses) < 10 {
		t.Errorf("%d diagnoses and %d omitted", len(back.Diagnoses), back.Omitted)
	}
	if back.Diagnoses[0].Pod != "shop/web-0" {
		t.Errorf("the newest is %s", back.Diagnoses[0].Pod)
	}
	if !strings.Contains(summary, "left out") {
		t.Error("the summary does not say that something is left out")
	}
}

// What a report has no space for goes before why and fix, and the summary names it.
func TestBoundedKeepsFixes(t *testing.T) {
	n := node()
	d := n.Diagnoses[0]
	n.Diagnoses = nil
	for i := range 7 {
		d.Pod = fmt.Sprintf("shop/web-%d", i)
		d.Verdict.Summary = fmt.Sprintf("reason %d: ", i) + strings.Repeat("why ", 100)
		n.Diagnoses = append(n.Diagnoses, d)
	}
	summary, _, err := n.Bounded(MaxReport)
	if err != nil || strings.Count(summary, "\n  fix  ") < 7 || strings.Count(summary, "reason ") != 7 {
		t.Errorf("not 7 answers (%v):\n%s", err, summary)
	}
	if !strings.Contains(summary, "(To keep this short, ") {
		t.Errorf("the summary does not name what is left out:\n%s", summary)
	}
}

// The summary of a few diagnoses is complete, with evidence that users asked for, too. That of
// many loses past verdicts first, and says once what is left out, with a command on a line of
// its own.
func TestBoundedShortensLate(t *testing.T) {
	few, n := node(), node()
	few.Diagnoses[1].Verdict.WouldDecide = nil
	want := few.Summary()
	few.Diagnoses[0].Asked, few.Diagnoses[1].Asked = "1", "2"
	for i := range few.Diagnoses {
		d := &few.Diagnoses[i]
		d.Checks = append(d.Checks, Check{ID: fmt.Sprint("asked", i), Outcome: Fail, Cause: TagNotFound, Summary: strings.Repeat("long ", 2000)})
	}
	if summary, _, _ := few.Bounded(MaxReport); summary != want {
		t.Errorf("the summary of 2 diagnoses is shortened:\n%s", cmp.Diff(want, summary))
	}
	for i := range 8 {
		d := n.Diagnoses[0]
		d.Pod, d.Verdict.Summary = fmt.Sprintf("shop/more-%d", i), strings.Repeat("why ", 40)
		n.Diagnoses = append(n.Diagnoses, d)
	}
	summary, _, _ := n.Bounded(MaxReport)
	for want, times := range map[string]int{
		"(To keep this short, ": 1, "Past verdicts\n": 0, "  image  ": 10, "probe=now": 0,
		"\n  kubectl get cm -A --field-selector metadata.name=pullprobe-node-a -o jsonpath='{.items[*].data.report\\.json}'\n": 1,
		"\n  kubectl -n NAMESPACE annotate pod POD probe=$(date +%s) --overwrite\n":                                            1,
	} {
		if strings.Count(summary, want) != times {
			t.Errorf("not %d of %q in\n%s", times, want, summary)
		}
	}
}

// A host of which a diagnosis has the cause refers to it, and has no second fix.
func TestRegistryExplainedAbove(t *testing.T) {
	const host = "busy.example:5000"
	limited := unreachable(host, FaultRegistry, RateLimited, "429; retry after 600 s")
	limited.State, limited.Because = Limited, "registry/"+host
	n := sweptNode(limited, reachable("registry.example"))
	n.Diagnoses = []Diagnosis{{
		Pod: "shop/web", Image: host + "/app:1",
		Verdict: Verdict{Fault: FaultRegistry, Cause: RateLimited, Confidence: Confirmed, Fix: "wait", Because: []string{"pull", "manifest/" + host}},
	}}
	text := n.Summary()
	if !strings.Contains(text, "see RateLimited above") || strings.Contains(text, "fix: ") || strings.Contains(text, "429;") {
		t.Errorf("said twice:\n%s", text)
	}
	n.Diagnoses[0].Verdict.Because = []string{"manifest/other.example"}
	if text := n.Summary(); strings.Contains(text, "see RateLimited above") || !strings.Contains(text, "fix: ") {
		t.Errorf("another host's cause explains nothing:\n%s", text)
	}
}

// The verdict on a node that reaches nothing is as exact as those of its pods, and names the
// hosts that they need first.
func TestSummaryOfIsolatedNode(t *testing.T) {
	var list []Registry
	for _, name := range []string{"a", "b", "c", "needed"} {
		list = append(list, unreachable(name+".example", FaultNode, ResolverFailed, "SERVFAIL"))
	}
	n := sweptNode(list...)
	n.Sweep.Control = Check{
		ID: IDControl, Outcome: Fail, Cause: ResolverFailed, Summary: "this node cannot reach any of 4 hosts (a.example and 3 more)",
		Evidence: map[string]string{KeyAsked: "4", KeyWeak: True},
	}
	n.Diagnoses = []Diagnosis{{
		Pod: "shop/web", Image: "needed.example/app:1",
		Verdict: Verdict{
			Fault: FaultNode, Cause: ResolverFailed, Confidence: Confirmed, Fix: "fix the nameserver 10.0.0.2", Because: []string{"dns/needed.example"},
		},
	}}
	text := n.Summary()
	for _, want := range []string{
		"The node team must act:\nnode-infrastructure  ResolverFailed  (confirmed)\n", "(needed.example, ", "fix the nameserver 10.0.0.2",
		"the node's DNS resolver answers with an error",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	n.Diagnoses = nil
	if text := n.Summary(); !strings.Contains(text, "ResolverFailed  (likely)") || !strings.Contains(text, "contact who runs the resolver") {
		t.Errorf("without pods:\n%s", text)
	}
}

func TestTitle(t *testing.T) {
	for _, tt := range []struct {
		v             Verdict
		title, inline string
	}{
		{Verdict{Fault: FaultNode, Cause: DiskFull, Confidence: Likely}, "node-infrastructure  DiskFull  (likely)", "node-infrastructure / DiskFull (likely)"},
		{Verdict{Fault: FaultUndetermined, Cause: Undetermined, Confidence: ConfidenceUndetermined}, "undetermined", "undetermined"},
		{
			Verdict{Fault: FaultUndetermined, Cause: ConnectionRefused, Confidence: Confirmed},
			"undetermined  ConnectionRefused  (seen; who must act is open)", "undetermined / ConnectionRefused (seen; who must act is open)",
		},
	} {
		if got := tt.v.Title(); got != tt.title {
			t.Errorf("%q, want %q", got, tt.title)
		}
		if got := tt.v.Inline(); got != tt.inline {
			t.Errorf("%q, want %q", got, tt.inline)
		}
	}
}

// The image is right where only a mirror's name does not resolve.
func TestFixOfAMirrorsName(t *testing.T) {
	mirror := Registry{Host: "cache.example", State: Unreachable, Cause: HostNotFound, Fault: FaultNode, Roles: []Role{RoleMirror}}
	if fix := mirror.HowToFix(); !strings.Contains(fix, "hosts.toml") {
		t.Error(fix)
	}
	mirror.Roles = append(mirror.Roles, RoleRegistry)
	if fix := mirror.HowToFix(); strings.Contains(fix, "hosts.toml") {
		t.Error(fix)
	}
}
