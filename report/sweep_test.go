package report_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pullprobe/pullprobe/diagnosis/control"
	. "github.com/pullprobe/pullprobe/report"
)

var sweptAt = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// reachable returns a host without a fault.
func reachable(host string) Registry {
	ahead := int64(0)
	return Registry{
		Host: host, Roles: []Role{RoleRegistry}, State: Reachable, Since: sweptAt.Add(-26 * time.Hour), Checked: sweptAt,
		Latency: Latency{DNS: ms(2), Dial: ms(1), TLS: ms(6), HTTP: ms(14)}, Status: 401, Addresses: []string{"192.0.2.7"},
		Certificate: &Certificate{Issuer: "Example CA", NotAfter: sweptAt.Add(100 * 24 * time.Hour), DaysLeft: 100}, ClockMs: &ahead,
	}
}

// unreachable returns a host with a fault.
func unreachable(host string, fault Fault, cause Cause, why string) Registry {
	r := reachable(host)
	r.State, r.Fault, r.Cause, r.Summary, r.Because = Unreachable, fault, cause, why, "dial/"+host+"/192.0.2.7:443"
	r.Since, r.Status, r.Latency.TLS, r.Latency.HTTP, r.Certificate, r.ClockMs = sweptAt.Add(-20*time.Minute), 0, 0, 0, nil, nil
	return r
}

func ms(n int) Millis { return Millis(time.Duration(n) * time.Millisecond) }

// sweptNode returns a node without stuck pods and with these registries.
func sweptNode(list ...Registry) NodeReport {
	SortRegistries(list)
	var hosts []control.Host
	for _, r := range list {
		hosts = append(hosts, control.Host{Registry: r, Known: true})
	}
	return NodeReport{
		Schema: Schema, Node: "node-a", Agent: "v0", Time: sweptAt.Add(5 * time.Second), Fault: FaultNone, Cause: Healthy,
		Runtime: Check{ID: "runtime", Kind: KindRuntime, Outcome: Pass, Summary: "containerd v2.4.2 is ready"},
		Disk: Check{
			ID:       "disk",
			Kind:     KindDisk,
			Outcome:  Pass,
			Summary:  "/var/lib/containerd has 41 GiB free of 100 GiB; full in about 5 h at the rate of the last 60 min",
			Evidence: map[string]string{KeyFullSoon: True},
		},
		Sweep: &Sweep{
			Time: sweptAt, Duration: ms(2512), Control: control.Check(hosts, false, sweptAt), Registries: list,
			Resolvers: []Resolver{
				{Address: "10.0.0.2:53", Outcome: Pass, Latency: ms(3)},
				{Address: "10.0.0.3:53", Outcome: Fail, Cause: ResolverUnreachable, Latency: ms(1000)},
			},
			Clock: Check{ID: "clock", Kind: KindClock, Outcome: Pass, Summary: "this node's clock agrees with registry.example"},
			Conditions: []Condition{
				{Type: "Ready", Status: "True", Reason: "KubeletReady", Since: sweptAt},
				{Type: "DiskPressure", Status: "True", Reason: "KubeletHasDiskPressure", Since: sweptAt},
			},
		},
	}
}

