package cri

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/report"
)

// changes is which of some files have changed after a process had started.
type changes struct {
	since time.Time
	files []string
	last  time.Time // of files
}

// changesOf looks at files under root. One that is not there says nothing;
// that it was there before cannot be known.
func changesOf(root *Root, since time.Time, files []string) changes {
	c := changes{since: since}
	for _, name := range files {
		t, err := root.Changed(name)
		if err != nil || !t.After(since) {
			continue
		}
		c.files = append(c.files, name)
		if t.After(c.last) {
			c.last = t
		}
	}
	return c
}

// facts are the evidence that all checks of staleness share.
func (c changes) facts(e map[string]string) {
	e["started"] = c.since.UTC().Format(time.RFC3339)
	if len(c.files) > 0 {
		e["newer"] = "true"
		e["modified"] = c.last.UTC().Format(time.RFC3339)
		e["files"] = clean(strings.Join(c.files, ","), 300)
	}
}

// words is the end of a summary about the newest file.
func (c changes) words() string {
	if len(c.files) == 0 {
		return ""
	}
	more := ""
	if n := len(c.files) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return clean(c.files[0], 120) + more + " changed at " + clock(c.last)
}

// clock shows a time of this node to people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// since opens the summary of a check about the process.
func (p *Process) since(at time.Time) string { return p.Name() + " runs since " + clock(at) }

// ConfigCheck is "runtime/config.toml": what the configuration files say, and
// whether they are newer than the process. Running is the config_path in
// effect, nil if the runtime does not tell.
func (p *Process) ConfigCheck(root *Root, config *Config, err error, running *string) report.Check {
	k := report.Check{ID: "runtime/config.toml", Kind: report.KindRuntime, Outcome: report.Skipped}
	since, timeErr := p.Since()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		k.Summary = "the runtime is " + p.Name() + ", whose configuration is not looked at"
		return k
	case err != nil || timeErr != nil:
		k.Summary = "the runtime's process could not be asked for its configuration: " + clean(errors.Join(err, timeErr).Error(), 120)
		return k
	}
	k.Target = config.Main
	c := changesOf(root, since, append(append(slices.Clone(config.Files), config.Sources...), config.failed()...))
	e := map[string]string{"read": clean(strings.Join(config.Files, ","), 300)}
	c.facts(e)
	if config.HasPath {
		e["filesSay"] = clean(config.RegistryPath, 200)
	}
	if running != nil {
		e["runs"] = clean(*running, 200)
	}
	if hosts := slices.Sorted(maps.Keys(config.Mirrors)); len(hosts) > 0 {
		e["mirrors"] = clean(strings.Join(hosts, ","), 200) // registry.mirrors, deprecated
	}
	if hosts := slices.Sorted(maps.Keys(config.TLS)); len(hosts) > 0 {
		e["tls"] = clean(strings.Join(hosts, ","), 200)
	}
	if len(config.Auths) > 0 {
		e["auths"] = clean(strings.Join(config.Auths, ","), 200)
	}
	k.Evidence = e
	k.Outcome = report.Pass
	k.Summary = p.since(since)
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
		k.Summary += fmt.Sprintf(" with config_path %q; %s says %q: it reads that once, at its start", clean(*running, 120), config.lastFile(), clean(config.RegistryPath, 120))
	case len(c.files) > 0:
		k.Summary += "; " + c.words() + ": it reads its configuration once, at its start"
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

// watched are the variables of the runtime's environment that decide how it
// reaches registries and whom it trusts. Of the proxy settings the lower-case
// name counts where the upper-case one is empty, as in golang.org/x/net.
var watched = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func watchedValue(get func(string) string, name string) string {
	if v := get(name); v != "" || !strings.HasSuffix(name, "_PROXY") {
		return v
	}
	return get(strings.ToLower(name))
}

// EnvironmentCheck is "runtime/environment": the proxy and trust settings that
// the process runs with, those that its service's files would give it today,
// and whether the files are newer than the process. No credentials are shown.
func (p *Process) EnvironmentCheck(root *Root) report.Check {
	cgroup, err := readProc(p.proc("cgroup"))
	if err != nil || root == nil {
		return p.environmentCheck(nil, "")
	}
	return p.environmentCheck(root, unitOf(string(cgroup)))
}

