package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

func runWith(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, func(string) string { return "" }, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// One message a line in, one JSON line out, in order, whatever the input.
func TestExplain(t *testing.T) {
	messages := []string{
		`failed to pull and unpack image "r.example/app:1": failed to resolve image: failed to do request: Head "https://r.example/v2/app/manifests/1": dial tcp: lookup r.example on 192.0.2.53:53: no such host`,
		"no words that mean anything \x00\xff",
		`Failed to apply default image tag "r.example/APP:1": couldn't parse image name "r.example/APP:1": invalid reference format: repository name (APP) must be lowercase`,
		strings.Repeat("x", 2<<20),
	}
	code, out, _ := runWith(t, strings.Join(messages, "\n"), "explain", "-o", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitOK || len(lines) != len(messages) {
		t.Fatalf("exit %d, %d lines", code, len(lines))
	}
	want := []report.Explanation{
		{Cause: report.HostNotFound, Fault: report.FaultConfig, Confidence: report.Likely},
		{Cause: report.Undetermined, Fault: report.FaultUndetermined, Confidence: report.ConfidenceUndetermined},
		{Cause: report.InvalidReference, Fault: report.FaultConfig, Confidence: report.Confirmed},
		{Cause: report.Undetermined, Fault: report.FaultUndetermined, Confidence: report.ConfidenceUndetermined},
	}
	for i, line := range lines {
		var got report.Explanation
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if got.Cause != want[i].Cause || got.Fault != want[i].Fault || got.Confidence != want[i].Confidence || got.Summary == "" {
			t.Errorf("line %d: %s %s %s %q", i, got.Fault, got.Cause, got.Confidence, got.Summary)
		}
		if got.Alternatives == nil || len(got.Alternatives) > 3 {
			t.Errorf("line %d: alternatives %v", i, got.Alternatives)
		}
	}
	if code, out, _ := runWith(t, "", "explain", "pull", "QPS", "exceeded"); code != exitOK || !strings.Contains(out, "PullQueueLimited") {
		t.Errorf("a message as arguments: exit %d, %q", code, out)
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("lookup r.example on 192.0.2.53:53: no such host")
	f.Fuzz(func(t *testing.T, message string) {
		x := explain(message)
		if !x.Cause.Known() || x.Summary == "" || x.Confidence == "" {
			t.Errorf("%+v", x)
		}
	})
}

func TestCheckExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no image", []string{"check"}, exitUsage, "IMAGE"},
		{"help", []string{"check", "-h"}, exitOK, "Usage: pullprobe check"},
		{"unknown flag", []string{"check", "--nonsense", "app"}, exitUsage, "nonsense"},
		{"output", []string{"check", "-o", "yaml", "app"}, exitUsage, "yaml"},
		{"platform", []string{"check", "--platform", "a/b/c/d", "app"}, exitUsage, "--platform"},
		{"no such file", []string{"check", "--ca-file", "/does/not/exist", "app"}, exitUsage, "--ca-file"},
		{"credentials that are none", []string{"check", "--auth-file", file("auth", `{"auths":{"r":{"auth":"!hunter2"}}}`), "app"}, exitFault, "PullSecretMalformed"},
		{"endpoint", []string{"check", "--runtime-endpoint", "tcp://x", "app"}, exitUsage, "--runtime-endpoint"},
		{"a fault", []string{"check", "r.example/APP:1"}, exitFault, "InvalidReference"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := runWith(t, "", tt.args...)
			if code != tt.code || !strings.Contains(out+errs, tt.want) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("exit %d, printed %q and %q", code, out, errs)
			}
		})
	}
}

// A name that the hosts file, named as a person would, leads to a port where
// nothing listens.
func TestCheckJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	const hosts, resolv = "hosts", "./resolv.conf"
	for path, text := range map[string]string{hosts: "127.0.0.1 r.example\n", resolv: "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := runWith(t, "", "check", "-o", "json", "--etc-hosts", hosts, "--resolv-conf", resolv, "r.example:1/app:1", "r.example/APP:1")
	var diagnoses []report.Diagnosis
	if err := json.Unmarshal([]byte(out), &diagnoses); err != nil || code != exitFault || len(diagnoses) != 2 {
		t.Fatalf("exit %d, %v, %q %q", code, err, out, errs)
	}
	if v := diagnoses[0].Verdict; v.Cause != report.ConnectionRefused || v.Confidence == report.Confirmed {
		t.Errorf("refused: %s %s %s", v.Fault, v.Cause, v.Confidence)
	}
	if v := diagnoses[1].Verdict; v.Cause != report.InvalidReference || v.Confidence != report.Confirmed {
		t.Errorf("invalid: %s %s %s", v.Fault, v.Cause, v.Confidence)
	}
}
