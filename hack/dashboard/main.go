// Command dashboard writes the Grafana dashboard of pullprobe's metrics, as JSON.
//
//	dashboard FILE…
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	text, err := render()
	for _, file := range os.Args[1:] {
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// render returns the dashboard as JSON.
func render() ([]byte, error) {
	d, err := build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}
