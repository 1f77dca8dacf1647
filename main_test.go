package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pullprobe/pullprobe/"

// imports lists, per package, the packages of this module that it may import. Those of
// report/ come with report.
// Data flows one way; so do imports.
var imports = map[string][]string{
	"report":          {"report/readable", "report/redact"},
	"report/readable": {},
	"report/redact":   {"report/readable"},

	"evidence":      {"report"},
	"classify":      {"report"},
	"host":          {"report"},
	"runtimeconfig": {"report", "evidence", "host"},
	"flags":         {},
	"manifest":      {"agent/corev1"},
	"credentials":   {"report", "host"},
	"cri":           {"report", "classify", "host", "runtimeconfig", "credentials"},

	"diagnosis/facts":   {"report"},
	"diagnosis/advice":  {"report", "diagnosis/facts"},
	"diagnosis/control": {"report"},
	"diagnosis":         {"report", "diagnosis/facts", "diagnosis/advice"},

	"compare/nodefacts": {"report"},
	"compare":           {"report", "compare/nodefacts"},

	"probes/guard":         {"report"},
	"probes/view":          {"report", "evidence", "runtimeconfig"},
	"probes/connect":       {"report", "evidence", "runtimeconfig", "probes/guard", "probes/view"},
	"probes/similar":       {},
	"probes/clocks":        {"report", "evidence", "runtimeconfig", "probes/connect"},
	"probes/hostlist":      {"report", "evidence", "runtimeconfig", "probes/reference"},
	"probes/imagemanifest": {"evidence"},
	"probes/requests":      {"runtimeconfig", "probes/imagemanifest"},
	"probes/httpclient":    {"report", "runtimeconfig", "credentials", "probes/connect"},
	"probes/logins":        {"runtimeconfig", "credentials", "probes/httpclient"},
	"probes/answers":       {"report", "evidence", "probes/httpclient"},
	"probes/refusal":       {"probes/httpclient", "probes/answers"},
	"probes/missing": {
		"report", "evidence", "runtimeconfig", "probes/reference",
		"probes/answers", "probes/httpclient", "probes/refusal", "probes/requests", "probes/similar",
	},
	"probes/tokens": {
		"report", "evidence", "runtimeconfig", "credentials", "probes/connect",
		"probes/answers", "probes/httpclient", "probes/refusal", "probes/requests",
	},
	"probes/registry": {
		"report", "evidence", "runtimeconfig", "credentials", "probes/connect", "probes/reference",
		"probes/answers", "probes/clocks", "probes/hostlist", "probes/httpclient", "probes/imagemanifest", "probes/logins",
		"probes/missing", "probes/refusal", "probes/requests", "probes/tokens",
	},
	"probes/disk":      {"report", "evidence", "host"},
	"probes/reference": {"report", "evidence"},

	"examine": {
		"report", "evidence", "host", "runtimeconfig", "credentials", "cri",
		"probes/guard", "probes/view", "probes/connect", "probes/registry", "probes/disk", "probes/reference", "probes/similar",
	},

	"agent/endpoint": {},

	"preflight": {"report"},

	// Binaries of their own: nothing of them is in the agent's.
	"fleet": {
		"report", "compare", "compare/nodefacts", "preflight", "fleet/nodetraits", "fleet/placement", "agent/endpoint", "agent/kube",
	},
	"fleet/nodetraits":          {"compare"},
	"fleet/placement":           {"report", "preflight"},
	"fleet/cmd/pullprobe-fleet": {"fleet"},

	"agent/config":  {"flags", "cri", "probes/guard", "examine"},
	"agent/corev1":  {},
	"agent/kube":    {"report", "credentials", "agent/corev1"},
	"agent/pods":    {"report", "classify", "agent/corev1"},
	"agent/metrics": {"report", "classify", "examine", "agent/pods"},
	"agent/preflight": {
		"report", "compare/nodefacts", "diagnosis", "examine", "preflight", "agent/corev1", "agent/kube", "agent/pods",
	},
	"agent/opinions": {"report", "compare/nodefacts", "agent/corev1"},
	"agent/turns":    {},
	"agent/sweep": {
		"report", "compare/nodefacts", "diagnosis", "diagnosis/control", "probes/reference", "probes/registry", "examine",
		"agent/config",
	},
	"agent/publish": {"report", "compare/nodefacts", "agent/config", "agent/kube"},
	"agent": {
		"report", "diagnosis", "credentials", "cri", "examine", "probes/similar",
		"agent/config", "agent/corev1", "agent/endpoint", "agent/kube", "agent/metrics", "agent/opinions", "agent/pods",
		"agent/preflight", "agent/publish", "agent/sweep", "agent/turns",
	},

	// For tests only.
	"host/hosttest": {"report"},

	"runtimeconfig/readertest": {},
	"cri/critest":              {"host/hosttest"},
	"probes/probetest":         {"report"},
	"examine/examinetest":      {},
}

