package fleet

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
)

// Options are what the fleet is started with.
type Options struct {
	Namespace   string // of the reports, the Lease and what the fleet writes
	Identity    string // of this replica, unique
	Kubeconfig  string // empty: the pod's ServiceAccount
	HealthAddr  string // empty: no such port
	MetricsAddr string // empty: no such port
	MetricsAuth bool
	PoolLabels  []string // labels that name a node's pool, before those of the providers
	LogLevel    slog.Level
	Version     string
}

// Parse reads flags, and the environment for those that are not given: PULLPROBE_FLEET_ and
// the flag's name. The error names the setting. It is flag.ErrHelp after -h, when help has
// the usage.
func Parse(args []string, getenv func(string) string, help io.Writer) (Options, error) {
	var o Options
	var pools string
	fs := flag.NewFlagSet("pullprobe-fleet", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.StringVar(&o.Namespace, "namespace", getenv("POD_NAMESPACE"), "namespace of the reports (default: $POD_NAMESPACE)")
	fs.StringVar(&o.Identity, "identity", getenv("POD_NAME"), "name of this replica (default: $POD_NAME)")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the pod's ServiceAccount)")
	fs.StringVar(&o.HealthAddr, "health-addr", ":9782", "address of /healthz and /readyz; empty disables")
	fs.StringVar(&o.MetricsAddr, "metrics-addr", "", "address of /metrics; empty disables")
	fs.BoolVar(&o.MetricsAuth, "metrics-auth", true, "serve metrics over HTTPS and require a bearer token with get access to /metrics")
	fs.StringVar(&pools, "pool-labels", "", "`labels` of Nodes that name the node's pool, separated by commas")
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	var problem error
	fs.VisitAll(func(f *flag.Flag) {
		name := "PULLPROBE_FLEET_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" {
			if err := fs.Set(f.Name, v); err != nil && problem == nil {
				problem = fmt.Errorf("%s=%s: %w", name, v, err)
			}
		}
	})
	if problem != nil {
		return Options{}, problem
	}
	if err := fs.Parse(args); err != nil {
		return Options{}, err
	}
	if fs.NArg() > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	for label := range strings.SplitSeq(pools, ",") {
		if label = strings.TrimSpace(label); label != "" {
			o.PoolLabels = append(o.PoolLabels, label)
		}
	}
	return o, o.validate()
}

func (o Options) validate() error {
	switch {
	case o.Namespace == "":
		return fmt.Errorf("--namespace is missing: name the namespace of the reports")
	case o.Identity == "":
		return fmt.Errorf("--identity is missing: name this replica, for example by its pod")
	}
	for name, addr := range map[string]string{"health-addr": o.HealthAddr, "metrics-addr": o.MetricsAddr} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return fmt.Errorf("--%s=%s: want host:port, such as :9782", name, addr)
		}
	}
	return nil
}