func TestSummaryOfSweep(t *testing.T) {
	t.Run("all is well", func(t *testing.T) {
		soon := reachable("mirror.example:5000")
		soon.Certificate.DaysLeft, soon.Summary = 6, "certificate for mirror.example expires in 6 days, on 2026-12-04"
		greeted := reachable("cdn.example")
		greeted.Latency.HTTP, greeted.Latency.DNS = 0, Millis(400*time.Microsecond)
		n := sweptNode(reachable("registry.example"), soon, greeted, reachable("123456789012.dkr.ecr.eu-central-1.amazonaws.com"))
		n.Sweep.Resolvers, n.Sweep.Conditions = n.Sweep.Resolvers[:1], n.Sweep.Conditions[:1]
		golden(t, "summary-well", n.Summary())
	})
	t.Run("some are bad", func(t *testing.T) {
		until := sweptAt.Add(10 * time.Minute)
		limited := unreachable("busy.example", FaultRegistry, RateLimited, "busy.example is rate-limiting this node (429; retry after 600 s)")
		limited.State, limited.NotBefore, limited.Certificate = Limited, &until, reachable("").Certificate
		flaps := unreachable("sometimes.example", FaultUndetermined, ConnectionRefused, "cannot connect to 192.0.2.7:443: connection refused")
		flaps.Flapping = true
		calm := reachable("now-and-then.example")
		calm.Flapping = true
		long := unreachable("registry.internal.corp.example:5000", FaultNode, CertificateUntrusted,
			`certificate of registry.internal.corp.example is signed by "Corp Issuing CA 7", which this node does not trust: `+
				`it knows a CA of that name, but with another key; the server sent no intermediate certificate`)
		unknown := Registry{Host: "new.example", Roles: []Role{RoleTarget}, State: ReachUnknown, Since: sweptAt, Checked: sweptAt}
		unknown.Summary = "timed out before new.example was resolved"
		n := sweptNode(reachable("registry.example"), limited, flaps, calm, long, unknown)
		golden(t, "summary-bad", n.Summary())
	})
	t.Run("nothing is reachable", func(t *testing.T) {
		diagnosis := func(pod, image string, v Verdict) Diagnosis {
			return Diagnosis{Image: image, Node: "node-a", Pod: pod, Container: "web", Time: sweptAt, Verdict: v}
		}
		var list []Registry
		for i := range 20 {
			r := unreachable(fmt.Sprintf("registry-%02d.example", i), FaultNode, ConnectionTimeout, "no answer within 2.5 s")
			r.Addresses = []string{fmt.Sprintf("192.0.2.%d", i)}
			list = append(list, r)
		}
		n := sweptNode(list...)
		n.Fault, n.Cause, n.Stuck = FaultNode, ConnectionTimeout, 13
		n.Sweep.Clock = Check{ID: "clock", Kind: KindClock, Outcome: Skipped, Summary: "no host returned a Date header"}
		timeout := Verdict{
			Fault: FaultNode, Cause: ConnectionTimeout, Confidence: Likely,
			Summary: "no answer within 2.5 s", Fix: "check firewall", Because: []string{"dial/registry.example/192.0.2.1:443", "control"},
		}
		for i := range 12 {
			n.Diagnoses = append(n.Diagnoses, diagnosis(fmt.Sprintf("shop/web-%d", i), "registry.example/app:1", timeout))
		}
		n.Diagnoses = append(n.Diagnoses, diagnosis("shop/other", "APP:1", Verdict{
			Fault: FaultConfig, Cause: InvalidReference, Confidence: Confirmed,
			Summary: `"APP:1" is not a valid image name: a repository has no capitals`,
			Fix:     "correct the image name in the pod's manifest", Because: []string{"reference"},
		}))
		golden(t, "summary-cut-off", n.Summary())
	})
}

// Where nothing is reachable, silent hosts share a row with their cause, and others
// keep theirs.
func TestSilentHostsShareARow(t *testing.T) {
	silent := func(host string, cause Cause) Registry { return unreachable(host, FaultNode, cause, "no answer") }
	n := sweptNode(silent("a.example", ConnectionTimeout), silent("b.example", ConnectionTimeout), silent("c.example", HostNotFound))
	n.Sweep.Control = Check{ID: IDControl, Outcome: Fail, Cause: NetworkUnreachable}
	text := n.Summary()
	for want, times := range map[string]int{"2 of 3": 1, "ConnectionTimeout": 1, "c.example": 1, "a.example": 0, "fix:": 0} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("%d times %q, want %d:\n%s", got, want, times, text)
		}
	}
}

// The table fits 80 columns with any state, figures and reason, as long as the
// host's name is not unusually long.
func TestTableWidth(t *testing.T) {
	name := strings.Repeat("h", 30)
	var list []Registry
	for _, info := range Catalogue() {
		r := unreachable(name, info.Fault, info.Cause, strings.Repeat("why ", 60))
		r.Certificate = &Certificate{DaysLeft: -12345}
		list = append(list, r)
	}
	slow := reachable(name)
	slow.Latency, slow.Certificate.DaysLeft = Latency{DNS: ms(4000), Dial: ms(4000), TLS: ms(4000), HTTP: ms(4000)}, 12345
	for _, r := range append(list, slow) {
		for line := range strings.Lines(sweptNode(r).Summary()) {
			if len(line) > 81 && !strings.Contains(line, "kubectl ") {
				t.Errorf("%s: wider than 80 columns: %q", r.Cause, line)
			}
		}
	}
}