// standardOnly lists the packages that import nothing but the standard library and
// each other.
var standardOnly = []string{
	"report", "report/readable", "report/redact", "diagnosis", "diagnosis/facts", "diagnosis/advice", "diagnosis/control",
	"compare", "compare/nodefacts", "preflight",
}

func TestImportDirection(t *testing.T) {
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
			continue // main imports what it likes
		}
		may, known := imports[name]
		if !known {
			t.Errorf("package %s has no place in the import direction", name)
			continue
		}
		seen++
		for _, imp := range p.Imports {
			own, ours := strings.CutPrefix(imp, module)
			switch {
			case ours && strings.HasSuffix(own, "test") && !strings.HasSuffix(name, "test"):
				t.Errorf("%s imports %s, which is for tests", name, own)
			case ours && !slices.Contains(may, own) && !(strings.HasPrefix(own, "report/") && slices.Contains(may, "report")):
				t.Errorf("%s imports %s", name, own)
			case !ours && slices.Contains(standardOnly, name) && strings.Contains(strings.Split(imp, "/")[0], "."):
				t.Errorf("%s imports %s, which is not in the standard library", name, imp)
			}
		}
	}
	if seen != len(imports) {
		t.Errorf("%d of %d packages seen", seen, len(imports))
	}
}

// What the fleet needs (typed clients, leader election) is in no agent.
func TestAgentIsSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		for _, heavy := range []string{
			module + "fleet", "k8s.io/client-go/kubernetes", "k8s.io/client-go/metadata", "k8s.io/client-go/tools/leaderelection",
			"k8s.io/client-go/informers", "github.com/go-openapi/",
		} {
			if strings.HasPrefix(name, heavy) {
				t.Errorf("the agent's binary has %s", name)
			}
		}
	}
}

// What a workstation needs of pullprobe compiles for systems that run no agent.
func TestCompilesForWorkstations(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library for two systems")
	}
	for _, system := range []string{"darwin", "windows"} {
		cmd := exec.Command("go", "build", "./report", "./classify", "./diagnosis/...", "./compare/...", "./preflight")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", system, err, out)
		}
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
		{[]string{"nonsense"}, exitUsage, `"nonsense"`},
		{[]string{"agent"}, exitUsage, "--node-name"},
		{[]string{"agent", "-h"}, exitOK, "--cool-down"},
		{[]string{"help", "agent"}, exitOK, "--cool-down"},
		{[]string{"chekc", "app"}, exitUsage, `did you mean "check"?`},
		{[]string{"r.example/app:1"}, exitUsage, "pullprobe check IMAGE"},
		{[]string{"version", "-o", "json"}, exitOK, `"version":"dev","commit":"unknown"`},
		{[]string{"completion"}, exitUsage, "bash, zsh or fish"},
		{[]string{"completion", "csh"}, exitUsage, `"csh"`},
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
