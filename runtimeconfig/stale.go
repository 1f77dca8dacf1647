package runtimeconfig

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// addChanges adds which files have changed since the process was started.
func addChanges(e map[string]string, c host.Changes) {
	e[report.KeyStarted] = c.Since.UTC().Format(time.RFC3339)
	if len(c.Files) > 0 {
		e[report.KeyNewer] = report.True
		e[report.KeyModified] = c.Last.UTC().Format(time.RFC3339)
		e[report.KeyFiles] = readable.Clean(strings.Join(c.Files, ","), 300)
	}
}

// changedSince returns the beginning of a sentence about changed files.
func changedSince(p *host.Process, c host.Changes) string {
	more := ""
	if n := len(c.Files) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s%s changed at %s, after %s started (%s)",
		readable.Clean(c.Files[0], 120), more, readable.Time(c.Last), p.Name(), readable.Time(c.Since))
}

// started returns the beginning of a sentence about the process.
func started(p *host.Process, at time.Time) string {
	return p.Name() + " started at " + readable.Time(at)
}

// ConfigCheck returns the check "runtime/config.toml": the settings in the
// configuration files, and whether the files are newer than the process. Running
// is the config_path of the process, nil if the runtime does not report it.
func ConfigCheck(p *host.Process, root *host.Root, config *Config, err error, running *string) report.Check {
	k := report.Check{ID: report.IDRuntimeConfig, Kind: report.KindRuntime, Outcome: report.Skipped}
	since, timeErr := p.Since()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		k.Summary = "the runtime is " + p.Name() + ": its configuration is not checked"
		return k
	case err != nil || timeErr != nil:
		k.Summary = "cannot read how the runtime was started: " + readable.Clean(errors.Join(err, timeErr).Error(), 120)
		return k
	}
	c := host.ChangesSince(root, since, config.watched())
	k.Target, k.Outcome, k.Evidence = config.Main, report.Pass, config.evidence(running)
	if id := distribution(root); id != "" {
		k.Evidence[report.KeyOS] = id
	}
	if maker := madeBy(root); maker != "" {
		k.Evidence[report.KeyMadeBy] = maker
	}
	addChanges(k.Evidence, c)
	switch {
	case config.Err != nil && config.Err.unread():
		k.Outcome = report.Skipped
		k.Summary = "cannot read the runtime's configuration: " + config.Err.Error()
	case config.Err != nil:
		k.Outcome, k.Cause = report.Fail, report.RuntimeConfigInvalid
		k.Evidence[report.KeyFile], k.Evidence[report.KeyReason] = config.Err.File, config.Err.reason()
		k.Summary = started(p, since) + " and would not start with the current configuration: " + config.Err.Error()
	case config.Refused != nil:
		k.Outcome, k.Cause = report.Fail, report.RuntimeConfigInvalid
		k.Evidence[report.KeyFile], k.Evidence[report.KeyReason] = config.Refused.File, config.Refused.reason()
		k.Summary = started(p, since) + "; with the current configuration it has no CRI plugin: " + config.Refused.Error()
	case config.Ignored != nil:
		k.Evidence[report.KeyIgnoredTable], k.Evidence[report.KeyRemedy] = config.Ignored.Table, config.Ignored.Remedy
		k.Summary = started(p, since) + "; " + config.Ignored.String()
	case running != nil && config.HasPath && config.RegistryPath != "" && *running != config.RegistryPath:
		k.Evidence[report.KeyDiffers] = "config_path"
		k.Summary = fmt.Sprintf("%s with config_path %q, but %s has %q",
			started(p, since), readable.Clean(*running, 120), config.lastFile(), readable.Clean(config.RegistryPath, 120))
		if config.Newer {
			k.Summary += ": restart it to apply that"
		} else {
			k.Summary += ", and that file is older than the process"
		}
	case len(c.Files) > 0:
		k.Summary = changedSince(p, c) + ": restart it to apply that"
	case len(config.Files) == 0:
		k.Summary = started(p, since) + " without a configuration file"
	default:
		k.Summary = started(p, since) + ", after the last change of " + config.Main
	}
	return k
}

// distribution returns the ID of os-release(5), if a file that the runtime reads names one.
func distribution(root *host.Root) string {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		text, err := root.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
				return readable.Clean(strings.Trim(id, `"'`), 40)
			}
		}
	}
	return ""
}

// madeBy returns what of a cloud writes the runtime's configuration on this node; empty if
// there is none that is known.
func madeBy(root *host.Root) string {
	for _, known := range []struct{ file, name string }{
		{"/usr/bin/nodeadm", "nodeadm"},           // awslabs/amazon-eks-ami, templates/al2023
		{"/etc/eks/bootstrap.sh", "bootstrap.sh"}, // awslabs/amazon-eks-ami, templates/al2
		{"/opt/azure/containers", "AKS"},          // Azure/AgentBaker, parts/linux/cloud-init
		{"/home/kubernetes/bin", "GKE"},           // kubernetes/kubernetes, cluster/gce/gci/configure.sh (KUBE_HOME)
	} {
		if _, err := root.Stat(known.file); err == nil {
			return known.name
		}
	}
	return ""
}

