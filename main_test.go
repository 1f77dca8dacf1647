package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pullprobe/pullprobe/"

// Imports point one way: report (standard library only) <- evidence <-
// runtimeconfig <- probes/view <- probes/connect <- probes/registry <- agent <-
// main; the others beside. No package of the product imports probes/probetest.
func TestImportDirection(t *testing.T) {
	allowed := map[string][]string{
		"report":           {},
		"evidence":         {"report"},
		"cri":              {"report"},
		"credentials":      {"report"},
		"runtimeconfig":    {"report", "evidence"},
		"probes/guard":     {"report"},
		"probes/view":      {"report", "evidence", "runtimeconfig"},
		"probes/connect":   {"report", "evidence", "runtimeconfig", "probes/guard", "probes/view"},
		"probes/registry":  {"report", "evidence", "credentials", "runtimeconfig", "probes/connect", "probes/reference"},
		"probes/disk":      {"report", "evidence"},
		"probes/reference": {"report", "evidence"},
		"probes/probetest": {"report"},
		"agent": {
			"report", "cri", "credentials", "runtimeconfig",
			"probes/guard", "probes/view", "probes/connect", "probes/registry", "probes/disk", "probes/reference",
		},
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			if slices.Contains(p.Imports, module+"probes/probetest") {
				t.Errorf("%s imports probes/probetest, which is for tests", p.ImportPath)
			}
			continue // main imports what it likes
		}
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s has no place in the import direction", name)
			continue
		}
		seen++
		for _, imp := range p.Imports {
			own, ours := strings.CutPrefix(imp, module)
			switch {
			case ours && !slices.Contains(may, own):
				t.Errorf("%s imports %s", name, own)
			case name == "report" && strings.Contains(strings.Split(imp, "/")[0], "."):
				t.Errorf("report imports %s, which is not in the standard library", imp)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d of %d packages seen", seen, len(allowed))
	}
}

func TestUsage(t *testing.T) {
	env := func(string) string { return "" }
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "Usage:"},
		{[]string{"help"}, exitOK, "Usage:"},
		{[]string{"version"}, exitOK, "pullprobe dev"},
		{[]string{"nonsense"}, exitUsage, `unknown command "nonsense"`},
		{[]string{"agent"}, exitUsage, "--node-name is missing"},
		{[]string{"agent", "-h"}, exitOK, "-cool-down"},
		{[]string{"agent", "--node-name=n", "--workers=0"}, exitUsage, "--workers=0"},
		{[]string{"agent", "--node-name=n", "--log-level=loud"}, exitUsage, "loud"},
		{[]string{"agent", "--node-name=n", "--runtime-endpoint=http://x"}, exitUsage, "http://x"},
		{[]string{"agent", "--node-name=n", "--kubeconfig=/does/not/exist"}, exitUsage, "/does/not/exist"},
		{[]string{"agent", "--node-name=n", "extra"}, exitUsage, `"extra"`},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), tt.args, env, strings.NewReader(""), &out, &errs)
		if code != tt.code || !strings.Contains(out.String()+errs.String(), tt.want) {
			t.Errorf("%q: exit %d, printed %q and %q", tt.args, code, out.String(), errs.String())
		}
	}
}
