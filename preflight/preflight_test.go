package preflight

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

func TestPlan(t *testing.T) {
	p := Plan{
		Kinds:    []Kind{{Arch: "amd64", Pool: "gpu", Zone: "z", Nodes: 3, Node: "a"}, {Nodes: 1}},
		Excluded: []Excluded{{Why: "cordoned", Nodes: 1}},
	}
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p.Version = Version
	if got, err := DecodePlan(text); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	for range 100 {
		p.Kinds = append(p.Kinds, Kind{Zone: strings.Repeat("z", 200), Nodes: 1})
	}
	if text, err = p.Encode(); err != nil || len(text) > MaxPlan || !strings.Contains(text, `"kindsOmitted":`) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestResult(t *testing.T) {
	r := Result{
		Image: "r.example/app:1", Places: []string{"app"}, Index: 1, Of: 2, Bytes: 5, Seconds: 1, Remarks: []string{"tag latest"},
		Verdict: report.Verdict{
			Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Confirmed, Summary: "no tag 1", Fix: "push it:\npush",
		},
	}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.Version = Version
	got, err := DecodeResult(text)
	if err != nil || !reflect.DeepEqual(got, r) || !got.Faulty() || got.Healthy() {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range 200 {
		r.Places = append(r.Places, fmt.Sprint("container-", i))
		r.Remarks = append(r.Remarks, strings.Repeat("x", 50))
	}
	r.Verdict.Fix, r.Verdict.Summary = strings.Repeat("f", 5000), strings.Repeat("s", 5000)
	text, err = r.Encode()
	if err != nil || len(text) > MaxResult {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if got, err := DecodeResult(text); err != nil || got.Verdict.Cause != report.TagNotFound || got.Image != r.Image || got.Verdict.Fix != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeResultRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "not JSON",
		`{"v":2,"image":"x","n":1,"of":1}`:   "version 2",
		`{"v":1,"n":1,"of":1}`:               "of which image",
		`{"v":1,"image":"x","n":3,"of":2}`:   "of how many",
		`{"v":1,"image":"x","n":1,"of":999}`: "of how many",
		strings.Repeat(" ", 2*MaxResult+1):   "more than",
	} {
		if _, err := DecodeResult(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	r, err := DecodeResult(`{"v":1,"image":"x\u001b[2J","n":1,"of":1,"verdict":{"fault":"none","cause":"Invented","confidence":"confirmed"}}`)
	if err != nil || r.Healthy() || r.Faulty() || strings.Contains(r.Image, "\x1b") {
		t.Errorf("what is not known counts: %+v, %v", r, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"v":1,"kinds":[{"arch":"amd64","nodes":1,"node":"a"}],"excluded":[{"why":"w","nodes":1}]}`)
	f.Add(`{"v":1,"image":"x","n":1,"of":1,"verdict":{"fault":"none","cause":"Healthy","confidence":"likely","summary":"s"}}`)
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := DecodePlan(s); err == nil && len(p.Kinds) > MaxKinds {
			t.Errorf("%d kinds", len(p.Kinds))
		}
		if r, err := DecodeResult(s); err == nil && strings.ContainsRune(r.Verdict.Summary+r.Image, '\x1b') {
			t.Errorf("%q", r.Verdict.Summary)
		}
	})
}
