package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/flags"
	"github.com/pullprobe/pullprobe/probes/guard"
)

// Settings may change while the agent runs. A reload replaces all of them; none is
// changed in place.
type Settings struct {
	CoolDown  time.Duration
	Heartbeat time.Duration

	EventRenewal time.Duration

	TestPull            bool
	PullMaxBytes        int64
	CredentialProviders bool
	ProviderTokens      bool // no effect without CredentialProviders
	RegistryRate        int  // image checks per second and registry

	SweepInterval    time.Duration // 0: never
	SweepDeadline    time.Duration // of one host
	SweepConcurrency int
	Targets          []string // registry hosts, as images name them
	Control          []string // likewise
	Required         []string // likewise; without them this node cannot pull

	Allow, Deny []guard.Pattern

	CertificateDays int           // 0: no warning
	DiskFullWithin  time.Duration // 0: no warning
	ASCII           bool
}

// Policy returns the settings that an examination depends on.
func (s Settings) Policy() examine.Policy {
	return examine.Policy{
		TestPull:            s.TestPull,
		CredentialProviders: s.CredentialProviders,
		ProviderTokens:      s.ProviderTokens,
		CertificateDays:     s.CertificateDays,
		Allow:               s.Allow,
		Deny:                s.Deny,
	}
}

// Defaults returns the settings that hold where nothing else is set.
func Defaults() Settings {
	return Settings{
		CoolDown:  15 * time.Minute,
		Heartbeat: 10 * time.Minute,

		EventRenewal: 20 * time.Minute,

		TestPull:     true,
		PullMaxBytes: cri.DefaultPullMaxBytes,
		RegistryRate: 4,

		SweepInterval:    5 * time.Minute,
		SweepDeadline:    4 * time.Second,
		SweepConcurrency: 128,

		CertificateDays: 14,
		DiskFullWithin:  24 * time.Hour,
	}
}

// addFlags adds a flag for each setting. The flag's name is the setting's name
// everywhere, and its default is the value that the setting has now.
func (s *Settings) addFlags(g *flags.Groups) {
	fs := g.Add("Checks of stuck pods")
	fs.DurationVar(&s.CoolDown, "cool-down", s.CoolDown, "maximum interval between automatic checks of a stuck image (starts at 1m)")
	fs.IntVar(&s.RegistryRate, "registry-rate", s.RegistryRate, "image checks per second per registry (per namespace: 4×; burst: 4 s)")
	fs.BoolVar(&s.TestPull, "test-pull", s.TestPull, "let the runtime pull images whose pull already fails")
	fs.Int64Var(&s.PullMaxBytes, "test-pull-max-bytes", s.PullMaxBytes, "largest image for a test pull, compressed; 0: no limit")
	fs.BoolVar(&s.CredentialProviders, "credential-providers", s.CredentialProviders,
		"run the kubelet's credential provider plugins, as root on the node like the kubelet")
	fs.BoolVar(&s.ProviderTokens, "credential-provider-tokens", s.ProviderTokens,
		"with --credential-providers, also run plugins that need a token of the pod's ServiceAccount; "+
			"the agent requests that token in the node's name, by constrained impersonation (Kubernetes 1.36)")

	fs = g.Add("Report and Events")
	fs.DurationVar(&s.Heartbeat, "heartbeat", s.Heartbeat, "interval at which an unchanged report is written again")
	fs.DurationVar(&s.EventRenewal, "event-renewal", s.EventRenewal,
		"interval at which the Event on a stuck pod is written again; less than half of the API server's --event-ttl (1h by default)")
	fs.IntVar(&s.CertificateDays, "certificate-days", s.CertificateDays, "warn when a certificate expires within this many days; 0 disables")
	fs.DurationVar(&s.DiskFullWithin, "disk-full-within", s.DiskFullWithin,
		"warn when the image file system will be full within this time at the current rate; 0 disables")
	fs.BoolVar(&s.ASCII, "ascii", s.ASCII, "write the report's summary in ASCII only")

	fs = g.Add("Checks of all registries")
	fs.DurationVar(&s.SweepInterval, "sweep-interval", s.SweepInterval, "interval between checks of all registries; 0 disables")
	fs.DurationVar(&s.SweepDeadline, "sweep-deadline", s.SweepDeadline, "timeout of a sweep's checks per host")
	fs.IntVar(&s.SweepConcurrency, "sweep-concurrency", s.SweepConcurrency, "hosts that a sweep checks at the same time")

	fs = g.Add("Hosts")
	fs.Var(listFlag[string]{&s.Targets, parseHost}, "targets", "`hosts` to check although no pod names them, such as registry.example:5000")
	fs.Var(listFlag[string]{&s.Control, parseHost}, "control",
		"`hosts` that every node must reach; used to tell a registry outage from a node outage")
	fs.Var(listFlag[string]{&s.Required, parseHost}, "required",
		"`hosts` without which this node is of no use; they are checked like targets, and /pullz fails while one is not reachable")
	fs.Var(listFlag[guard.Pattern]{&s.Allow, guard.ParsePattern}, "allow",
		"`hosts` to contact even on loopback, link-local, metadata or this node's own addresses: "+
			"names (*.corp.example), host:port, addresses or ranges")
	fs.Var(listFlag[guard.Pattern]{&s.Deny, guard.ParsePattern}, "deny",
		"`hosts` never to contact, whatever else allows them: names (*.corp.example), host:port, addresses or ranges")
}

