package report_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

// object is a JSON Schema, or a part of one.
type object = map[string]any

// readSchema reads docs/report.schema.json without what it says to people, and
// without bounds that a Go type does not tell.
func readSchema(t *testing.T) (root, defs object) {
	t.Helper()
	b, err := os.ReadFile("../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	bare(root)
	defs, _ = root["$defs"].(object)
	for _, key := range []string{"$schema", "title", "$defs"} {
		delete(root, key)
	}
	return root, defs
}

func bare(schema object) {
	for key, v := range schema {
		if key == "minimum" {
			delete(schema, key)
		} else if _, text := v.(string); text && key == "description" {
			delete(schema, key)
		} else if below, ok := v.(object); ok {
			bare(below)
		}
	}
}

// describe returns the schema of a Go type as encoding/json writes it. It adds the
// types inside it to defs.
func describe(t *testing.T, of reflect.Type, defs object) object {
	ref := func(name string, is func() object) object {
		if _, ok := defs[name]; !ok {
			defs[name] = object{}
			defs[name] = is()
		}
		return object{"$ref": "#/$defs/" + name}
	}
	switch of {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[Millis]():
		return ref("millis", func() object { return object{"type": "integer"} })
	case reflect.TypeFor[HostState]():
		return ref("state", func() object { return object{"enum": values(t, "HostState")} })
	case reflect.TypeFor[Outcome](), reflect.TypeFor[Kind](), reflect.TypeFor[Fault](), reflect.TypeFor[Cause](),
		reflect.TypeFor[Confidence](), reflect.TypeFor[Role]():
		return ref(defName(of), func() object { return object{"enum": values(t, of.Name())} })
	}
	if of == reflect.TypeFor[Check]() {
		defs["sharedCheck"] = object{
			"type": "object", "additionalProperties": false, "required": []any{"id", "shared"},
			"properties": object{"id": object{"type": "string"}, "shared": object{"const": true}},
		}
	}
	switch of.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Pointer:
		return describe(t, of.Elem(), defs)
	case reflect.Slice:
		return object{"type": "array", "items": describe(t, of.Elem(), defs)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": describe(t, of.Elem(), defs)}
	case reflect.Struct:
		return ref(defName(of), func() object { return fields(t, of, defs) })
	}
	t.Fatalf("no schema is known for %v", of)
	return nil
}

func fields(t *testing.T, of reflect.Type, defs object) object {
	properties, required := object{}, []any{}
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			t.Errorf("%v.%s has no name in JSON", of, f.Name)
			continue
		}
		if of == reflect.TypeFor[Check]() && name == "shared" {
			continue // [Check.MarshalJSON] writes a sharedCheck
		}
		properties[name] = describe(t, f.Type, defs)
		if of == reflect.TypeFor[Diagnosis]() && name == "checks" {
			properties[name] = object{"type": "array", "items": object{"anyOf": []any{
				describe(t, reflect.TypeFor[Check](), defs), object{"$ref": "#/$defs/sharedCheck"},
			}}}
		}
		switch {
		case options == "":
			required = append(required, name)
		case options != "omitempty" && options != "omitzero":
			t.Errorf("%v.%s: what %q does is not known here", of, f.Name, options)
		}
		if f.Type.Kind() == reflect.Pointer && options == "" {
			t.Errorf("%v.%s would be null where there is none", of, f.Name)
		}
	}
	return object{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
}

func defName(of reflect.Type) string {
	return string(unicode.ToLower(rune(of.Name()[0]))) + of.Name()[1:]
}

// values returns the values of the package's constants of a type.
func values(t *testing.T, of string) []any {
	t.Helper()
	var out []any
	if of == "Outcome" {
		for o := Unknown; o <= Error; o++ {
			out = append(out, o.String())
		}
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == of {
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok {
						text, _ := strconv.Unquote(lit.Value)
						out = append(out, text)
					}
				}
			}
			return false
		})
	}
	if len(out) == 0 {
		t.Errorf("%s has no constants", of)
	}
	return out
}

// docs/report.schema.json describes exactly what the code writes: every field of
// every type, which of them may be absent, and every name of a closed set.
func TestSchemaIsTheCode(t *testing.T) {
	root, defs := readSchema(t)
	want := object{}
	describe(t, reflect.TypeFor[NodeReport](), want)
	node := want["nodeReport"].(object)
	delete(want, "nodeReport")
	node["properties"].(object)["schema"] = object{"const": Schema}

	sorted := cmp.Transformer("sorted", func(list []any) []string {
		var out []string
		for _, v := range list {
			out = append(out, fmt.Sprint(v)) // a name, or a reference
		}
		slices.Sort(out)
		return out
	})
	if diff := cmp.Diff(any(node), any(root), sorted); diff != "" {
		t.Errorf("the report: - is the code, + the schema:\n%s", diff)
	}
	if diff := cmp.Diff(any(want), any(defs), sorted); diff != "" {
		t.Errorf("what is in it: - is the code, + the schema:\n%s", diff)
	}
	known := map[Cause]bool{}
	for _, info := range Catalogue() {
		known[info.Cause] = true
	}
	for _, name := range values(t, "Cause") {
		if !known[Cause(name.(string))] {
			t.Errorf("%s is not in the catalogue", name)
		}
	}
}

// docs/report.md has a table for every type of the schema, "A **check**:", with
// every field of it and no other, and names every value of a closed set.
func TestReportIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), "\n## Checks and their evidence\n")
	begins := regexp.MustCompile(`^An? \*\*(\w+)\*\*`)
	documented := map[string][]string{}
	at := ""
	for line := range strings.Lines(text) {
		if m := begins.FindStringSubmatch(line); m != nil {
			at = m[1]
		} else if strings.HasPrefix(line, "## ") {
			at = strings.TrimSpace(strings.TrimPrefix(line, "## ")) // the report itself: "data"
		}
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| `") {
			documented[at] = append(documented[at], quoted(first)...)
		}
	}

	root, defs := readSchema(t)
	defs["data"] = root
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		def := defs[name].(object)
		if properties, ok := def["properties"].(object); ok {
			want := slices.Sorted(maps.Keys(properties))
			got := slices.Sorted(slices.Values(documented[name]))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: - is the schema, + docs/report.md:\n%s", name, diff)
			}
		}
		if set, ok := def["enum"].([]any); ok && name != "cause" && name != "confidence" { // those are in docs/causes.md
			for _, v := range set {
				if !strings.Contains(text, "`"+v.(string)+"`") {
					t.Errorf("docs/report.md does not say what the %s %v is", name, v)
				}
			}
		}
	}
}

// Every check that was recorded fits the schema's closed sets.
func TestRecordingsFitSchema(t *testing.T) {
	kinds := values(t, "Kind")
	for row, checks := range recordedChecks(t) {
		for _, c := range checks {
			if c.ID == "" || !slices.Contains(kinds, any(string(c.Kind))) || c.Cause != "" && !c.Cause.Known() {
				t.Errorf("%s: %q is a check of kind %q with cause %q", row, c.ID, c.Kind, c.Cause)
			}
		}
	}
}
