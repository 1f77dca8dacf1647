package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pullprobe/pullprobe/report"
)

// figures are gauges that are taken together: a scrape sees all of one sweep
// or all of the next, and what has gone from the node goes from the figures.
// What is not known is absent.
type gauges struct {
	desc  map[string]*prometheus.Desc
	sweep atomic.Pointer[[]prometheus.Metric]
	node  atomic.Pointer[[]prometheus.Metric]
}

func newGauges() *gauges {
	f := &gauges{desc: map[string]*prometheus.Desc{}}
	for _, d := range []struct {
		name, help string
		labels     []string
	}{
		{sweepDuration, "How long the last sweep took.", nil},
		{sweepTime, "When the last sweep ended.", nil},
		{networkReachable, "Whether this node reaches anything at all, by the control set.", nil},
		{registries, "Hosts that were swept, by state.", []string{"state"}},
		{registryReachable, "Whether the host answers, a 401 or 429 included.", []string{"registry"}},
		{registrySince, "When the host came into its state.", []string{"registry"}},
		{registryChecked, "When the host was last looked at.", []string{"registry"}},
		{registryLimited, "Until when a host that answered 429 is left alone.", []string{"registry"}},
		{registryFlapping, "Whether the host's state changes all the time.", []string{"registry"}},
		{registryFault, "Constant 1: why the host cannot be had, and who must act.", []string{"registry", "cause", "fault"}},
		{registryRole, "Constant 1: why the host is looked at.", []string{"registry", "role"}},
		{registryLatency, "How long the phases of the last look took.", []string{"registry", "phase"}},
		{registryExpiry, "When the host's certificate expires.", []string{"registry"}},
		{registryClock, "How far this node's clock is ahead of the host's.", []string{"registry"}},
		{resolverUp, "Whether the node's resolver answered for any name.", []string{"resolver"}},
		{resolverLatency, "The slowest of the resolver's answers.", []string{"resolver"}},
		{nodeFault, "Constant 1: a check of the node itself that failed, why, and who must act.", []string{"check", "cause", "fault"}},
		{runtimeReady, "Whether the container runtime answers and says it is ready.", nil},
		{diskFree, "Bytes free on the runtime's image file system, for root.", nil},
		{diskAvailable, "Bytes free on the runtime's image file system, for everybody else; the kubelet goes by these.", nil},
		{diskSize, "Size of the runtime's image file system.", nil},
		{diskEviction, "Bytes that the kubelet wants available: below, it removes images and evicts pods.", nil},
		{diskGrowth, "How fast the runtime's image file system fills; negative: it empties.", nil},
		{diskInodes, "Inodes of the runtime's image file system.", nil},
		{diskInodesFree, "Free inodes of the runtime's image file system.", nil},
		{diskReadOnly, "Whether the runtime's image file system cannot be written.", nil},
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
	for _, taken := range []*[]prometheus.Metric{f.sweep.Load(), f.node.Load()} {
		if taken == nil {
			continue
		}
		for _, m := range *taken {
			ch <- m
		}
	}
}

// taking is one set of figures while it is taken.
type snapshot struct {
	desc map[string]*prometheus.Desc
	list []prometheus.Metric
}

func (t *snapshot) set(name string, value float64, labels ...string) {
	t.list = append(t.list, prometheus.MustNewConstMetric(t.desc[name], prometheus.GaugeValue, value, labels...))
}

func (t *snapshot) flag(name string, holds bool, labels ...string) {
	value := 0.
	if holds {
		value = 1
	}
	t.set(name, value, labels...)
}

func (t *snapshot) time(name string, at time.Time, labels ...string) {
	if !at.IsZero() {
		t.set(name, epoch(at), labels...)
	}
}

// passed says how a check ended, if it did.
func (t *snapshot) passed(name string, c report.Check) {
	if c.Outcome == report.Pass || c.Outcome == report.Fail {
		t.flag(name, c.Outcome == report.Pass)
	}
}

func (t *snapshot) failed(check string, c report.Check) {
	if c.Outcome == report.Fail {
		t.set(nodeFault, 1, check, string(c.Cause), string(c.Cause.DefaultFault()))
	}
}

// label makes a text fit for a label.
func label(text string) string { return strings.ToValidUTF8(text, "") }

// maxResolvers bounds the resolvers shown; of a resolv.conf few are used.
const maxResolvers = 10

// swept shows a sweep. The hosts beyond the bound are those in the best state,
// and are counted among the registries by state all the same.
func (m *Metrics) ObserveSweep(s report.Sweep) {
	t := snapshot{desc: m.gauges.desc}
	t.set(sweepDuration, time.Duration(s.Duration).Seconds())
	t.time(sweepTime, s.Time)
	t.passed(networkReachable, s.Control)
	t.failed("control", s.Control)
	t.failed("clock", s.Clock)

	count := map[report.Reach]int{}
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
	for _, state := range []report.Reach{report.ReachUnknown, report.Reachable, report.Limited, report.Unreachable} {
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

func (t *snapshot) host(r report.Registry) {
	if r.State != report.ReachUnknown {
		t.flag(registryReachable, r.State != report.Unreachable, r.Host)
	}
	t.time(registrySince, r.Since, r.Host)
	t.time(registryChecked, r.Checked, r.Host)
	if r.NotBefore != nil {
		t.time(registryLimited, *r.NotBefore, r.Host)
	}
	t.flag(registryFlapping, r.Flapping, r.Host)
	if r.Cause != "" {
		t.set(registryFault, 1, r.Host, string(r.Cause), string(r.Fault))
	}
	for i, role := range r.Roles {
		if !slices.Contains(r.Roles[:i], role) {
			t.set(registryRole, 1, r.Host, string(role))
		}
	}
	for _, p := range []struct {
		phase string
		took  report.Millis
	}{{"dns", r.Latency.DNS}, {"dial", r.Latency.Dial}, {"tls", r.Latency.TLS}, {"http", r.Latency.HTTP}} {
		if p.took > 0 {
			t.set(registryLatency, time.Duration(p.took).Seconds(), r.Host, p.phase)
		}
	}
	if r.Certificate != nil {
		t.time(registryExpiry, r.Certificate.NotAfter, r.Host)
	}
	if r.ClockMs != nil {
		t.set(registryClock, float64(*r.ClockMs)/1000, r.Host)
	}
}

// looked shows the node's own state.
func (m *Metrics) ObserveNode(runtime, disk report.Check) {
	t := snapshot{desc: m.gauges.desc}
	t.passed(runtimeReady, runtime)
	t.failed("runtime", runtime)
	t.failed("disk", disk)
	for _, f := range []struct{ name, key string }{
		{diskFree, "free"}, {diskAvailable, "available"}, {diskSize, "total"}, {diskEviction, "evictionBytes"},
		{diskInodes, "inodes"}, {diskInodesFree, "inodesFree"}, {diskGrowth, "growthPerSecond"},
	} {
		if n, ok := number(disk, f.key); ok {
			t.set(f.name, n)
		}
	}
	if ro := disk.Evidence["readOnly"]; ro == "true" || ro == "false" {
		t.flag(diskReadOnly, ro == "true")
	}
	m.gauges.node.Store(&t.list)
}
