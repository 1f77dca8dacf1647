package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/pullprobe/pullprobe/flags"
)

// version, commit and date are set by the linker (see Makefile). The date is that of the
// commit, so that a second build gives the same bytes.
var version, commit, date string

// versionOptions are the flags of `pullprobe version`.
type versionOptions struct{ output string }

func (o *versionOptions) flags() (g flags.Groups) {
	outputFlag(g.Add("Output"), &o.output)
	return g
}

func (o *versionOptions) run(_ context.Context, p process, args []string) int {
	if len(args) > 0 {
		return p.usageError("version", fmt.Errorf("unexpected argument %q", args[0]))
	}
	if err := validOutput(o.output); err != nil {
		return p.usageError("version", err)
	}
	v := struct {
		Version  string `json:"version"`
		Commit   string `json:"commit"`
		Date     string `json:"date"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{cmp.Or(version, "dev"), cmp.Or(commit, "unknown"), cmp.Or(date, "unknown"), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if o.output == "json" {
		if err := json.NewEncoder(p.stdout).Encode(v); err != nil {
			fmt.Fprintln(p.stderr, "pullprobe version:", err)
			return exitUnknown
		}
		return exitOK
	}
	fmt.Fprintf(p.stdout, "pullprobe %s (commit %s, %s, %s, %s)\n", v.Version, v.Commit, v.Date, v.Go, v.Platform)
	return exitOK
}