func (p *Process) environmentCheck(root *Root, name string) report.Check {
	k := report.Check{ID: "runtime/environment", Kind: report.KindRuntime, Outcome: report.Skipped}
	env, err := p.Environ()
	since, timeErr := p.Since()
	if err := errors.Join(err, timeErr); err != nil {
		k.Summary = "the environment of the runtime's process cannot be read: " + clean(err.Error(), 120)
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
	k.Summary = p.since(since) + " with " + orNone(e["runs"])
	var u *unit
	if name != "" {
		u = readUnit(root, name)
	}
	if u == nil {
		changes{since: since}.facts(e)
		return k // no service: a container, or somebody's shell
	}
	u.addWrapper(root)
	k.Target = name
	e["unit"] = clean(name, 100)
	c := changesOf(root, since, u.Files)
	c.facts(e)
	if u.Unread != "" {
		k.Outcome = report.Skipped
		k.Summary += "; " + u.Unread + " cannot be read from here"
		return k
	}
	e["filesSay"] = shown(u.get)
	differs := u.differs(runs)
	if len(differs) > 0 {
		e["differs"] = strings.Join(differs, ",")
		if slices.ContainsFunc(differs, func(name string) bool { return strings.HasSuffix(name, "_PROXY") }) {
			e["proxyDiffers"] = "true"
		}
	}
	switch {
	case len(differs) > 0 && len(c.files) > 0:
		k.Summary += "; " + c.words() + ", and would give it " + orNone(e["filesSay"]) + ": it takes its environment once, at its start"
	case len(differs) > 0:
		k.Summary += "; the files of " + name + " would give it " + orNone(e["filesSay"])
	case len(c.files) > 0:
		k.Summary += "; " + c.words() + " and would give it the same"
	}
	return k
}

// isK3s reports whether the service is one that starts containerd as a child
// and changes the environment on the way.
func (u *unit) isK3s() bool {
	return strings.HasPrefix(u.Name, "k3s") || strings.HasPrefix(u.Name, "rke2")
}

// addWrapper takes what a service's own start script adds: microk8s sources a
// file.
func (u *unit) addWrapper(root configRoot) {
	if u.Name != "snap.microk8s.daemon-containerd.service" {
		return
	}
	if text, ok := u.read(root, "/var/snap/microk8s/current/args/containerd-env"); ok {
		for _, kv := range parseEnvFile(text) {
			u.Env[kv.Key] = kv.Value
		}
	}
}

// get is what the process would find under name. k3s and RKE2 hand
// CONTAINERD_X on as X (k3s: pkg/containerd, Run).
func (u *unit) get(name string) string {
	if u.isK3s() {
		if v, ok := u.Env["CONTAINERD_"+name]; ok {
			return v
		}
	}
	return u.Env[name]
}

// differs lists the watched variables that a restart would change.
func (u *unit) differs(runs func(string) string) []string {
	var out []string
	for _, name := range watched {
		would, now := watchedValue(u.get, name), watchedValue(runs, name)
		if name == "NO_PROXY" && u.isK3s() && coveredBy(would, now) {
			continue // they add the cluster's own networks
		}
		if would != now {
			out = append(out, name)
		}
	}
	return out
}

// coveredBy reports whether every entry of one comma-separated list is in
// the other.
func coveredBy(list, other string) bool {
	have := strings.Split(other, ",")
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry != "" && !slices.Contains(have, entry) {
			return false
		}
	}
	return true
}

// shown lists the watched variables that are set, without credentials.
func shown(get func(string) string) string {
	var out []string
	for _, name := range watched {
		v := watchedValue(get, name)
		switch {
		case v == "":
			continue
		case name == "HTTP_PROXY" || name == "HTTPS_PROXY":
			v = withoutUser(v)
		}
		out = append(out, name+"="+clean(v, 120))
	}
	return clean(strings.Join(out, " "), 300)
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
