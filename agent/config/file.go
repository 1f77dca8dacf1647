package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// maxFileSize is the longest configuration file, in bytes: no ConfigMap is longer.
const maxFileSize = 1 << 20

// readFile reads the configuration file.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: create the file (it may be empty), or omit --config", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("%s: longer than 1 MiB", file)
	}
	return text, nil
}

// entry is one key of the configuration file, with its value in the form that a flag
// takes.
type entry struct {
	key    string
	values []string
	isList bool
	wrong  string // why its form is not valid; empty: it is
}

func (e entry) String() string { return strings.Join(e.values, ",") }

// parseFile reads the content of a configuration file, a YAML mapping without
// duplicate keys, and returns its entries sorted by key.
func parseFile(text []byte) ([]entry, error) {
	if hasSecondDocument(text) {
		return nil, errors.New("more than one YAML document: put all settings into the first one and remove the line ---")
	}
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " ")) // it has several lines
	}
	if string(bytes.TrimSpace(converted)) == "null" {
		return nil, nil // nothing but comments
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(converted, &raw) != nil {
		return nil, errors.New("not a mapping: write one setting per line, such as sweep-interval: 5m")
	}
	var out []entry
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		e := entry{key: key}
		var list []json.RawMessage
		if e.isList = json.Unmarshal(raw[key], &list) == nil && list != nil; !e.isList {
			list = []json.RawMessage{raw[key]}
		}
		for _, v := range list {
			value, ok := scalar(v)
			switch {
			case ok:
				e.values = append(e.values, value)
			case string(v) == "null":
				e.wrong = "no value: set one, or remove the key to use the default"
			default:
				e.wrong = "must be a single value or a list of single values, without nesting"
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// hasSecondDocument reports whether there is a second YAML document, which the
// parser would ignore. k8s.io/apimachinery's YAMLReader does not serve here: it
// counts comments before the first marker as a document.
func hasSecondDocument(text []byte) bool {
	begun := false
	for line := range bytes.Lines(text) {
		marker := bytes.HasPrefix(line, []byte("---"))
		if marker && begun {
			return true
		}
		line, _, _ = bytes.Cut(line, []byte("#"))
		begun = begun || len(bytes.TrimSpace(line)) > 0
	}
	return false
}

// scalar returns the text of a string, number or truth value.
func scalar(v json.RawMessage) (string, bool) {
	var text string
	switch v[0] {
	case '{', '[', 'n':
		return "", false
	case '"':
		return text, json.Unmarshal(v, &text) == nil
	}
	return string(v), true
}

// validate returns why the entry does not fit the flag f. known are the settings that
// a file may have.
func (e entry) validate(f *pflag.Flag, known map[string]string) error {
	if f == nil {
		plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
		names := slices.Sorted(maps.Keys(known))
		if i := slices.IndexFunc(names, func(n string) bool { return plain(n) == plain(e.key) }); i >= 0 {
			return fmt.Errorf("unknown setting, use %s", names[i])
		}
		return fmt.Errorf("unknown setting; known are %s", strings.Join(names, ", "))
	}
	if _, ok := known[e.key]; !ok {
		return fmt.Errorf("fixed at start, so it cannot be set in a file: use --%s or %s", e.key, variable(e.key))
	}
	if e.wrong != "" {
		return errors.New(e.wrong)
	}
	_, wantsList := f.Value.(listValue)
	switch {
	case wantsList && !e.isList:
		return errors.New("must be a list, such as [registry.example, 10.0.0.1]")
	case e.isList && !wantsList:
		return errors.New("must be a single value, not a list")
	}
	return nil
}

// listValue is a flag that takes a list.
type listValue interface{ setAll([]string) error }

// set sets a flag to the entry's value.
func (e entry) set(f *pflag.Flag) error {
	if l, ok := f.Value.(listValue); ok {
		return l.setAll(e.values)
	}
	return set(f, e.values[0])
}
