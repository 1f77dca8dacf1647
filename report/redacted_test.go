package report_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// A fix is readable in an Event and in a log: the redactor leaves its blanks.
func TestRedactorLeavesFixes(t *testing.T) {
	r := redact.New("a-secret-value")
	for _, info := range Catalogue() {
		for _, who := range []Fault{FaultConfig, FaultNode, FaultRegistry, FaultUndetermined} {
			_, fix := Advice(info.Cause, who, Reading{Host: "registry.example", Repository: "app", Reference: "1"})
			for _, text := range []string{fix, info.Cause.Fix(who), info.Cause.FixInWords()} {
				if got := r.Lines(text, 0); got != text {
					t.Errorf("%s: %q became %q", info.Cause, text, got)
				}
			}
		}
	}
	if got := r.Text("--docker-password=hunter22", 0); strings.Contains(got, "hunter22") {
		t.Error(got)
	}
}

// A canary in any text of a check must not come out.
func TestRedactorCoversEveryField(t *testing.T) {
	const canary = "c4n4ry-s3cret"
	c := Check{ID: canary, Host: canary, Target: canary, Summary: canary, BlockedBy: canary, Evidence: map[string]string{canary: canary}}
	if out := fmt.Sprintf("%+v", RedactedChecks(redact.New(canary), []Check{c})); strings.Contains(out, canary) {
		t.Error(out)
	}
}

// A pod whose name equals a password keeps its name. An image's name cannot add
// control characters to a report.
func TestRedactorKeepsTheSpecification(t *testing.T) {
	d := Diagnosis{
		Pod:    "shop/web-password",
		Image:  "r.example/app:\x1b[31m1",
		Checks: RedactedChecks(redact.New("web-password"), []Check{{Summary: "web-password"}}),
	}.Redacted()
	if d.Pod != "shop/web-password" || d.Image != "r.example/app:[31m1" || d.Checks[0].Summary != "[redacted]" {
		t.Errorf("%+v", d)
	}
}

// A password that is a word of every report is not removed. The redactor has these words in
// a list of its own.
func TestRedactorKnowsTheWords(t *testing.T) {
	words := []string{
		IDReference, IDPod, IDQueue, IDDisk, IDClock, IDPull, IDControl,
		IDCredentials, IDCredentialsNode, IDCredentialsAccount, IDCredentialProviders,
		IDRuntime, IDRuntimeProcess, IDRuntimeConfig, IDRuntimeEnvironment, IDRuntimeCA, IDRuntimeProxy, IDRuntimeSandbox,
	}
	for _, id := range []func(string) string{RegistryID, TokenID, ManifestID, ImageID, BlobID} {
		family, _, _ := strings.Cut(id("r.example"), "/")
		words = append(words, family)
	}
	for _, c := range Catalogue() {
		words = append(words, string(c.Cause))
	}
	for _, word := range words {
		if got := redact.New(word).Text(word, 0); got != word {
			t.Errorf("%q became %q", word, got)
		}
	}
}
