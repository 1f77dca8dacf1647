package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullprobe/pullprobe/report"
)

// gauges are collected as snapshots: a scrape sees all of one sweep or all of the
// next, and what is gone from the node is gone from the metrics. What is not known is
// absent.
type gauges struct {
	desc  map[string]*prometheus.Desc
	sweep atomic.Pointer[[]prometheus.Metric]
	node  atomic.Pointer[[]prometheus.Metric]
	stuck atomic.Pointer[[]prometheus.Metric]
}

func newGauges() *gauges {
	f := &gauges{desc: map[string]*prometheus.Desc{}}
	for _, d := range []struct {
		name, help string
		labels     []string
	}{
		{sweepDuration, "How long the last sweep took.", nil},
		{sweepTime, "When the last sweep ended.", nil},
		{networkReachable, "Whether this node reaches any host, by the control check.", nil},
		{registries, "Hosts of the last sweep, by state.", []string{"state"}},
		{registryReachable, "Whether the host answers; 401 and 429 are answers.", []string{"registry"}},
		{registrySince, "When the host's state last changed.", []string{"registry"}},
		{registryChecked, "When the host was last checked.", []string{"registry"}},
		{registryLimited, "Until when a host that answered 429 is not checked.", []string{"registry"}},
		{registryFlapping, "Whether the host's state keeps changing.", []string{"registry"}},
		{registryFault, "Always 1; labels give the cause and who must act.", []string{"registry", "cause", "fault"}},
		{registryRole, "Always 1; the label gives why the host is checked.", []string{"registry", "role"}},
		{registryLatency, "Duration of each phase of the last check.", []string{"registry", "phase"}},
		{registryExpiry, "When the host's certificate expires.", []string{"registry"}},
		{registryClock, "How far this node's clock is ahead of the host's.", []string{"registry"}},
		{resolverUp, "Whether the node's resolver answered for any name.", []string{"resolver"}},
		{resolverLatency, "The slowest of the resolver's answers.", []string{"resolver"}},
		{stuckByCause, "Pods of this node that wait for an image, by who must act and the cause.", []string{"fault", "cause"}},
		{nodeFault, "Always 1; a failed check of the node itself: labels give the cause and who must act.", []string{"check", "cause", "fault"}},
		{runtimeReady, "Whether the container runtime answers and reports that it is ready.", nil},
		{diskFree, "Bytes free on the runtime's image file system, for root.", nil},
		{diskAvailable, "Bytes free on the runtime's image file system, for other users; the kubelet uses these.", nil},
		{diskSize, "Size of the runtime's image file system.", nil},
		{diskEviction, "Eviction threshold of the kubelet: below, it removes images and evicts pods.", nil},
		{diskGrowth, "How fast the usage of the runtime's image file system grows; negative: it shrinks.", nil},
		{diskInodes, "Inodes of the runtime's image file system.", nil},
		{diskInodesFree, "Free inodes of the runtime's image file system.", nil},
		{diskReadOnly, "Whether the runtime's image file system is read-only.", nil},
	} {
		f.desc[d.name] = prometheus.NewDesc(d.name, d.help, d.labels, nil)
	}
	return f
}

const (
	sweepDuration    = "pullprobe_sweep_duration_seconds"
	sweepTime        = "pullprobe_sweep_timestamp_seconds"
	networkReachable = "pullprobe_network_reachable"
	registries       = "pullprobe_registries"

	registryReachable = "pullprobe_registry_reachable"
	registrySince     = "pullprobe_registry_state_since_timestamp_seconds"
	registryChecked   = "pullprobe_registry_checked_timestamp_seconds"
	registryLimited   = "pullprobe_registry_limited_until_timestamp_seconds"
	registryFlapping  = "pullprobe_registry_flapping"
	registryFault     = "pullprobe_registry_fault"
	registryRole      = "pullprobe_registry_role"
	registryLatency   = "pullprobe_registry_latency_seconds"
	registryExpiry    = "pullprobe_registry_certificate_expiry_timestamp_seconds"
	registryClock     = "pullprobe_registry_clock_offset_seconds"

	resolverUp      = "pullprobe_resolver_up"
	resolverLatency = "pullprobe_resolver_latency_seconds"

	stuckByCause = "pullprobe_stuck_pods_by_cause"

	nodeFault      = "pullprobe_node_fault"
	runtimeReady   = "pullprobe_runtime_ready"
	diskFree       = "pullprobe_image_filesystem_free_bytes"
	diskAvailable  = "pullprobe_image_filesystem_available_bytes"
	diskSize       = "pullprobe_image_filesystem_size_bytes"
	diskEviction   = "pullprobe_image_filesystem_eviction_bytes"
	diskGrowth     = "pullprobe_image_filesystem_growth_bytes_per_second"
	diskInodes     = "pullprobe_image_filesystem_inodes"
	diskInodesFree = "pullprobe_image_filesystem_inodes_free"
	diskReadOnly   = "pullprobe_image_filesystem_readonly"
)

// Describe and Collect implement prometheus.Collector.
func (f *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range f.desc {
		ch <- d
	}
}

func (f *gauges) Collect(ch chan<- prometheus.Metric) {
	for _, taken := range []*[]prometheus.Metric{f.sweep.Load(), f.node.Load(), f.stuck.Load()} {
		if taken == nil {
			continue
		}
		for _, m := range *taken {
			ch <- m
		}
	}
}

// snapshot is one set of gauges while it is collected.
type snapshot struct {
	desc map[string]*prometheus.Desc
	list []prometheus.Metric
}

// set adds a gauge.
func (s *snapshot) set(name string, value float64, labels ...string) {
	s.list = append(s.list, prometheus.MustNewConstMetric(s.desc[name], prometheus.GaugeValue, value, labels...))
}

