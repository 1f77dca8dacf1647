// Package config reads the agent's settings from flags, environment and
// configuration file, and puts changes of the file into effect.
package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/cri"
)

// Options are the agent's settings. Each is a flag; where a flag is not given
// the environment variable PULLPROBE_<FLAG> in capitals and underscores counts,
// then, for the [Settings], the configuration file.
type Options struct {
	NodeName        string
	Namespace       string
	Kubeconfig      string
	RuntimeEndpoint string
	JournalDir      string
	HealthAddr      string
	MetricsAddr     string // empty: there is no such port
	MetricsAuth     bool
	MetricsCertFile string // empty: the agent makes a certificate of its own
	MetricsKeyFile  string
	LogLevel        slog.Level
	Config          string
	Workers         int
	ReadAsNode      bool

	Settings // as they are at the start

	Version string

	file       []byte   // the configuration file's text
	overridden []string // settings of it that a flag or the environment sets, too
	// reparse gives the options with another text of the file; nil: there is none.
	reparse func(text []byte) (Options, error)
}

// flags defines all of them.
func (o *Options) flags(usage io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("pullprobe agent", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&o.NodeName, "node-name", "", "name of the node this agent runs on (required; NODE_NAME)")
	fs.StringVar(&o.Namespace, "namespace", "", "namespace of the report ConfigMaps (POD_NAMESPACE; default pullprobe)")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file, for running outside a cluster")
	fs.StringVar(&o.RuntimeEndpoint, "runtime-endpoint", "unix:///run/containerd/containerd.sock", "CRI socket of the container runtime")
	fs.StringVar(&o.JournalDir, "journal-dir", cri.DefaultJournalDir, "directory for the journal of test pulls; must survive a restart")
	fs.StringVar(&o.HealthAddr, "health-addr", "127.0.0.1:9780", "address for /healthz and /readyz; empty switches them off")
	fs.StringVar(&o.MetricsAddr, "metrics-addr", "", "address for /metrics, such as :9781; empty, there is no such port")
	fs.BoolVar(&o.MetricsAuth, "metrics-auth", true, "give metrics over HTTPS, and only to who may get the path /metrics by a bearer token of the cluster; false: plain HTTP, to everybody")
	fs.StringVar(&o.MetricsCertFile, "metrics-cert-file", "", "PEM `file` with the certificate of the metrics port and its chain, read again when it changes; empty: the agent makes one")
	fs.StringVar(&o.MetricsKeyFile, "metrics-key-file", "", "PEM `file` with the key of that certificate")
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	fs.StringVar(&o.Config, "config", "", "YAML `file` of settings, by the names of these flags; it is read again when it changes")
	fs.IntVar(&o.Workers, "workers", 16, "images examined at the same time")
	fs.BoolVar(&o.ReadAsNode, "read-as-node", false, "read pull secrets and ServiceAccounts as the node itself, by constrained impersonation (Kubernetes 1.36); where that is refused, with the agent's own rights")
	o.Settings.addFlags(fs)
	return fs
}

func (o Options) validate() []problem {
	out := o.Settings.validate()
	if o.Workers < 1 || o.Workers > 64 {
		out = append(out, problem{"workers", "1 to 64"})
	}
	if (o.MetricsCertFile == "") != (o.MetricsKeyFile == "") {
		out = append(out, problem{"metrics-cert-file", "given together with --metrics-key-file"})
	}
	if o.MetricsCertFile != "" && !o.MetricsAuth {
		out = append(out, problem{"metrics-cert-file", "left out with --metrics-auth=false, which is plain HTTP"})
	}
	return out
}

// ParseOptions reads flags, environment and configuration file. A wrong value
// is an error that names it; -h gives flag.ErrHelp after the usage was written.
func Parse(args []string, getenv func(string) string, usage *strings.Builder) (Options, error) {
	o, err := parseOptions(args, getenv, nil, usage)
	if err != nil || o.Config == "" {
		return o, err
	}
	text, err := readFile(o.Config)
	if err != nil {
		return o, fmt.Errorf("--config: %w", err)
	}
	reparse := func(text []byte) (Options, error) { return parseOptions(args, getenv, text, io.Discard) }
	o, err = reparse(text)
	o.file, o.reparse = text, reparse
	return o, err
}

func variable(name string) string {
	return "PULLPROBE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parseOptions merges flags, environment and the text of the configuration
// file.
func parseOptions(args []string, getenv func(string) string, file []byte, usage io.Writer) (Options, error) {
	o := Options{Settings: Defaults()}
	fs := o.flags(usage)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: agent takes flags only", fs.Arg(0))
	}
	given := map[string]string{} // by name: where a setting comes from, as messages say it
	fs.Visit(func(f *flag.Flag) { given[f.Name] = "--" + f.Name + "=" + f.Value.String() })
	var errs []error
	wrong := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) {
		v := getenv(variable(f.Name))
		if v == "" || given[f.Name] != "" {
			return
		}
		given[f.Name] = variable(f.Name) + "=" + v
		if err := set(f, v); err != nil {
			wrong[f.Name] = true
			errs = append(errs, fmt.Errorf("%s=%q: %w", variable(f.Name), v, err))
		}
	})
	entries, err := parseFile(file)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", o.Config, err))
	}
	known := o.Settings.strings()
	for _, e := range entries {
		f := fs.Lookup(e.key)
		if err := e.validate(f, known); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", o.Config, e.key, err))
			continue
		}
		into := f
		if given[e.key] != "" {
			// It does not count, and must be right all the same.
			o.overridden = append(o.overridden, e.key)
			into = new(Options).flags(io.Discard).Lookup(e.key)
		} else {
			given[e.key] = fmt.Sprintf("%s: %s: %s", o.Config, e.key, e)
		}
		if err := e.set(into); err != nil {
			wrong[e.key] = true
			errs = append(errs, fmt.Errorf("%s: %s: %w", o.Config, e.key, err))
		}
	}
	o.NodeName = cmp.Or(o.NodeName, getenv("NODE_NAME"))
	o.Namespace = cmp.Or(o.Namespace, getenv("POD_NAMESPACE"), "pullprobe")
	if o.NodeName == "" {
		errs = append(errs, errors.New("--node-name is missing: in a DaemonSet set NODE_NAME from spec.nodeName"))
	}
	for _, p := range o.validate() {
		if !wrong[p.name] {
			errs = append(errs, fmt.Errorf("%s: must be %s", cmp.Or(given[p.name], "--"+p.name), p.want))
		}
	}
	return o, errors.Join(errs...)
}

// set sets a flag from a text, or says what it takes.
func set(f *flag.Flag, text string) error {
	err := f.Value.Set(text)
	if err == nil {
		return nil
	}
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case bool:
			return errors.New("must be true or false")
		case int, int64:
			return errors.New("must be a whole number")
		case time.Duration:
			return errors.New("must be a duration, such as 90s or 5m")
		}
	}
	return err
}
