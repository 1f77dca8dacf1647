package fleet

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/report"
)

var update = flag.Bool("update", false, "rewrite docs/fleet.schema.json")

const (
	schemaFile = "../docs/fleet.schema.json"
	docsFile   = "../docs/fleet.md"
)

// describe returns the JSON Schema of a type.
func describe(t *testing.T, of reflect.Type) map[string]any {
	switch of {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[report.Fault]():
		return map[string]any{"enum": []any{"node-infrastructure", "registry", "cluster-config", "undetermined", "none"}}
	case reflect.TypeFor[report.Confidence]():
		return map[string]any{"enum": []any{"confirmed", "likely", "undetermined"}}
	}
	switch of.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0.0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": describe(t, of.Elem())}
	case reflect.Struct:
		properties, required := map[string]any{}, []any{}
		fields(t, of, properties, &required)
		return map[string]any{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
	}
	t.Fatalf("no schema is known for %v", of)
	return nil
}

func fields(t *testing.T, of reflect.Type, properties map[string]any, required *[]any) {
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Anonymous {
			fields(t, f.Type, properties, required)
			continue
		}
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		properties[name] = describe(t, f.Type)
		if options == "" {
			*required = append(*required, name)
		}
	}
}

// docs/fleet.schema.json is what the code writes, and docs/fleet.md names every field.
func TestSchema(t *testing.T) {
	want := describe(t, reflect.TypeFor[document]())
	want["$schema"], want["title"] = "https://json-schema.org/draft/2020-12/schema", "fleet.json of the ConfigMap pullprobe-fleet"
	want["properties"].(map[string]any)["schema"] = map[string]any{"const": compare.Schema}
	if *update {
		body, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(schemaFile, append(body, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("- is the code, + the schema (go test ./fleet -run TestSchema -update):\n%s", d)
	}
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	for name := range allNames(want) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/fleet.md lacks the field %s", name)
		}
	}
}

// allNames returns the names of all properties.
func allNames(schema map[string]any) map[string]bool {
	out := map[string]bool{}
	for key, v := range schema {
		inner, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if key == "properties" {
			for name := range inner {
				out[name] = true
			}
		}
		for name := range allNames(inner) {
			out[name] = true
		}
	}
	return out
}

// docs/fleet.md has a row for every metric and every flag.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics("v")
	m.observe(compare.Result{
		Hosts: []compare.Tally{{Host: "h"}}, Findings: []compare.Finding{{Cause: report.DiskFull, Fault: report.FaultNode}},
	}, time.Now())
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "pullprobe_") && !strings.Contains(string(text), "\n| `"+name+"` |") {
			t.Errorf("docs/fleet.md lacks the metric %s", name)
		}
	}
	var help strings.Builder
	_, _ = Parse([]string{"-h"}, func(string) string { return "" }, &help)
	for line := range strings.Lines(help.String()) {
		if name, ok := strings.CutPrefix(line, "  -"); ok {
			name = strings.Fields(name)[0]
			if !strings.Contains(string(text), "\n| `--"+name+"` |") {
				t.Errorf("docs/fleet.md lacks the flag --%s", name)
			}
		}
	}
}
