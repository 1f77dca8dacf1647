package agent

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/probes/guard"
)

// Settings are those that may change while the agent runs. They are not
// changed in place: a reload puts others in their stead.
type Settings struct {
	CoolDown  time.Duration
	Heartbeat time.Duration

	TestPull            bool
	PullMaxBytes        int64
	CredentialProviders bool
	RegistryRate        int // examinations of images of one registry in a second

	SweepInterval    time.Duration // 0: no sweeps
	SweepDeadline    time.Duration // of one host
	SweepConcurrency int
	Targets          []string // hosts as images name them
	Control          []string // likewise

	Allow, Deny []guard.Pattern

	CertificateDays int           // 0: no remark
	DiskFullWithin  time.Duration // 0: no remark
	ASCII           bool
}

// policy returns what of the settings an examination goes by.
func (s Settings) policy() examine.Policy {
	return examine.Policy{
		TestPull:            s.TestPull,
		CredentialProviders: s.CredentialProviders,
		CertificateDays:     s.CertificateDays,
		Allow:               s.Allow,
		Deny:                s.Deny,
	}
}

func defaultSettings() Settings {
	return Settings{
		CoolDown: 15 * time.Minute, Heartbeat: 10 * time.Minute,
		TestPull: true, PullMaxBytes: cri.DefaultPullMaxBytes, RegistryRate: 4,
		SweepInterval: 5 * time.Minute, SweepDeadline: 4 * time.Second, SweepConcurrency: 128,
		CertificateDays: 14, DiskFullWithin: 24 * time.Hour,
	}
}

// bind gives each setting its flag, whose name is its name everywhere, with the
// value that it has as the default.
func (s *Settings) bind(fs *flag.FlagSet) {
	fs.DurationVar(&s.CoolDown, "cool-down", s.CoolDown, "longest time before an image that stays stuck is examined again unasked; it begins with 1m")
	fs.DurationVar(&s.Heartbeat, "heartbeat", s.Heartbeat, "how often the report is refreshed when nothing changes")
	fs.BoolVar(&s.TestPull, "test-pull", s.TestPull, "let the runtime pull images whose pull fails already")
	fs.Int64Var(&s.PullMaxBytes, "test-pull-max-bytes", s.PullMaxBytes, "largest image that is test-pulled, compressed; 0 is no limit")
	fs.BoolVar(&s.CredentialProviders, "credential-providers", s.CredentialProviders, "run the kubelet's credential provider plugins, as root on the node and as the kubelet does")
	fs.IntVar(&s.RegistryRate, "registry-rate", s.RegistryRate, "examinations in a second of images of one registry; a namespace gets four times as many, and either may begin with those of 4s at once")
	fs.DurationVar(&s.SweepInterval, "sweep-interval", s.SweepInterval, "how often the registries of this node are looked at though nothing is stuck; 0 switches these sweeps off")
	fs.DurationVar(&s.SweepDeadline, "sweep-deadline", s.SweepDeadline, "how long a sweep waits for one host")
	fs.IntVar(&s.SweepConcurrency, "sweep-concurrency", s.SweepConcurrency, "hosts that a sweep looks at side by side")
	fs.Var(list[string]{&s.Targets, parseHost}, "targets", "`hosts` that are swept though no pod names them, such as registry.example:5000")
	fs.Var(list[string]{&s.Control, parseHost}, "control", "`hosts` that tell a registry that is away from a node that is cut off: those it must reach in any case")
	fs.Var(list[guard.Pattern]{&s.Allow, guard.ParsePattern}, "allow", "`hosts` that are contacted although they are on a loopback, link-local, metadata or other address, or one of the node's own, that else is refused: names (*.corp.example), host:port, addresses or ranges")
	fs.Var(list[guard.Pattern]{&s.Deny, guard.ParsePattern}, "deny", "`hosts` that are never contacted as registry, mirror, token service or redirect target, whatever else allows them: names (*.corp.example), host:port, addresses or ranges")
	fs.IntVar(&s.CertificateDays, "certificate-days", s.CertificateDays, "remark on a certificate that has fewer days left; 0 is none")
	fs.DurationVar(&s.DiskFullWithin, "disk-full-within", s.DiskFullWithin, "remark on an image file system that will be full within this time at the present rate; 0 is none")
	fs.BoolVar(&s.ASCII, "ascii", s.ASCII, "write only ASCII into the report's summary")
}

