package command

import (
	"bytes"
	"encoding/json"

	"sigs.k8s.io/yaml"
)

// writeObject writes a value as JSON or YAML.
func (a *App) writeObject(format string, value any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return err
	}
	if format == "json" {
		_, err := a.Out.Write(b.Bytes())
		return err
	}
	text, err := yaml.JSONToYAML(b.Bytes())
	if err != nil {
		return err
	}
	_, err = a.Out.Write(text)
	return err
}
