// Package config reads the agent's settings from flags, environment and
// configuration file, and puts changes of the file into effect.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/flags"
)

// Options are the agent's settings. Each has a flag. If the flag is not given, the
// environment variable PULLPROBE_<FLAG> counts, in capitals and with underscores;
// then, for the [Settings], the configuration file.
type Options struct {
	NodeName        string
	Namespace       string
	Kubeconfig      string
	RuntimeEndpoint string
	JournalDir      string
	HealthAddr      string
	MetricsAddr     string // empty: no metrics
	MetricsAuth     bool
	MetricsCertFile string // empty: a self-signed certificate
	MetricsKeyFile  string
	LogLevel        slog.Level
	Config          string
	Workers         int
	ReadAsNode      bool

	Settings // at the start

	Version string

	file       []byte   // content of the configuration file
	overridden []string // settings of it that a flag or the environment overrides
	// reparse returns the options with another content of the file; nil: no file.
	reparse func(text []byte) (Options, error)
}

// Flags returns the agent's flags, for its help.
func Flags() flags.Groups {
	return (&Options{Settings: Defaults()}).flags()
}

// flags returns a flag for each option. Its default is the value that it has now.
func (o *Options) flags() (g flags.Groups) {
	fs := g.Add("Node and cluster")
	fs.StringVar(&o.NodeName, "node-name", "", "name of this agent's node (required; default NODE_NAME)")
	fs.StringVar(&o.Namespace, "namespace", "", "namespace of the report ConfigMaps (default POD_NAMESPACE, else pullprobe)")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig `file`, for running outside a cluster")
	fs.StringVar(&o.RuntimeEndpoint, "runtime-endpoint", "",
		"CRI socket of the container runtime (empty: the one that the kubelet is set to, else a known one)")
	fs.StringVar(&o.JournalDir, "journal-dir", cri.DefaultJournalDir, "`directory` for the journal of test pulls; must survive a restart")
	fs.BoolVar(&o.ReadAsNode, "read-as-node", false,
		"read pull secrets and ServiceAccounts as the node, by constrained impersonation (Kubernetes 1.36); "+
			"if that is refused, with the agent's own rights")

	fs = g.Add("Agent")
	fs.StringVar(&o.Config, "config", "", "YAML `file` of settings, named like these flags; read again when it changes")
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "`level` of the log: debug, info, warn or error")
	fs.IntVar(&o.Workers, "workers", 16, "image checks at the same time")
	fs.StringVar(&o.HealthAddr, "health-addr", "127.0.0.1:9780", "`address` for /healthz and /readyz; empty disables")

	fs = g.Add("Metrics")
	fs.StringVar(&o.MetricsAddr, "metrics-addr", "", "`address` for /metrics, such as :9781; empty disables")
	fs.BoolVar(&o.MetricsAuth, "metrics-auth", true,
		"serve metrics over HTTPS and require a bearer token with get access to /metrics; false: plain HTTP without authentication")
	fs.StringVar(&o.MetricsCertFile, "metrics-cert-file", "",
		"PEM `file` with the certificate chain of the metrics port, read again when it changes; empty: self-signed")
	fs.StringVar(&o.MetricsKeyFile, "metrics-key-file", "", "PEM `file` with the key of that certificate")

	o.Settings.addFlags(&g)
	return g
}

// validate returns the options that are out of bounds.
func (o Options) validate() []problem {
	out := o.Settings.validate()
	if o.Workers < 1 || o.Workers > 64 {
		out = append(out, problem{"workers", "1 to 64"})
	}
	if (o.MetricsCertFile == "") != (o.MetricsKeyFile == "") {
		out = append(out, problem{"metrics-cert-file", "given together with --metrics-key-file"})
	}
	if o.MetricsCertFile != "" && !o.MetricsAuth {
		out = append(out, problem{"metrics-cert-file", "omitted with --metrics-auth=false, which is plain HTTP"})
	}
	return out
}