// problem is a setting that is out of bounds, and the bounds.
type problem struct{ name, want string }

// validate returns the settings that are out of bounds.
func (s Settings) validate() (out []problem) {
	check := func(ok bool, name, want string) {
		if !ok {
			out = append(out, problem{name, want})
		}
	}
	check(s.CoolDown >= 10*time.Second, "cool-down", "10s or more")
	check(s.Heartbeat >= time.Minute, "heartbeat", "1m or more")
	check(s.EventRenewal >= 10*time.Second, "event-renewal", "10s or more")
	check(s.PullMaxBytes >= 0, "test-pull-max-bytes", "a number of bytes, or 0 for no limit")
	check(s.RegistryRate >= 1 && s.RegistryRate <= 1000, "registry-rate", "1 to 1000")
	check(s.SweepInterval == 0 || s.SweepInterval >= 30*time.Second, "sweep-interval", "30s or more, or 0 to disable")
	check(s.SweepDeadline >= 500*time.Millisecond && s.SweepDeadline <= 30*time.Second, "sweep-deadline", "500ms to 30s")
	check(s.SweepConcurrency >= 1 && s.SweepConcurrency <= 256, "sweep-concurrency", "1 to 256")
	check(s.CertificateDays >= 0 && s.CertificateDays <= 365, "certificate-days", "1 to 365, or 0 to disable")
	check(s.DiskFullWithin == 0 || s.DiskFullWithin >= time.Hour && s.DiskFullWithin <= 30*24*time.Hour,
		"disk-full-within", "1h to 720h, or 0 to disable")
	return out
}

// strings returns the values of the settings in the form that a flag takes, by name.
func (s Settings) strings() map[string]string {
	var g flags.Groups
	s.addFlags(&g)
	out := map[string]string{}
	g.All().VisitAll(func(f *pflag.Flag) { out[f.Name] = f.Value.String() })
	return out
}

// ChangedNames returns the names of the settings in which s and other differ, sorted.
func (s Settings) ChangedNames(other Settings) []string {
	theirs := other.strings()
	ours := s.strings()
	maps.DeleteFunc(ours, func(name, text string) bool { return theirs[name] == text })
	return slices.Sorted(maps.Keys(ours))
}

// listFlag is a flag with several values, separated by commas.
type listFlag[T comparable] struct {
	to    *[]T
	parse func(string) (T, error)
}

func (l listFlag[T]) String() string {
	if l.to == nil {
		return ""
	}
	var out []string
	for _, v := range *l.to {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ",")
}

// Type names the value in messages.
func (l listFlag[T]) Type() string { return "hosts" }

func (l listFlag[T]) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return l.setAll(nil)
	}
	return l.setAll(strings.Split(text, ","))
}

// setAll sets the values of these entries, without duplicates and in their order.
func (l listFlag[T]) setAll(entries []string) error {
	var out []T
	for _, e := range entries {
		v, err := l.parse(strings.TrimSpace(e))
		if err != nil {
			return err
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	*l.to = out
	return nil
}

// parseHost reads one registry host, as images name it.
func parseHost(s string) (string, error) {
	p, err := guard.ParsePattern(s)
	if err != nil {
		return "", err
	}
	host, ok := p.Host()
	if !ok {
		return "", fmt.Errorf("%.80q matches many hosts: list each one, such as registry.example:5000", s)
	}
	return host, nil
}

// LiveSettings holds the current settings. Its users call Get each time they need one: a
// copy does not see a reload.
type LiveSettings struct{ now atomic.Pointer[current] }

type current struct {
	Settings
	replaced chan struct{} // closed when these are no longer the current settings
}

// NewLive returns a Live with these settings.
func NewLive(s Settings) *LiveSettings {
	l := new(LiveSettings)
	l.now.Store(&current{s, make(chan struct{})})
	return l
}

// Get returns the current settings.
func (l *LiveSettings) Get() Settings { return l.now.Load().Settings }

// Watch returns the current settings, and a channel that is closed when others
// replace them.
func (l *LiveSettings) Watch() (Settings, <-chan struct{}) {
	f := l.now.Load()
	return f.Settings, f.replaced
}

// Set replaces the settings.
func (l *LiveSettings) Set(s Settings) {
	close(l.now.Swap(&current{s, make(chan struct{})}).replaced)
}
