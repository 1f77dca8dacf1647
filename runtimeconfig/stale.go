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
)

// facts are the evidence that all checks of staleness share.
func changeFacts(c host.Changes, e map[string]string) {
	e["started"] = c.Since.UTC().Format(time.RFC3339)
	if len(c.Files) > 0 {
		e["newer"] = "true"
		e["modified"] = c.Last.UTC().Format(time.RFC3339)
		e["files"] = report.Clean(strings.Join(c.Files, ","), 300)
	}
}

// words is the end of a summary about the newest file.
func changeWords(c host.Changes) string {
	if len(c.Files) == 0 {
		return ""
	}
	more := ""
	if n := len(c.Files) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return report.Clean(c.Files[0], 120) + more + " changed at " + clock(c.Last)
}

// clock shows a time of this node to people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// since opens the summary of a check about the process.
func runsSince(p *host.Process, at time.Time) string { return p.Name() + " runs since " + clock(at) }

// ConfigCheck is "runtime/config.toml": what the configuration files say, and
// whether they are newer than the process. Running is the config_path in
// effect, nil if the runtime does not tell.
func ConfigCheck(p *host.Process, root *host.Root, config *Config, err error, running *string) report.Check {
	k := report.Check{ID: "runtime/config.toml", Kind: report.KindRuntime, Outcome: report.Skipped}
	since, timeErr := p.Since()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		k.Summary = "the runtime is " + p.Name() + ", whose configuration is not looked at"
		return k
	case err != nil || timeErr != nil:
		k.Summary = "the runtime's process could not be asked for its configuration: " + report.Clean(errors.Join(err, timeErr).Error(), 120)
		return k
	}
	k.Target = config.Main
	c := host.ChangesSince(root, since, append(append(slices.Clone(config.Files), config.Sources...), config.failed()...))
	e := map[string]string{"read": report.Clean(strings.Join(config.Files, ","), 300)}
	changeFacts(c, e)
	if config.HasPath {
		e["filesSay"] = report.Clean(config.RegistryPath, 200)
	}
	if running != nil {
		e["runs"] = report.Clean(*running, 200)
	}
	if hosts := slices.Sorted(maps.Keys(config.Mirrors)); len(hosts) > 0 {
		e["mirrors"] = report.Clean(strings.Join(hosts, ","), 200) // registry.mirrors, deprecated
	}
	if hosts := slices.Sorted(maps.Keys(config.TLS)); len(hosts) > 0 {
		e["tls"] = report.Clean(strings.Join(hosts, ","), 200)
	}
	if len(config.Auths) > 0 {
		e["auths"] = report.Clean(strings.Join(config.Auths, ","), 200)
	}
	k.Evidence = e
	k.Outcome = report.Pass
	k.Summary = runsSince(p, since)
	switch {
	case config.Err != nil && config.Err.unread():
		k.Outcome = report.Skipped
		k.Summary = "what the runtime is configured to do is unknown: " + config.Err.Error()
	case config.Err != nil:
		k.Outcome, k.Cause = report.Fail, report.RuntimeConfigInvalid
		e["file"], e["reason"] = config.Err.File, config.Err.reason()
		k.Summary += "; it could not start again: " + config.Err.Error()
	case running != nil && config.HasPath && config.RegistryPath != "" && *running != config.RegistryPath:
		e["differs"] = "config_path"
		k.Summary += fmt.Sprintf(" with config_path %q; %s says %q: it reads that once, at its start", report.Clean(*running, 120), config.lastFile(), report.Clean(config.RegistryPath, 120))
	case len(c.Files) > 0:
		k.Summary += "; " + changeWords(c) + ": it reads its configuration once, at its start"
	case len(config.Files) == 0:
		k.Summary += " without a configuration file"
	default:
		k.Summary += "; " + config.Main + " is older"
	}
	return k
}

func (c *Config) failed() []string {
	if c.Err == nil {
		return nil
	}
	return []string{c.Err.File}
}

func (c *Config) lastFile() string {
	if n := len(c.Files); n > 1 {
		return c.Main + " with its imports"
	}
	return c.Main
}

// EnvironmentCheck is "runtime/environment": the proxy and trust settings that
// the process runs with, those that its service's files would give it today,
// and whether the files are newer than the process. No credentials are shown.
func EnvironmentCheck(p *host.Process, root *host.Root) report.Check {
	if root == nil {
		return environmentCheck(p, nil, "")
	}
	return environmentCheck(p, root, p.Service())
}

func environmentCheck(p *host.Process, root *host.Root, name string) report.Check {
	k := report.Check{ID: "runtime/environment", Kind: report.KindRuntime, Outcome: report.Skipped}
	env, err := p.Environ()
	since, timeErr := p.Since()
	if err := errors.Join(err, timeErr); err != nil {
		k.Summary = "the environment of the runtime's process cannot be read: " + report.Clean(err.Error(), 120)
		return k
	}
	runs := func(name string) string {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	e := map[string]string{"runs": shown(runs)}
	k.Evidence = e
	k.Outcome = report.Pass
	k.Summary = runsSince(p, since) + " with " + orNone(e["runs"])
	var u *host.Unit
	if name != "" {
		u = host.ReadUnit(root, name)
	}
	if u == nil {
		changeFacts(host.Changes{Since: since}, e)
		return k // no service: a container, or somebody's shell
	}
	k.Target = name
	e["unit"] = report.Clean(name, 100)
	c := host.ChangesSince(root, since, u.Files)
	changeFacts(c, e)
	if u.Unread != "" {
		k.Outcome = report.Skipped
		k.Summary += "; " + u.Unread + " cannot be read from here"
		return k
	}
	e["filesSay"] = shown(u.Get)
	differs := u.Differs(runs)
	if len(differs) > 0 {
		e["differs"] = strings.Join(differs, ",")
		if slices.ContainsFunc(differs, func(name string) bool { return strings.HasSuffix(name, "_PROXY") }) {
			e["proxyDiffers"] = "true"
		}
	}
	switch {
	case len(differs) > 0 && len(c.Files) > 0:
		k.Summary += "; " + changeWords(c) + ", and would give it " + orNone(e["filesSay"]) + ": it takes its environment once, at its start"
	case len(differs) > 0:
		k.Summary += "; the files of " + name + " would give it " + orNone(e["filesSay"])
	case len(c.Files) > 0:
		k.Summary += "; " + changeWords(c) + " and would give it the same"
	}
	return k
}

// shown lists the watched variables that are set, without credentials.
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
		out = append(out, name+"="+report.Clean(v, 120))
	}
	return report.Clean(strings.Join(out, " "), 300)
}

// withoutUser is a proxy's address without user and password. What may hold
// them elsewhere is not shown.
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
		return "no proxy set"
	}
	return settings
}
