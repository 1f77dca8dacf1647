package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// options parses as the agent does at its start, with this content of the file.
func options(t *testing.T, file string, env map[string]string, args ...string) (Options, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := Parse(
		append([]string{"--node-name=n", "--config=" + path}, args...),
		func(name string) string { return env[name] },
	)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), path, "FILE"))
	}
	return o, err
}

func TestPrecedence(t *testing.T) {
	const file = "heartbeat: 2m\ndeny: [file.example]\ncontrol: [file.example]\nsweep-concurrency: 4\n"
	env := map[string]string{
		"PULLPROBE_HEARTBEAT": "3m",
		"PULLPROBE_DENY":      "env.example, *.env.example",
		"PULLPROBE_TARGETS":   "env.example:5000",
		"PULLPROBE_CONTROL":   "",
	}
	o, err := options(t, file, env, "--heartbeat=4m")
	if err != nil {
		t.Fatal(err)
	}
	got := o.Settings.strings()
	for name, want := range map[string]string{
		"heartbeat": "4m0s", "deny": "env.example,*.env.example", "targets": "env.example:5000", "control": "file.example",
		"sweep-concurrency": "4", "cool-down": "15m0s", "allow": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if want := []string{"deny", "heartbeat"}; !slices.Equal(o.overridden, want) {
		t.Errorf("%v do not count, want %v", o.overridden, want)
	}
	o, err = options(t, file, env, "--deny=")
	if err != nil || len(o.Deny) > 0 {
		t.Errorf("a flag that empties a list: %v %v", o.Deny, err)
	}
}

// TestConfigForms checks the forms of values that a file may have.
func TestConfigForms(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		want map[string]string
	}{
		"empty":            {"", nil},
		"comments alone":   {"# nothing\n", nil},
		"a first marker":   {"# settings\n---\nascii: true\n", map[string]string{"ascii": "true"}},
		"json":             {`{"ascii": true, "sweep-interval": 0}`, map[string]string{"ascii": "true", "sweep-interval": "0s"}},
		"quoted":           {"ascii: \"true\"\ncertificate-days: '7'\n", map[string]string{"ascii": "true", "certificate-days": "7"}},
		"large numbers":    {"test-pull-max-bytes: 9007199254740993\n", map[string]string{"test-pull-max-bytes": "9007199254740993"}},
		"lists":            {"targets:\n- Registry.Example:5000\n- \"[fd00::1]:5000\"\n- registry.example:5000\n", map[string]string{"targets": "registry.example:5000,[fd00::1]:5000"}},
		"an empty list":    {"deny: []\n", map[string]string{"deny": ""}},
		"ranges and globs": {"deny: [\"*.corp.example\", 10.0.0.0/8]\nallow: [127.0.0.1]\n", map[string]string{"deny": "*.corp.example,10.0.0.0/8", "allow": "127.0.0.1"}},
	} {
		o, err := options(t, tt.file, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Defaults().strings()
		for k, v := range tt.want {
			want[k] = v
		}
		for k, v := range o.Settings.strings() {
			if v != want[k] {
				t.Errorf("%s: %s is %q, want %q", name, k, v, want[k])
			}
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"unknown", "colour: red\n", "FILE: colour: unknown setting; known are allow, ascii, certificate-days, control, cool-down,"},
		{"in camel case", "sweepInterval: 5m\n", "FILE: sweepInterval: unknown setting, use sweep-interval"},
		{"twice", "heartbeat: 5m\nheartbeat: 6m\n", `line 2: key "heartbeat" already set in map`},
		{"fixed", "node-name: n\n", "FILE: node-name: fixed at start, so it cannot be set in a file: use --node-name or PULLPROBE_NODE_NAME"},
		{"itself", "config: other\n", "FILE: config: fixed at start"},
		{"no duration", "heartbeat: soon\n", "FILE: heartbeat: must be a duration, such as 90s or 5m"},
		{"no unit", "heartbeat: 600\n", "FILE: heartbeat: must be a duration, such as 90s or 5m"},
		{"no number", "sweep-concurrency: many\n", "FILE: sweep-concurrency: must be a whole number"},
		{"a fraction", "certificate-days: 1.5\n", "FILE: certificate-days: must be a whole number"},
		{"no truth value", "ascii: maybe\n", "FILE: ascii: must be true or false"},
		{"no value", "deny:\n", "FILE: deny: no value: set one, or remove the key to use the default"},
		{"an entry without a value", "deny: [a.example, ]\ntargets:\n-\n", "FILE: targets: no value"},
		{"no list", "deny: a.example,b.example\n", "FILE: deny: must be a list, such as [registry.example, 10.0.0.1]"},
		{"a list", "heartbeat: [5m]\n", "FILE: heartbeat: must be a single value, not a list"},
		{"nested", "deny: [{host: a.example}]\n", "FILE: deny: must be a single value or a list of single values, without nesting"},
		{"a mapping", "heartbeat: {every: 5m}\n", "FILE: heartbeat: must be a single value or a list of single values"},
		{"two in one entry", "deny: [\"a.example,b.example\"]\n", `FILE: deny: "a.example,b.example" is no host`},
		{"no host", "deny: [https://a.example]\n", `FILE: deny: "https://a.example" has a scheme`},
		{"many hosts", "targets: [\"*.example\"]\n", `FILE: targets: "*.example" matches many hosts: list each one`},
		{"a range", "control: [10.0.0.0/8]\n", `FILE: control: "10.0.0.0/8" matches many hosts`},
		{"out of bounds", "heartbeat: 5s\n", "FILE: heartbeat: 5s: must be 1m or more"},
		{"cool-down", "cool-down: 1s\n", "FILE: cool-down: 1s: must be 10s or more"},
		{"too often", "sweep-interval: 10s\n", "FILE: sweep-interval: 10s: must be 30s or more, or 0 to disable"},
		{"too short", "sweep-deadline: 100ms\n", "FILE: sweep-deadline: 100ms: must be 500ms to 30s"},
		{"none at once", "sweep-concurrency: 0\n", "FILE: sweep-concurrency: 0: must be 1 to 256"},
		{"negative", "certificate-days: -1\n", "FILE: certificate-days: -1: must be 1 to 365, or 0 to disable"},
		{"size", "test-pull-max-bytes: -1\n", "FILE: test-pull-max-bytes: -1: must be a number of bytes, or 0 for no limit"},
		{"disk", "disk-full-within: 5m\n", "FILE: disk-full-within: 5m: must be 1h to 720h, or 0 to disable"},
		{"a list alone", "- heartbeat: 5m\n", "FILE: not a mapping: write one setting per line, such as sweep-interval: 5m"},
		{"no YAML mapping", "heartbeat=5m\n", "FILE: not a mapping"},
		{"no YAML", "heartbeat: [5m\n", "FILE: yaml: line 1: did not find expected"},
		{"two documents", "heartbeat: 5m\n---\nascii: true\n", "FILE: more than one YAML document"},
		{"too long", strings.Repeat("#", maxFileSize+1), "longer than 1 MiB"},
		{"all that is wrong", "ascii: maybe\nheartbeat: 1s\n", "FILE: ascii: must be true or false\nFILE: heartbeat: 1s: must be 1m or more"},
	} {
		if _, err := options(t, tt.file, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// What a flag overrides must be valid, too: the flag may be removed.
	if _, err := options(t, "heartbeat: soon\n", nil, "--heartbeat=5m"); err == nil ||
		!strings.Contains(err.Error(), "heartbeat: must be a duration") {
		t.Errorf("overridden: %v", err)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, tt := range []struct {
		arg, env, value, want string
	}{
		{arg: "--heartbeat=5s", want: "--heartbeat=5s: must be 1m or more"},
		{arg: "--deny=a..b", want: `"a..b" is no host`},
		{arg: "--deny=a.example,,b.example", want: "an empty entry"},
		{arg: "--targets=*.example", want: "matches many hosts"},
		{arg: "--config=/does/not/exist", want: "--config: open /does/not/exist: no such file or directory: create the file (it may be empty), or omit --config"},
		{env: "PULLPROBE_SWEEP_DEADLINE", value: "1m", want: "PULLPROBE_SWEEP_DEADLINE=1m: must be 500ms to 30s"},
		{env: "PULLPROBE_SWEEP_DEADLINE", value: "1", want: `PULLPROBE_SWEEP_DEADLINE="1": must be a duration, such as 90s or 5m`},
		{env: "PULLPROBE_ASCII", value: "ja", want: `PULLPROBE_ASCII="ja": must be true or false`},
		{env: "PULLPROBE_ALLOW", value: "10.0.0.1/8", want: "write 10.0.0.0/8"},
		{arg: "--metrics-cert-file=c.pem", want: "--metrics-cert-file=c.pem: must be given together with --metrics-key-file"},
		{env: "PULLPROBE_METRICS_KEY_FILE", value: "k.pem", want: "--metrics-cert-file: must be given together with --metrics-key-file"},
		{env: "PULLPROBE_CONFIG", value: "/does/not/exist", want: "/does/not/exist"},
	} {
		args := []string{"--node-name=n"}
		if tt.arg != "" {
			args = append(args, tt.arg)
		}
		env := func(name string) string { return map[string]string{tt.env: tt.value}[name] }
		if _, err := Parse(args, env); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s%s=%s: %v, want %q", tt.arg, tt.env, tt.value, err, tt.want)
		}
	}
}

func TestChangedSettings(t *testing.T) {
	a, b := Defaults(), Defaults()
	if got := a.ChangedNames(b); len(got) > 0 {
		t.Errorf("%v", got)
	}
	b.ASCII, b.Targets, b.SweepInterval = true, []string{"r.example"}, 0
	if got, want := b.ChangedNames(a), []string{"ascii", "sweep-interval", "targets"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestSettingsAreDocumented checks that docs/configuration.md has a row for every
// flag, with its default, and that its example is valid.
func TestSettingsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Settings: Defaults()}
	fs := o.flags().All()
	live := o.Settings.strings()
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| `([A-Z_]+)` \\| (.+?) \\| (.*?) \\| (.+) \\|$").FindAllStringSubmatch(string(b), -1) {
		rows[m[1]] = m[2:]
	}
	fs.VisitAll(func(f *pflag.Flag) {
		row, ok := rows[f.Name]
		delete(rows, f.Name)
		key, def := "fixed", f.DefValue
		if _, ok := live[f.Name]; ok {
			key = "`" + f.Name + "`"
		}
		if def != "" {
			def = "`" + def + "`"
		}
		if !ok || row[0] != variable(f.Name) || row[1] != key || row[2] != def {
			t.Errorf(
				"docs/configuration.md: want the row\n| `--%s` | `%s` | %s | %s | %s |\nhave %q",
				f.Name,
				variable(f.Name),
				key,
				def,
				f.Usage,
				row,
			)
		}
	})
	for name := range rows {
		t.Errorf("docs/configuration.md has a row for %s, which is no setting", name)
	}
	_, example, _ := strings.Cut(string(b), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	if o, err := options(t, example, nil); err != nil || len(o.Settings.ChangedNames(Defaults())) == 0 {
		t.Errorf("the example: %v", err)
	}
}

// TestConfigurationComponent checks that the component mounts a valid file where the
// agent reads it.
func TestConfigurationComponent(t *testing.T) {
	const dir = "../../manifests/components/configuration/"
	var set struct {
		Spec struct{ Template corev1.PodTemplateSpec }
	}
	var cm corev1.ConfigMap
	for file, into := range map[string]any{"daemonset.yaml": &set, "configmap.yaml": &cm} {
		text, err := os.ReadFile(dir + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, into, yaml.DisallowUnknownFields); err != nil && file != "daemonset.yaml" {
			t.Fatalf("%s: %v", file, err)
		}
	}
	spec := set.Spec.Template.Spec
	mount, env, volume := spec.Containers[0].VolumeMounts[0], spec.Containers[0].Env[0], spec.Volumes[0]
	if env.Name != variable("config") || filepath.Dir(env.Value) != mount.MountPath || mount.SubPath != "" || !mount.ReadOnly ||
		mount.Name != volume.Name {
		t.Errorf("%+v %+v %+v", env, mount, volume)
	}
	text, ok := cm.Data[filepath.Base(env.Value)]
	if volume.ConfigMap == nil || volume.ConfigMap.Name != cm.Name || !ok {
		t.Errorf("%+v of %s", volume, cm.Name)
	}
	if o, err := options(t, text, nil); err != nil || len(o.Settings.ChangedNames(Defaults())) > 0 {
		t.Errorf("it changes %v: %v", o.Settings.ChangedNames(Defaults()), err)
	}
	// What is commented out is valid, too.
	if _, err := options(t, regexp.MustCompile(`(?m)^# ([a-z-]+:)`).ReplaceAllString(text, "$1"), nil); err != nil {
		t.Error(err)
	}
}