// flag adds a gauge that is 1 or 0.
func (s *snapshot) flag(name string, holds bool, labels ...string) {
	value := 0.
	if holds {
		value = 1
	}
	s.set(name, value, labels...)
}

// time adds a gauge with a Unix time, unless at is zero.
func (s *snapshot) time(name string, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.set(name, epoch(at), labels...)
	}
}

// passed adds whether a check passed, if it passed or failed.
func (s *snapshot) passed(name string, c report.Check) {
	if c.Outcome == report.Pass || c.Outcome == report.Fail {
		s.flag(name, c.Outcome == report.Pass)
	}
}

// failed adds the fault of a check of the node, if it failed.
func (s *snapshot) failed(check string, c report.Check) {
	if c.Outcome == report.Fail {
		s.set(nodeFault, 1, check, string(c.Cause), string(c.Cause.DefaultFault()))
	}
}

// label returns a text that is valid as the value of a label.
func label(text string) string { return strings.ToValidUTF8(text, "") }

// maxResolvers limits the resolvers: only a few of a resolv.conf are used.
const maxResolvers = 10

// ObserveSweep replaces the metrics of the last sweep. The hosts beyond the limit are
// those in the best state; the registries by state include them.
func (m *Metrics) ObserveSweep(s report.Sweep) {
	t := snapshot{desc: m.gauges.desc}
	t.set(sweepDuration, time.Duration(s.Duration).Seconds())
	t.time(sweepTime, s.Time)
	t.passed(networkReachable, s.Control)
	t.failed(report.IDControl, s.Control)
	t.failed(report.IDClock, s.Clock)

	count := map[report.HostState]int{}
	shown := map[string]bool{}
	for _, r := range s.Registries {
		r.Host = label(r.Host)
		if r.State != report.Reachable && r.State != report.Limited && r.State != report.Unreachable {
			r.State = report.ReachUnknown
		}
		count[r.State]++
		if !shown[r.Host] && len(shown) < maxRegistries {
			shown[r.Host] = true
			t.host(r)
		}
	}
	for _, state := range []report.HostState{report.ReachUnknown, report.Reachable, report.Limited, report.Unreachable} {
		t.set(registries, float64(count[state]), string(state))
	}

	clear(shown)
	for _, r := range s.Resolvers {
		r.Address = label(r.Address)
		if shown[r.Address] || len(shown) == maxResolvers {
			continue
		}
		shown[r.Address] = true
		if r.Outcome == report.Pass || r.Outcome == report.Fail {
			t.flag(resolverUp, r.Outcome == report.Pass, r.Address)
		}
		if r.Latency > 0 {
			t.set(resolverLatency, time.Duration(r.Latency).Seconds(), r.Address)
		}
	}
	m.gauges.sweep.Store(&t.list)
}

// host adds the metrics of one host.
func (s *snapshot) host(r report.Registry) {
	if r.State != report.ReachUnknown {
		s.flag(registryReachable, r.State != report.Unreachable, r.Host)
	}
	s.time(registrySince, r.Since, r.Host)
	s.time(registryChecked, r.Checked, r.Host)
	if r.NotBefore != nil {
		s.time(registryLimited, *r.NotBefore, r.Host)
	}
	s.flag(registryFlapping, r.Flapping, r.Host)
	if r.Cause != "" {
		s.set(registryFault, 1, r.Host, string(r.Cause), string(r.Fault))
	}
	for i, role := range r.Roles {
		if !slices.Contains(r.Roles[:i], role) {
			s.set(registryRole, 1, r.Host, string(role))
		}
	}
	for _, p := range []struct {
		phase string
		took  report.Millis
	}{{"dns", r.Latency.DNS}, {"dial", r.Latency.Dial}, {"tls", r.Latency.TLS}, {"http", r.Latency.HTTP}} {
		if p.took > 0 {
			s.set(registryLatency, time.Duration(p.took).Seconds(), r.Host, p.phase)
		}
	}
	if r.Certificate != nil {
		s.time(registryExpiry, r.Certificate.NotAfter, r.Host)
	}
	if r.ClockMs != nil {
		s.set(registryClock, float64(*r.ClockMs)/1000, r.Host)
	}
}

// ObserveNode replaces the metrics of the node's own state.
func (m *Metrics) ObserveNode(runtime, disk report.Check) {
	t := snapshot{desc: m.gauges.desc}
	t.passed(runtimeReady, runtime)
	t.failed(report.IDRuntime, runtime)
	t.failed(report.IDDisk, disk)
	for _, f := range []struct{ name, key string }{
		{diskFree, report.KeyFree}, {diskAvailable, report.KeyAvailable}, {diskSize, report.KeyTotal}, {diskEviction, report.KeyEvictionBytes},
		{diskInodes, report.KeyInodes}, {diskInodesFree, report.KeyInodesFree}, {diskGrowth, report.KeyGrowthPerSecond},
	} {
		if n, ok := number(disk, f.key); ok {
			t.set(f.name, n)
		}
	}
	if ro := disk.Evidence[report.KeyReadOnly]; ro == report.True || ro == "false" {
		t.flag(diskReadOnly, ro == report.True)
	}
	m.gauges.node.Store(&t.list)
}

// setStuck replaces the metrics of the pods that wait for an image.
func (f *gauges) setStuck(verdicts []report.Conclusion) {
	count := map[report.Conclusion]int{}
	for _, v := range verdicts {
		count[v]++
	}
	t := snapshot{desc: f.desc}
	for v, n := range count {
		t.set(stuckByCause, float64(n), string(v.Fault), string(v.Cause))
	}
	f.stuck.Store(&t.list)
}