// Hosts and their answers are foreign text: with any of it, a summary keeps its
// lines and the report its limit.
func FuzzHostileSweep(f *testing.F) {
	f.Add("evil.example", "it is broken", "CN=Example CA", uint16(1))
	f.Add("evil\x1b[2J.example\n\nNode\n  disk     all is well", "a\x00b\r\nc\u202ed\u2028e\xff", "\t\t", uint16(3))
	f.Add(strings.Repeat("long.", 4000), strings.Repeat("x", 10000), strings.Repeat("\u00fc ", 9000), uint16(200))
	f.Add("", strings.Repeat("word ", 3000), "", uint16(300))
	f.Fuzz(func(t *testing.T, host, words, issuer string, many uint16) {
		var list []Registry
		for i := range int(many%4096) + 1 {
			r := unreachable(fmt.Sprintf("%s%d", host, i), FaultNode, ConnectionTimeout, words)
			if i%2 == 1 {
				r = reachable(r.Host)
				r.Certificate.Issuer, r.Summary = issuer, words
			}
			list = append(list, r)
		}
		n := sweptNode(list...)
		n.Sweep.Clock.Summary = words
		summary, body, err := n.Bounded(MaxReport)
		if err != nil || len(summary)+len(body) > MaxReport {
			t.Fatalf("%d + %d bytes, %v", len(summary), len(body), err)
		}
		var back NodeReport
		if err := json.Unmarshal(body, &back); err != nil {
			t.Fatal(err)
		}
		kept := back.Sweep.Registries
		if len(kept)+back.Sweep.Omitted != len(list) {
			t.Errorf("%d of %d registries, and %d omitted", len(kept), len(list), back.Sweep.Omitted)
		}
		if strings.ContainsFunc(strings.ReplaceAll(summary, "\n", ""), unicode.IsControl) || !utf8.ValidString(summary) {
			t.Errorf("control characters in %q", summary)
		}
		// Every line is one of the layout.
		starts := []string{
			"node-a: ", "Updated ", "Hosts (checked ", "Node", strings.Repeat(" ", 15),
			"  STATE ", "  unreachable ", "  reachable ", "  ... and ", "  disk ", "  runtime ", "  dns ", "  clock ", "  kubelet ", "All of this report", "All reports:", "Nodes compared", "  kubectl ",
		}
		blank, nodes := 0, 0
		for line := range strings.Lines(summary) {
			switch line = strings.TrimSuffix(line, "\n"); {
			case line == "":
				blank++
			case line == "Node":
				nodes++
			case !slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(line, s) }):
				t.Errorf("a line that is not of the layout: %q", line)
			}
		}
		if blank != 3+strings.Count(summary, "All of this report") || nodes != 1 {
			t.Errorf("%d blank lines and %d nodes in\n%s", blank, nodes, summary)
		}
	})
}

// A report stays within its limit with any number of faults, keeps the
// unreachable hosts and says how much it left out.
func TestBoundedSweep(t *testing.T) {
	const bad = 20
	var list []Registry
	for i := range 256 {
		r := reachable(fmt.Sprintf("%03d.%s.example:5000", i, strings.Repeat("a-long-name.", 6)))
		if i%12 == 0 && i/12 < bad {
			r = unreachable(r.Host, FaultNode, ConnectionTimeout,
				"cannot connect to 192.0.2.7:443: no answer within 2.5 s; the default gateway does not answer either")
		}
		list = append(list, r)
	}
	n := sweptNode(list...)
	stuck := node().Diagnoses[0]
	for i := range 500 {
		stuck.Pod = fmt.Sprintf("shop/web-%d", i)
		n.Diagnoses = append(n.Diagnoses, stuck)
	}
	n.Answered = map[string]string{}
	for i := range 100 {
		n.Answered[fmt.Sprintf("00000000-0000-0000-0000-%012d", i)] = strings.Repeat("q", 73)
	}
	summary, body, err := n.Bounded(MaxReport)
	if err != nil || len(summary)+len(body) > MaxReport {
		t.Fatalf("%d + %d bytes, %v", len(summary), len(body), err)
	}
	var back NodeReport
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	kept := back.Sweep.Registries
	if back.Sweep.Bad() != bad || len(kept)+back.Sweep.Omitted != len(list) {
		t.Errorf("%d bad ones, %d in all, %d omitted", back.Sweep.Bad(), len(kept), back.Sweep.Omitted)
	}
	if len(back.Diagnoses) < 10 || len(back.Diagnoses)+back.Omitted != 500 {
		t.Errorf("%d diagnoses, %d omitted", len(back.Diagnoses), back.Omitted)
	}
	for _, want := range []string{"20 of 256 hosts are unreachable", fmt.Sprintf("%d more left out", back.Sweep.Omitted)} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
}

// An empty list is an empty array, as scripts expect.
func TestBoundedHasNoNull(t *testing.T) {
	n := sweptNode()
	n.Sweep.Registries = []Registry{{Host: "r.example", State: ReachUnknown}}
	_, body, err := n.Bounded(MaxReport)
	if err != nil || strings.Contains(string(body), "null") {
		t.Errorf("%s %v", body, err)
	}
	n.Sweep.Registries = nil
	_, body, _ = n.Bounded(MaxReport)
	for _, empty := range []string{`"registries":[]`, `"diagnoses":[]`} {
		if !strings.Contains(string(body), empty) {
			t.Errorf("no %s in %s", empty, body)
		}
	}
}
