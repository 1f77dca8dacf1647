package metrics

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// gathered returns the series of a metric, sorted, one a line, as a scrape returns
// them. For a histogram it is the count and the sum.
func gathered(t *testing.T, m *Metrics, name string) string {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := fmt.Sprint(s.GetGauge().GetValue() + s.GetCounter().GetValue())
			if h := s.GetHistogram(); h != nil {
				value = fmt.Sprintf("%d in %v", h.GetSampleCount(), h.GetSampleSum())
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %s\n", name, strings.Join(labels, ","), value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// aSweep returns a sweep with every kind of fact.
func aSweep() report.Sweep {
	ahead, limited := int64(-1500), began.Add(time.Minute)
	return report.Sweep{
		Time: began, Duration: report.Millis(1250 * time.Millisecond),
		Control: report.Check{ID: "control", Outcome: report.Pass},
		Clock:   report.Check{ID: "clock", Outcome: report.Fail, Cause: report.ClockSkewed},
		Registries: []report.Registry{{
			Host: "down.example:5000", Roles: []report.Role{report.RoleMirror}, State: report.Unreachable, Since: began.Add(-time.Hour), Checked: began,
			Flapping: true, Fault: report.FaultNode, Cause: report.ConnectionTimeout, Latency: report.Latency{DNS: report.Millis(2 * time.Millisecond)},
		}, {
			Host: "busy.example", Roles: []report.Role{report.RoleRegistry}, State: report.Limited, Since: began, Checked: began,
			Fault: report.FaultRegistry, Cause: report.RateLimited, NotBefore: &limited,
		}, {
			Host: "good.example", Roles: []report.Role{report.RoleRegistry, report.RoleControl, report.RoleRegistry}, State: report.Reachable, Since: began, Checked: began,
			Latency: report.Latency{
				DNS: report.Millis(
					2500 * time.Microsecond,
				), Dial: report.Millis(time.Millisecond), TLS: report.Millis(10 * time.Millisecond), HTTP: report.Millis(20 * time.Millisecond),
			},
			Certificate: &report.Certificate{NotAfter: began.Add(24 * time.Hour)}, ClockMs: &ahead,
		}, {Host: "new.example", Roles: []report.Role{report.RoleTarget}}},
		Resolvers: []report.Resolver{
			{Address: "10.0.0.2:53", Outcome: report.Pass, Latency: report.Millis(30 * time.Millisecond)},
			{Address: "10.0.0.3:53", Outcome: report.Fail, Cause: report.ResolverUnreachable},
		},
	}
}

func aDisk() report.Check {
	return report.Check{ID: "disk", Outcome: report.Fail, Cause: report.DiskFull, Evidence: map[string]string{
		"free": "1000", "available": "900", "total": "100000", "evictionBytes": "15000", "growthPerSecond": "12.5",
		"inodes": "64", "inodesFree": "32", "readOnly": "false",
	}}
}

// representative returns metrics that have observed everything once.
func representative() *Metrics {
	m := New("v1.2.3")
	m.ObserveSweep(aSweep())
	m.ObserveNode(report.Check{ID: "runtime", Outcome: report.Pass}, aDisk())
	m.ObserveDiagnosis(report.Verdict{Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely}, time.Second)
	m.ObserveIncident(report.Incident{From: report.Conclusion{Cause: report.TagNotFound}})
	m.ObserveExamination(
		examine.Result{
			Checks: []report.Check{{ID: "pull", Outcome: report.Pass, Evidence: map[string]string{"seconds": "1.500", "bytes": "1048576"}}},
		},
	)
	m.ObserveExamination(examine.Result{Checks: anExamination()})
	m.SetPullRate("registry.example", 1e6)
	m.SetStuckPods([]report.Conclusion{{Fault: report.FaultConfig, Cause: report.TagNotFound}})
	m.podImages.count(pods.Transition{Image: "registry.example/app:1", Failed: true, Reason: "ErrImagePull", Message: errNotFound}, began)
	m.podImages.count(pods.Transition{Image: "registry.example/app:1", Timed: true, Waited: 3 * time.Second}, began)
	m.ReportWritten(began)
	m.ObserveReload(true, began)
	return m
}

// TestSweepMetrics checks the metrics of a sweep.
func TestSweepMetrics(t *testing.T) {
	m := New("test")
	if got := gathered(t, m, networkReachable); got != "" {
		t.Errorf("before any sweep: %s", got)
	}
	m.ObserveSweep(aSweep())
	const want = `pullprobe_sweep_duration_seconds{} 1.25
pullprobe_sweep_timestamp_seconds{} 1.7952336e+09
pullprobe_network_reachable{} 1
pullprobe_registries{state=limited} 1
pullprobe_registries{state=reachable} 1
pullprobe_registries{state=unknown} 1
pullprobe_registries{state=unreachable} 1
pullprobe_registry_reachable{registry=busy.example} 1
pullprobe_registry_reachable{registry=down.example:5000} 0
pullprobe_registry_reachable{registry=good.example} 1
pullprobe_registry_state_since_timestamp_seconds{registry=busy.example} 1.7952336e+09
pullprobe_registry_state_since_timestamp_seconds{registry=down.example:5000} 1.79523e+09
pullprobe_registry_state_since_timestamp_seconds{registry=good.example} 1.7952336e+09
pullprobe_registry_checked_timestamp_seconds{registry=busy.example} 1.7952336e+09
pullprobe_registry_checked_timestamp_seconds{registry=down.example:5000} 1.7952336e+09
pullprobe_registry_checked_timestamp_seconds{registry=good.example} 1.7952336e+09
pullprobe_registry_limited_until_timestamp_seconds{registry=busy.example} 1.79523366e+09
pullprobe_registry_flapping{registry=busy.example} 0
pullprobe_registry_flapping{registry=down.example:5000} 1
pullprobe_registry_flapping{registry=good.example} 0
pullprobe_registry_flapping{registry=new.example} 0
pullprobe_registry_fault{cause=ConnectionTimeout,fault=node-infrastructure,registry=down.example:5000} 1
pullprobe_registry_fault{cause=RateLimited,fault=registry,registry=busy.example} 1
pullprobe_registry_role{registry=busy.example,role=registry} 1
pullprobe_registry_role{registry=down.example:5000,role=mirror} 1
pullprobe_registry_role{registry=good.example,role=control} 1
pullprobe_registry_role{registry=good.example,role=registry} 1
pullprobe_registry_role{registry=new.example,role=target} 1
pullprobe_registry_latency_seconds{phase=dial,registry=good.example} 0.001
pullprobe_registry_latency_seconds{phase=dns,registry=down.example:5000} 0.002
pullprobe_registry_latency_seconds{phase=dns,registry=good.example} 0.0025
pullprobe_registry_latency_seconds{phase=http,registry=good.example} 0.02
pullprobe_registry_latency_seconds{phase=tls,registry=good.example} 0.01
pullprobe_registry_certificate_expiry_timestamp_seconds{registry=good.example} 1.79532e+09
pullprobe_registry_clock_offset_seconds{registry=good.example} -1.5
pullprobe_resolver_up{resolver=10.0.0.2:53} 1
pullprobe_resolver_up{resolver=10.0.0.3:53} 0
pullprobe_resolver_latency_seconds{resolver=10.0.0.2:53} 0.03
pullprobe_node_fault{cause=ClockSkewed,check=clock,fault=node-infrastructure} 1
`
	if diff := cmp.Diff(want, allGauges(t, m)); diff != "" {
		t.Error(diff)
	}

	// What is no longer checked is no longer shown, nor is what is not known.
	m.ObserveSweep(report.Sweep{Time: began, Registries: []report.Registry{{Host: "good.example", State: report.Reachable}}})
	const less = `pullprobe_sweep_duration_seconds{} 0
pullprobe_sweep_timestamp_seconds{} 1.7952336e+09
pullprobe_registries{state=limited} 0
pullprobe_registries{state=reachable} 1
pullprobe_registries{state=unknown} 0
pullprobe_registries{state=unreachable} 0
pullprobe_registry_reachable{registry=good.example} 1
pullprobe_registry_flapping{registry=good.example} 0
`
	if diff := cmp.Diff(less, allGauges(t, m)); diff != "" {
		t.Error(diff)
	}
}

// allGauges returns all metrics of sweeps and of the node.
func allGauges(t *testing.T, m *Metrics) string {
	all := ""
	for _, name := range []string{
		sweepDuration, sweepTime, networkReachable, registries, registryReachable, registrySince, registryChecked, registryLimited, registryFlapping,
		registryFault, registryRole, registryLatency, registryExpiry, registryClock, resolverUp, resolverLatency, nodeFault, runtimeReady,
		diskFree, diskAvailable, diskSize, diskEviction, diskGrowth, diskInodes, diskInodesFree, diskReadOnly,
	} {
		all += gathered(t, m, name)
	}
	return all
}

// TestSweepIsBounded checks that no name or number of hosts makes a scrape fail, and
// that the worst hosts are shown. Tenants choose the hosts.
func TestSweepIsBounded(t *testing.T) {
	m := New("test")
	s := report.Sweep{
		Registries: []report.Registry{
			{Host: "bad\xff.example", State: report.Unreachable},
			{Host: "bad.example", State: report.Unreachable},
		},
	}
	for n := range 3 * maxRegistries {
		s.Registries = append(s.Registries, report.Registry{Host: fmt.Sprintf("r%d.example", n), State: report.Reachable})
		s.Resolvers = append(s.Resolvers, report.Resolver{Address: fmt.Sprintf("10.0.%d.1:53", n%200), Outcome: report.Pass})
	}
	m.ObserveSweep(s)
	reachable := gathered(t, m, registryReachable)
	if n := strings.Count(reachable, "\n"); n != maxRegistries || !strings.Contains(reachable, "{registry=bad.example} 0\n") {
		t.Errorf("%d registries: %s", n, reachable)
	}
	if got := gathered(t, m, registries); !strings.Contains(got, "{state=reachable} 300\n") ||
		!strings.Contains(got, "{state=unreachable} 2\n") {
		t.Error(got)
	}
	if n := strings.Count(gathered(t, m, resolverUp), "\n"); n != maxResolvers {
		t.Errorf("%d resolvers", n)
	}
}

// TestNodeMetrics checks the metrics of the node's own checks; an unknown figure is
// absent.
func TestNodeMetrics(t *testing.T) {
	m := New("test")
	m.ObserveNode(report.Check{Outcome: report.Fail, Cause: report.RuntimeUnavailable}, aDisk())
	const want = `pullprobe_node_fault{cause=DiskFull,check=disk,fault=node-infrastructure} 1
pullprobe_node_fault{cause=RuntimeUnavailable,check=runtime,fault=node-infrastructure} 1
pullprobe_runtime_ready{} 0
pullprobe_image_filesystem_free_bytes{} 1000
pullprobe_image_filesystem_available_bytes{} 900
pullprobe_image_filesystem_size_bytes{} 100000
pullprobe_image_filesystem_eviction_bytes{} 15000
pullprobe_image_filesystem_growth_bytes_per_second{} 12.5
pullprobe_image_filesystem_inodes{} 64
pullprobe_image_filesystem_inodes_free{} 32
pullprobe_image_filesystem_readonly{} 0
`
	if diff := cmp.Diff(want, allGauges(t, m)); diff != "" {
		t.Error(diff)
	}
	m.ObserveNode(
		report.Check{Outcome: report.Error},
		report.Check{Outcome: report.Pass, Evidence: map[string]string{"free": "NaN", "inodes": "unlimited", "readOnly": "unknown"}},
	)
	if got := allGauges(t, m); got != "" {
		t.Errorf("nothing is known: %s", got)
	}
}

// TestTestPullMetrics checks how test pulls are counted.
func TestTestPullMetrics(t *testing.T) {
	for _, tt := range []struct {
		check report.Check
		want  string
	}{
		{report.Check{}, ""},
		{report.Check{Outcome: report.Pass, Evidence: map[string]string{"seconds": "0.250", "bytes": "100"}}, "result=pulled} 1 in 0.25"},
		{report.Check{Outcome: report.Fail, Cause: report.TagNotFound, Evidence: map[string]string{"seconds": "2.000"}}, "reason=TagNotFound,result=failed} 1"},
		{report.Check{Outcome: report.Error, Evidence: map[string]string{"timedOut": "true"}}, "reason=deadline,result=stopped} 1"},
		{report.Check{Outcome: report.Error, Evidence: map[string]string{"stopped": "noSpace"}}, "reason=noSpace,result=stopped} 1"},
		{report.Check{Outcome: report.Error, Evidence: map[string]string{"code": "Unavailable"}}, "reason=runtimeUnavailable,result=stopped} 1"},
		{report.Check{Outcome: report.Skipped, Evidence: map[string]string{"skipped": "tooBig"}}, "reason=tooBig,result=skipped} 1"},
		{report.Check{Outcome: report.Skipped, BlockedBy: "runtime"}, "reason=runtimeUnavailable,result=skipped} 1"},
		{report.Check{Outcome: report.Skipped}, "reason=off,result=skipped} 1"},
	} {
		m := New("test")
		tt.check.ID = "pull"
		m.ObserveExamination(examine.Result{Checks: []report.Check{{ID: "disk", Outcome: report.Pass}, tt.check}})
		got := gathered(t, m, "pullprobe_test_pulls_total") + gathered(t, m, "pullprobe_test_pull_duration_seconds")
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%+v: %s", tt.check, got)
		}
	}
}

// TestStuckPods checks that pods which no longer wait are gone from the metrics.
func TestStuckPods(t *testing.T) {
	m := New("test")
	missing := report.Conclusion{Fault: report.FaultConfig, Cause: report.TagNotFound}
	full := report.Conclusion{Fault: report.FaultNode, Cause: report.DiskFull}
	state := func() string { return gathered(t, m, "pullprobe_stuck_pods") + gathered(t, m, stuckByCause) }
	m.SetStuckPods([]report.Conclusion{missing, full, missing})
	const want = `pullprobe_stuck_pods{} 3
pullprobe_stuck_pods_by_cause{cause=DiskFull,fault=node-infrastructure} 1
pullprobe_stuck_pods_by_cause{cause=TagNotFound,fault=cluster-config} 2
`
	if diff := cmp.Diff(want, state()); diff != "" {
		t.Error(diff)
	}
	m.SetStuckPods(nil)
	if got := state(); got != "pullprobe_stuck_pods{} 0\n" {
		t.Error(got)
	}
}

// TestReloadMetrics checks that a failed reload keeps the time of the last successful
// one.
func TestReloadMetrics(t *testing.T) {
	m := New("test")
	state := func() string {
		return gathered(
			t,
			m,
			"pullprobe_config_last_reload_successful",
		) + gathered(
			t,
			m,
			"pullprobe_config_last_reload_success_timestamp_seconds",
		)
	}
	if got := state(); got != "" {
		t.Errorf("nothing was reloaded yet: %s", got)
	}
	m.ObserveReload(true, began)
	m.ObserveReload(false, began.Add(time.Hour))
	const want = "pullprobe_config_last_reload_successful{} 0\npullprobe_config_last_reload_success_timestamp_seconds{} 1.7952336e+09\n"
	if diff := cmp.Diff(want, state()); diff != "" {
		t.Error(diff)
	}
}

// TestMetricsKeepTheRules checks Prometheus' rules for names, units and types.
func TestMetricsKeepTheRules(t *testing.T) {
	families, err := representative().Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := families[:0]
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "pullprobe_") {
			own = append(own, f)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(own).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestMetricsAreDocumented checks that docs/metrics.md has a row for every metric,
// with its type and labels, and no other row.
func TestMetricsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		name := strings.Trim(strings.TrimPrefix(cells[0], "| "), "`")
		if !strings.HasPrefix(line, "| `pullprobe_") || len(cells) != 5 {
			continue
		}
		labels := strings.Fields(strings.NewReplacer("`", "", "-", "").Replace(cells[2]))
		slices.Sort(labels)
		if _, twice := documented[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		documented[name] = cells[1] + " " + strings.Join(labels, ",")
		if unit := unitOf(name); unit != cells[3] {
			t.Errorf("%s: the documented unit is %q, the unit in its name is %q", name, cells[3], unit)
		}
	}
	is := described(t)
	if diff := cmp.Diff(is, documented); diff != "" {
		t.Errorf("- is, + docs/metrics.md has:\n%s", diff)
	}
	names := slices.Collect(maps.Keys(newGauges().desc))
	for _, name := range slices.AppendSeq(names, maps.Keys(newExamined().desc)) {
		if is[name] == "" {
			t.Errorf("%s is nowhere set", name)
		}
	}
}

// described returns type and labels of every metric, by name.
func described(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	families, err := representative().Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "pullprobe_") {
			continue
		}
		var labels []string
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					labels = append(labels, l.GetName())
				}
			}
		}
		slices.Sort(labels)
		out[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	return out
}

// unitOf returns the unit in a metric's name.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []struct{ suffix, unit string }{
		{"_bytes_per_second", "bytes/s"}, {"_timestamp_seconds", "Unix time, s"}, {"_seconds", "s"}, {"_bytes", "bytes"},
	} {
		if strings.HasSuffix(name, u.suffix) {
			return u.unit
		}
	}
	return "-"
}
