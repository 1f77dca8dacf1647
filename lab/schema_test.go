package lab

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reportSchema returns the schema that every report of the end-to-end tests must match.
func reportSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reportValue(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

// goodReport has every field of the schema.
const goodReport = `{
	"schema": "pullprobe.dev/v1", "node": "node-a", "agent": "v0.1.0", "time": "2026-11-28T12:00:05Z",
	"fault": "registry", "cause": "RateLimited", "stuck": 1,
	"faults": {"node-infrastructure": 0, "registry": 1, "cluster-config": 0, "undetermined": 0},
	"runtime": {"id": "runtime", "kind": "runtime", "target": "/run/containerd/containerd.sock", "outcome": "pass",
		"summary": "containerd v2.4.2 is ready", "evidence": {"ready": "true"}, "durationMs": 4},
	"disk": {"id": "disk", "kind": "disk", "outcome": "unknown", "summary": "not checked yet", "durationMs": 0},
	"sweep": {
		"time": "2026-11-28T12:00:00.123Z", "durationMs": 812,
		"control": {"id": "control", "kind": "control", "outcome": "pass", "summary": "1 of 1 other hosts can be reached",
			"evidence": {"asked": "1", "reached": "1", "hosts": "registry.example", "ageMs": "3"}, "durationMs": 0},
		"registries": [{
			"host": "busy.example:5000", "roles": ["registry", "target"], "state": "limited",
			"since": "2026-11-28T11:40:00Z", "checked": "2026-11-28T12:00:00Z", "flapping": true,
			"fault": "registry", "cause": "RateLimited", "summary": "it answers 429", "because": "registry/busy.example:5000",
			"latency": {"dnsMs": 1, "dialMs": 0, "tlsMs": 6, "httpMs": 14}, "status": 429, "addresses": ["192.0.2.7"],
			"certificate": {"issuer": "Example CA", "notAfter": "2026-11-01T00:00:00Z", "daysLeft": -27},
			"clockMs": -1000, "notBefore": "2026-11-28T12:10:00Z"
		}, {
			"host": "new.example", "roles": ["mirror"], "state": "unknown", "since": "2026-11-28T12:00:00Z", "checked": "2026-11-28T12:00:00Z",
			"latency": {"dnsMs": 0, "dialMs": 0, "tlsMs": 0, "httpMs": 0}
		}],
		"resolvers": [{"address": "10.0.0.2:53", "outcome": "fail", "cause": "ResolverUnreachable", "latencyMs": 1000}],
		"clock": {"id": "clock", "kind": "clock", "outcome": "skipped", "summary": "no host returned a Date header", "durationMs": 0},
		"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "since": "2026-11-28T10:00:00Z"}],
		"omitted": 3
	},
	"diagnoses": [{
		"image": "busy.example:5000/app:1", "node": "node-a", "pod": "shop/web", "uid": "3f1c",
		"container": "app", "asked": "now", "time": "2026-11-28T12:00:01Z",
		"verdict": {"fault": "registry", "cause": "RateLimited", "confidence": "confirmed", "summary": "it answers 429",
			"fix": "wait", "because": ["manifest/busy.example:5000"], "wouldDecide": ["nothing"], "also": ["ClockSkewed"]},
		"checks": [{"id": "manifest/busy.example:5000", "kind": "manifest", "host": "busy.example:5000", "outcome": "fail",
			"cause": "RateLimited", "summary": "it answers 429", "durationMs": 12},
			{"id": "image/busy.example:5000", "kind": "image", "outcome": "skipped",
				"summary": "not checked", "blockedBy": "manifest/busy.example:5000", "durationMs": 0}],
		"trimmed": true
	}],
	"omitted": 2, "answered": {"3f1d": "1795867200"}
}`

func TestReportSchemaTakesAGoodReport(t *testing.T) {
	schema := reportSchema(t)
	if err := schema.Validate(reportValue(t, goodReport)); err != nil {
		t.Errorf("a report with everything: %v", err)
	}
	least := reportValue(t, goodReport)
	for _, optional := range []string{"sweep", "omitted", "answered"} {
		delete(least, optional)
	}
	least["diagnoses"] = []any{}
	if err := schema.Validate(least); err != nil {
		t.Errorf("a report with the required fields only: %v", err)
	}
}

func TestReportSchemaRefusesBrokenReports(t *testing.T) {
	schema := reportSchema(t)
	for _, tt := range []struct{ name, old, new string }{
		{"another version", `"pullprobe.dev/v1"`, `"pullprobe.dev/v2"`},
		{"a field that is not documented", `"stuck": 1`, `"stuck": 1, "extra": 1`},
		{"the same in a check", `"ready": "true"}`, `"ready": "true"}, "extra": 1`},
		{"the same in a registry", `"status": 429`, `"status": 429, "extra": 1`},
		{"a missing field", `"agent": "v0.1.0", `, ``},
		{"the same in a verdict", `"confidence": "confirmed", `, ``},
		{"an unknown fault", `"fault": "registry", "cause": "RateLimited", "stuck"`, `"fault": "weather", "cause": "RateLimited", "stuck"`},
		{"an unknown cause", `"also": ["ClockSkewed"]`, `"also": ["ClockBroken"]`},
		{"an unknown state", `"state": "limited"`, `"state": "tired"`},
		{"an unknown role", `"mirror"`, `"window"`},
		{"an unknown kind", `"kind": "control"`, `"kind": "remote"`},
		{"an empty kind", `"kind": "disk"`, `"kind": ""`},
		{"an unknown outcome", `"outcome": "fail", "cause": "ResolverUnreachable"`, `"outcome": "failed", "cause": "ResolverUnreachable"`},
		{"an unknown confidence", `"confirmed"`, `"certain"`},
		{"an invalid time", `"2026-11-28T12:00:05Z"`, `"yesterday"`},
		{"a duration as text", `"durationMs": 812`, `"durationMs": "812ms"`},
		{"a duration with a fraction", `"durationMs": 812`, `"durationMs": 812.5`},
		{"evidence that is not text", `"ageMs": "3"`, `"ageMs": 3`},
		{"null for an array", `"roles": ["mirror"]`, `"roles": null`},
		{"null for an object", `"clockMs": -1000`, `"clockMs": null`},
	} {
		if strings.Count(goodReport, tt.old) != 1 {
			t.Errorf("%s: the good report has %q %d times", tt.name, tt.old, strings.Count(goodReport, tt.old))
		}
		if err := schema.Validate(reportValue(t, strings.Replace(goodReport, tt.old, tt.new, 1))); err == nil {
			t.Errorf("%s: the schema accepts it", tt.name)
		}
	}
	null := maps.Clone(reportValue(t, goodReport))
	null["diagnoses"] = nil
	if schema.Validate(null) == nil {
		t.Error("null for diagnoses: the schema accepts it")
	}
}

// The checks that the fault matrix recorded match the schema.
func TestReportSchemaTakesRecordedChecks(t *testing.T) {
	schema := reportSchema(t)
	files, err := filepath.Glob("../diagnosis/testdata/matrix/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var recording struct{ Checks json.RawMessage }
		if err := json.Unmarshal(b, &recording); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		checks, err := jsonschema.UnmarshalJSON(bytes.NewReader(recording.Checks))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		report := reportValue(t, goodReport)
		report["diagnoses"].([]any)[0].(map[string]any)["checks"] = checks
		if err := schema.Validate(report); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}