// Parse reads flags, environment and configuration file. The error for a wrong value
// names its source. -h returns pflag.ErrHelp.
func Parse(args []string, getenv func(string) string) (Options, error) {
	o, err := parseOptions(args, getenv, nil)
	if err != nil || o.Config == "" {
		return o, err
	}
	text, err := readFile(o.Config)
	if err != nil {
		return o, fmt.Errorf("--config: %w", err)
	}
	reparse := func(text []byte) (Options, error) { return parseOptions(args, getenv, text) }
	o, err = reparse(text)
	o.file, o.reparse = text, reparse
	return o, err
}

// variable returns the environment variable of a setting.
func variable(name string) string {
	return "PULLPROBE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// parseOptions merges flags, environment and the content of the configuration file.
func parseOptions(args []string, getenv func(string) string, file []byte) (Options, error) {
	o := Options{Settings: Defaults()}
	groups := o.flags()
	rest, err := groups.Parse(args)
	if err != nil {
		return o, err
	}
	if len(rest) > 0 {
		return o, fmt.Errorf("unexpected argument %q: agent takes flags only", rest[0])
	}
	m := merger{fs: groups.All(), source: map[string]string{}, wrong: map[string]bool{}}
	m.fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			m.source[f.Name] = "--" + f.Name + "=" + f.Value.String()
		}
	})
	m.addEnvironment(getenv)
	o.overridden = m.addFile(o.Config, file, o.Settings.strings())
	o.NodeName = cmp.Or(o.NodeName, getenv("NODE_NAME"))
	o.Namespace = cmp.Or(o.Namespace, getenv("POD_NAMESPACE"), "pullprobe")
	if o.NodeName == "" {
		m.errs = append(m.errs, errors.New("--node-name is missing: in a DaemonSet set NODE_NAME from spec.nodeName"))
	}
	for _, p := range o.validate() {
		if !m.wrong[p.name] {
			m.errs = append(m.errs, fmt.Errorf("%s: must be %s", cmp.Or(m.source[p.name], "--"+p.name), p.want))
		}
	}
	return o, errors.Join(m.errs...)
}

// merger sets the flags that the command line did not set.
type merger struct {
	fs     *pflag.FlagSet
	source map[string]string // by name: where a setting comes from, as messages show it
	wrong  map[string]bool   // settings that could not be set
	errs   []error
}

// addEnvironment sets flags from environment variables.
func (m *merger) addEnvironment(getenv func(string) string) {
	m.fs.VisitAll(func(f *pflag.Flag) {
		v := getenv(variable(f.Name))
		if v == "" || m.source[f.Name] != "" {
			return
		}
		m.source[f.Name] = variable(f.Name) + "=" + v
		if err := set(f, v); err != nil {
			m.wrong[f.Name] = true
			m.errs = append(m.errs, fmt.Errorf("%s=%q: %w", variable(f.Name), v, err))
		}
	})
}

// addFile sets flags from the content of a configuration file, which may have the
// known settings. It returns the settings that have no effect because the command
// line or the environment sets them.
func (m *merger) addFile(path string, content []byte, known map[string]string) (overridden []string) {
	entries, err := parseFile(content)
	if err != nil {
		m.errs = append(m.errs, fmt.Errorf("%s: %w", path, err))
	}
	for _, e := range entries {
		f := m.fs.Lookup(e.key)
		if err := e.validate(f, known); err != nil {
			m.errs = append(m.errs, fmt.Errorf("%s: %s: %w", path, e.key, err))
			continue
		}
		into := f
		if m.source[e.key] != "" {
			// It has no effect, but must be valid.
			overridden = append(overridden, e.key)
			into = new(Options).flags().All().Lookup(e.key)
		} else {
			m.source[e.key] = fmt.Sprintf("%s: %s: %s", path, e.key, e)
		}
		if err := e.set(into); err != nil {
			m.wrong[e.key] = true
			m.errs = append(m.errs, fmt.Errorf("%s: %s: %w", path, e.key, err))
		}
	}
	return overridden
}

// set sets a flag from a text. Its error says what the flag takes.
func set(f *pflag.Flag, text string) error {
	err := f.Value.Set(text)
	if err == nil {
		return nil
	}
	return flags.Wanted(f, err)
}
