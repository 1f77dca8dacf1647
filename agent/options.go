package agent

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/cri"
)

// DefaultPullMaxBytes is the largest image that is test-pulled, compressed,
// unless told otherwise.
const DefaultPullMaxBytes = 2 << 30

// Options are the agent's settings. Each is a flag; where a flag is not given
// the environment variable PULLPROBE_<FLAG> in capitals and underscores counts.
type Options struct {
	NodeName        string
	Namespace       string
	Kubeconfig      string
	RuntimeEndpoint string
	JournalDir      string
	HealthAddr      string
	LogLevel        slog.Level

	Workers   int
	CoolDown  time.Duration
	Heartbeat time.Duration

	TestPull            bool
	CredentialProviders bool
	ReadAsNode          bool
	PullMaxBytes        int64

	Version string
}

// ParseOptions reads flags and environment. A wrong value is an error that
// names it; -h gives flag.ErrHelp after the usage was written.
func ParseOptions(args []string, getenv func(string) string, usage *strings.Builder) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("pullprobe agent", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&o.NodeName, "node-name", "", "name of the node this agent runs on (required; NODE_NAME)")
	fs.StringVar(&o.Namespace, "namespace", "", "namespace of the report ConfigMaps (POD_NAMESPACE; default pullprobe)")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file, for running outside a cluster")
	fs.StringVar(&o.RuntimeEndpoint, "runtime-endpoint", "unix:///run/containerd/containerd.sock", "CRI socket of the container runtime")
	fs.StringVar(&o.JournalDir, "journal-dir", cri.DefaultJournalDir, "directory for the journal of test pulls; must survive a restart")
	fs.StringVar(&o.HealthAddr, "health-addr", "127.0.0.1:9780", "address for /healthz, /readyz and /metrics; empty switches them off")
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.IntVar(&o.Workers, "workers", 16, "images examined at the same time")
	fs.DurationVar(&o.CoolDown, "cool-down", 15*time.Minute, "longest time before an image that stays stuck is examined again unasked; it begins with 1m")
	fs.DurationVar(&o.Heartbeat, "heartbeat", 10*time.Minute, "how often the report is refreshed when nothing changes")
	fs.BoolVar(&o.TestPull, "test-pull", true, "let the runtime pull images whose pull fails already")
	fs.BoolVar(&o.CredentialProviders, "credential-providers", false, "run the kubelet's credential provider plugins, as root on the node and as the kubelet does")
	fs.BoolVar(&o.ReadAsNode, "read-as-node", false, "read pull secrets and ServiceAccounts as the node itself, by constrained impersonation (Kubernetes 1.36); where that is refused, with the agent's own rights")
	fs.Int64Var(&o.PullMaxBytes, "test-pull-max-bytes", DefaultPullMaxBytes, "largest image that is test-pulled, compressed")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: agent takes flags only", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := "PULLPROBE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" && !given[f.Name] {
			if err := fs.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", name, v, err))
			}
		}
	})
	if o.NodeName == "" {
		o.NodeName = getenv("NODE_NAME")
	}
	if o.Namespace == "" {
		o.Namespace = getenv("POD_NAMESPACE")
	}
	if o.Namespace == "" {
		o.Namespace = "pullprobe"
	}
	if o.NodeName == "" {
		errs = append(errs, errors.New("--node-name is missing: in a DaemonSet set NODE_NAME from spec.nodeName"))
	}
	if o.Workers < 1 || o.Workers > 64 {
		errs = append(errs, fmt.Errorf("--workers=%d: must be 1 to 64", o.Workers))
	}
	if o.CoolDown < 10*time.Second {
		errs = append(errs, fmt.Errorf("--cool-down=%v: must be 10s or more", o.CoolDown))
	}
	if o.Heartbeat < time.Minute {
		errs = append(errs, fmt.Errorf("--heartbeat=%v: must be 1m or more", o.Heartbeat))
	}
	if o.PullMaxBytes < 0 {
		errs = append(errs, fmt.Errorf("--test-pull-max-bytes=%d: must not be negative", o.PullMaxBytes))
	}
	return o, errors.Join(errs...)
}
