package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pullprobe/pullprobe/flags"
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
	allOptions, allSettings := allFlags()
	allSettings.VisitAll(func(f *pflag.Flag) { settings[f.Name] = schemaOf(f) })
	allOptions.VisitAll(func(f *pflag.Flag) {
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

// at returns the schema of a value, by its path.
func at(schema map[string]any, path ...string) map[string]any {
	for _, name := range path {
		schema = schema["properties"].(map[string]any)[name].(map[string]any)
	}
	return schema
}

// schemaOf returns the JSON schema of a flag's value.
func schemaOf(f *pflag.Flag) map[string]any {
	out := map[string]any{"type": "string", "description": strings.ReplaceAll(f.Usage, "`", "")}
	switch kind := f.Value.Type(); {
	case kind == "bool":
		out["type"], out["default"] = "boolean", f.DefValue == "true"
	case kind == "int" || kind == "int64":
		n, _ := strconv.ParseInt(f.DefValue, 10, 64)
		out["type"], out["default"] = "integer", n
	case kind == "duration": // 0 may be a number
		out["type"], out["pattern"], out["default"] = []string{"string", "integer"}, `^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`, f.DefValue
		out["minimum"], out["maximum"] = 0, 0
	case kind == "hosts":
		out["type"], out["items"] = "array", map[string]any{"type": "string"}
	}
	return out
}

// allFlags returns the flags of all options, and of the settings alone.
func allFlags() (options, settings *pflag.FlagSet) {
	live := Defaults()
	var g flags.Groups
	live.addFlags(&g)
	return new(Options).flags().All(), g.All()
}

// TestChartOptions checks that the chart's list of options names flags that exist.
func TestChartOptions(t *testing.T) {
	var names []string
	all, _ := allFlags()
	all.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	for name := range chartSets {
		if !slices.Contains(names, name) {
			t.Errorf("the agent has no flag %s", name)
		}
	}
}