// evidence returns the settings that concern pulls.
func (c *Config) evidence(running *string) map[string]string {
	e := map[string]string{report.KeyRead: readable.Clean(strings.Join(c.Files, ","), 300)}
	if c.HasPath {
		e[report.KeyFilesSay] = readable.Clean(c.RegistryPath, 200)
	}
	if running != nil {
		e[report.KeyRuns] = readable.Clean(*running, 200)
	}
	for key, hosts := range map[string][]string{
		report.KeyMirrors: slices.Sorted(maps.Keys(c.Mirrors)),
		report.KeyTLS:     slices.Sorted(maps.Keys(c.TLS)),
		report.KeyAuths:   c.Auths,
	} {
		if len(hosts) > 0 {
			e[key] = readable.Clean(strings.Join(hosts, ","), 200)
		}
	}
	return e
}

func (c *Config) failed() []string {
	if c.Err == nil {
		return nil
	}
	return []string{c.Err.File}
}

// lastFile returns where a setting is that other files may override.
func (c *Config) lastFile() string {
	if n := len(c.Files); n > 1 {
		return c.Main + " with its imports"
	}
	return c.Main
}

// EnvironmentCheck returns the check "runtime/environment": the proxy and trust
// settings that the process runs with, those that the files of its service would
// give it today, and whether the files are newer than the process. No credentials
// are shown.
func EnvironmentCheck(p *host.Process, root *host.Root) report.Check {
	if root == nil {
		return environmentCheck(p, nil, "")
	}
	return environmentCheck(p, root, p.Service())
}

func environmentCheck(p *host.Process, root *host.Root, service string) report.Check {
	k := report.Check{ID: report.IDRuntimeEnvironment, Kind: report.KindRuntime, Outcome: report.Skipped}
	env, err := p.Environ()
	since, timeErr := p.Since()
	if err := errors.Join(err, timeErr); err != nil {
		k.Summary = "the environment of the runtime's process cannot be read: " + readable.Clean(err.Error(), 120)
		return k
	}
	running := func(name string) string {
		value, _ := host.Env(env).Lookup(name)
		return value
	}
	k.Outcome, k.Evidence = report.Pass, map[string]string{report.KeyRuns: shown(running)}
	k.Summary = started(p, since) + " with " + orNone(k.Evidence[report.KeyRuns])
	var u *host.Unit
	if service != "" {
		u = host.ReadUnit(root, service)
	}
	if u == nil { // no service: a container, or started by hand
		addChanges(k.Evidence, host.Changes{Since: since})
		return k
	}
	k.Target = service
	k.Evidence[report.KeyUnit] = readable.Clean(service, 100)
	c := host.ChangesSince(root, since, u.Files)
	addChanges(k.Evidence, c)
	if u.Unread != "" {
		k.Outcome = report.Skipped
		k.Summary += "; " + u.Unread + " cannot be read from here"
		return k
	}
	addDifferences(&k, p, u, c, running)
	return k
}

// addDifferences adds what the files of the service would change.
func addDifferences(k *report.Check, p *host.Process, u *host.Unit, c host.Changes, running func(string) string) {
	k.Evidence[report.KeyFilesSay] = shown(u.Get)
	differs := u.Differs(running)
	if len(differs) > 0 {
		k.Evidence[report.KeyDiffers] = strings.Join(differs, ",")
		if slices.ContainsFunc(differs, func(name string) bool { return strings.HasSuffix(name, "_PROXY") }) {
			k.Evidence[report.KeyProxyDiffers] = report.True
		}
	}
	current, next := orNone(k.Evidence[report.KeyRuns]), orNone(k.Evidence[report.KeyFilesSay])
	switch {
	case len(differs) > 0 && len(c.Files) > 0:
		k.Summary = changedSince(p, c) + " with " + current + ": a restart would give it " + next
	case len(differs) > 0:
		k.Summary += "; by the files of " + u.Name + " a restart would give it " + next
	case len(c.Files) > 0:
		k.Summary = changedSince(p, c) + ": its environment is the same, " + current
	}
}

// shown returns the watched variables that are set, without credentials.
func shown(get func(string) string) string {
	var out []string
	for _, name := range host.Watched {
		v := host.WatchedValue(get, name)
		switch {
		case v == "":
			continue
		case name == "HTTP_PROXY" || name == "HTTPS_PROXY":
			v = withoutUser(v)
		}
		out = append(out, name+"="+readable.Clean(v, 120))
	}
	return readable.Clean(strings.Join(out, " "), 300)
}

// withoutUser returns a proxy's address without user and password. If they may be
// in another part of it, it returns "(set)".
func withoutUser(proxy string) string {
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" {
		if u, err = url.Parse("http://" + proxy); err != nil || u.Host == "" {
			return "(set)"
		}
		u.Scheme = ""
	}
	if strings.Contains(u.Path+u.Opaque+u.RawQuery+u.Fragment, "@") {
		return "(set)" // an unescaped slash in the password
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

func orNone(settings string) string {
	if settings == "" {
		return "no proxy settings"
	}
	return settings
}
