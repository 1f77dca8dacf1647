package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the settings into the schema of the chart's values")

const chartSchema = "../../charts/pullprobe/values.schema.json"

// chartSets lists the options that the chart sets itself, by the value that does.
var chartSets = map[string]string{
	"node-name": "the node of the pod", "namespace": "the namespace of the release", "kubeconfig": "none inside a cluster",
	"runtime-endpoint": "containerd.socketDirectory", "journal-dir": "the volume journal", "health-addr": "the probes of the pod",
	"metrics-addr": "metrics.enabled", "metrics-cert-file": "no volume", "metrics-key-file": "no volume", "config": "configuration.enabled",
	"read-as-node": "readAsNode.enabled",
}

// TestChartSchema checks that the schema of the chart's values has every setting: the
// live ones below configuration.settings, the others below options.
func TestChartSchema(t *testing.T) {
	settings, options := map[string]any{}, map[string]any{}
	live := Defaults()
	live.flags(io.Discard).VisitAll(func(f *flag.Flag) { settings[f.Name] = schemaOf(f) })
	new(Options).flags(io.Discard).VisitAll(func(f *flag.Flag) {
		if settings[f.Name] == nil && chartSets[f.Name] == "" {
			options[f.Name] = schemaOf(f)
		}
	})
	if len(options) != 3 {
		t.Errorf("options of the chart: %v", options)
	}

	text, err := os.ReadFile(chartSchema)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	at(schema, "configuration", "settings")["properties"] = settings
	at(schema, "options")["properties"] = options
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(text, want.Bytes()) {
		return
	}
	if !*update {
		t.Fatalf("%s has not the settings of the agent: go test ./agent/config -run TestChartSchema -update", chartSchema)
	}
	if err := os.WriteFile(chartSchema, want.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flags returns a flag for each setting.
func (s *Settings) flags(usage io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(usage)
	s.addFlags(fs)
	return fs
}

// at returns the schema of a value, by its path.
func at(schema map[string]any, path ...string) map[string]any {
	for _, name := range path {
		schema = schema["properties"].(map[string]any)[name].(map[string]any)
	}
	return schema
}

// schemaOf returns the JSON schema of a flag's value.
func schemaOf(f *flag.Flag) map[string]any {
	out := map[string]any{"description": strings.ReplaceAll(f.Usage, "`", "")}
	getter, _ := f.Value.(flag.Getter)
	switch {
	case getter == nil && reflect.TypeOf(f.Value).Kind() == reflect.Struct: // a list
		out["type"], out["items"] = "array", map[string]any{"type": "string"}
		return out
	case getter == nil: // a text with a parser
		out["type"] = "string"
		return out
	}
	switch v := getter.Get().(type) {
	case bool:
		out["type"], out["default"] = "boolean", v
	case int, int64:
		out["type"], out["default"] = "integer", v
	case time.Duration: // 0 may be a number
		out["type"], out["pattern"], out["default"] = []string{"string", "integer"}, `^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`, v.String()
		out["minimum"], out["maximum"] = 0, 0
	default:
		out["type"] = "string"
	}
	return out
}

// TestChartOptions checks that the chart's list of options names flags that exist.
func TestChartOptions(t *testing.T) {
	var names []string
	new(Options).flags(io.Discard).VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	for name := range chartSets {
		if !slices.Contains(names, name) {
			t.Errorf("the agent has no flag %s", name)
		}
	}
}