// problem is a value that is out of bounds, and what would be within.
type problem struct{ name, want string }

func (s Settings) problems() (out []problem) {
	check := func(ok bool, name, want string) {
		if !ok {
			out = append(out, problem{name, want})
		}
	}
	check(s.CoolDown >= 10*time.Second, "cool-down", "10s or more")
	check(s.Heartbeat >= time.Minute, "heartbeat", "1m or more")
	check(s.PullMaxBytes >= 0, "test-pull-max-bytes", "a number of bytes, or 0 for no limit")
	check(s.RegistryRate >= 1 && s.RegistryRate <= 1000, "registry-rate", "1 to 1000")
	check(s.SweepInterval == 0 || s.SweepInterval >= 30*time.Second, "sweep-interval", "30s or more, or 0 for no sweeps")
	check(s.SweepDeadline >= 500*time.Millisecond && s.SweepDeadline <= 30*time.Second, "sweep-deadline", "500ms to 30s")
	check(s.SweepConcurrency >= 1 && s.SweepConcurrency <= 256, "sweep-concurrency", "1 to 256")
	check(s.CertificateDays >= 0 && s.CertificateDays <= 365, "certificate-days", "1 to 365, or 0 for no remark")
	check(s.DiskFullWithin == 0 || s.DiskFullWithin >= time.Hour && s.DiskFullWithin <= 30*24*time.Hour, "disk-full-within", "1h to 720h, or 0 for no remark")
	return out
}

// texts are the settings as they would be given, by name.
func (s Settings) texts() map[string]string {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s.bind(fs)
	out := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { out[f.Name] = f.Value.String() })
	return out
}

// changed are the names of the settings in which s and other differ, sorted.
func (s Settings) changed(other Settings) []string {
	theirs := other.texts()
	ours := s.texts()
	maps.DeleteFunc(ours, func(name, text string) bool { return theirs[name] == text })
	return slices.Sorted(maps.Keys(ours))
}

// list is a flag with several values, separated by commas.
type list[T comparable] struct {
	to    *[]T
	parse func(string) (T, error)
}

func (l list[T]) String() string {
	if l.to == nil {
		return ""
	}
	var out []string
	for _, v := range *l.to {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ",")
}

func (l list[T]) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return l.setAll(nil)
	}
	return l.setAll(strings.Split(text, ","))
}

// setAll takes the values of entries, each once and in their order.
func (l list[T]) setAll(entries []string) error {
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

// parseHost reads one host as images name it.
func parseHost(s string) (string, error) {
	p, err := guard.ParsePattern(s)
	if err != nil {
		return "", err
	}
	host, ok := p.Host()
	if !ok {
		return "", fmt.Errorf("%.80q stands for many hosts: name each, such as registry.example:5000", s)
	}
	return host, nil
}

// live are the settings that hold now. Whoever needs one asks for it then: a
// copy that is kept outlives a reload.
type live struct{ now atomic.Pointer[inForce] }

type inForce struct {
	Settings
	replaced chan struct{} // closed when others hold
}

func newLive(s Settings) *live {
	l := new(live)
	l.now.Store(&inForce{s, make(chan struct{})})
	return l
}

func (l *live) get() Settings { return l.now.Load().Settings }

// watch gives the settings, and a channel that is closed when they hold no
// more.
func (l *live) watch() (Settings, <-chan struct{}) {
	f := l.now.Load()
	return f.Settings, f.replaced
}

func (l *live) set(s Settings) {
	close(l.now.Swap(&inForce{s, make(chan struct{})}).replaced)
}
