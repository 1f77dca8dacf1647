package diagnosis_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

func TestDiagnose(t *testing.T) {
	for _, tt := range situations() {
		t.Run(tt.name, func(t *testing.T) {
			v := Diagnose(tt.checks)
			if v.Fault != tt.fault || v.Cause != tt.cause || v.Confidence != tt.confidence {
				t.Errorf("got %s %s %s, want %s %s %s", v.Fault, v.Cause, v.Confidence, tt.fault, tt.cause, tt.confidence)
			}
			first := ""
			if len(v.Because) > 0 {
				first = v.Because[0]
			}
			if first != tt.because {
				t.Errorf("because %q, want %q first", v.Because, tt.because)
			}
			if v.Confidence == ConfidenceUndetermined && len(tt.checks) > 0 && len(v.WouldDecide) == 0 && v.Summary == "" {
				t.Error("an open verdict must say what would decide it")
			}
			if v.Summary == "" {
				t.Error("no summary")
			}
		})
	}
}

// Of several hosts the upstream decides, because a mirror may lack an image.
func TestDiagnoseMirrors(t *testing.T) {
	order := check("hosts/"+host, KindRuntime, Pass, "", ev("order", "mirror.example,"+host))
	mirror404 := onHost("mirror.example", ladder(KindManifest, TagNotFound))

	timedOut := onHost(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true")))
	v := Diagnose(all(reported(TagNotFound, RepositoryNotFound), order, mirror404, timedOut))
	if v.Cause != ConnectionTimeout || v.Confidence == Confirmed {
		t.Errorf("mirror's 404 before an unreachable upstream: got %s %s", v.Cause, v.Confidence)
	}
	if !slices.Contains(v.Also, TagNotFound) {
		t.Errorf("also = %v, want the mirror's answer in it", v.Also)
	}
	v = Diagnose(all(order, mirror404, onHost(host, ladder("", "")), check("pull", KindPull, Pass, "")))
	if v.Cause != Healthy {
		t.Errorf("upstream has what the mirror lacks: got %s", v.Cause)
	}
}

// Saved evidence replays to the same verdict.
func TestDiagnoseReplay(t *testing.T) {
	checks := all(
		reported(CredentialsMissing),
		check("credentials", KindCredentials, Fail, PullSecretMissing, ev("secret", "regcred")),
		ladder(KindManifest, CredentialsMissing),
	)
	saved, err := json.Marshal(checks)
	if err != nil {
		t.Fatal(err)
	}
	var replayed []Check
	if err := json.Unmarshal(saved, &replayed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Diagnose(checks), Diagnose(replayed)); diff != "" {
		t.Error(diff)
	}
}

// Evidence whose BlockedBy goes in a circle must not hang or mislead.
func TestDiagnoseCircle(t *testing.T) {
	a, b := blocked("manifest/"+host, KindManifest, "registry/"+host), blocked("registry/"+host, KindRegistry, "manifest/"+host)
	if v := Diagnose(all(a, b)); v.Cause != Undetermined {
		t.Errorf("got %s, want Undetermined", v.Cause)
	}
}

// Every cause has a description, and a fix unless nothing is wrong.
func TestCatalogueIsComplete(t *testing.T) {
	for _, info := range Catalogue() {
		v := Diagnose(all(check("pod", KindPod, Fail, info.Cause, ev("proven", "true"))))
		if v.Cause != info.Cause {
			t.Errorf("%s does not come through: %s", info.Cause, v.Cause)
		}
		if v.Summary == "" {
			t.Errorf("%s has no description", info.Cause)
		}
		if v.Fix == "" && info.Fault != FaultNone && info.Cause != Undetermined {
			t.Errorf("%s has no fix", info.Cause)
		}
	}
}
