package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/report"
)

// anExamination returns checks that show a quota and a credential that expires.
func anExamination() []report.Check {
	return []report.Check{
		{ID: report.IDReference, Kind: report.KindReference, Evidence: map[string]string{"domain": "docker.io"}},
		credential("secret shop/hub", began.Add(2*time.Hour)),
		manifest("secret shop/hub", "200;w=21600", "20;w=21600"),
	}
}

func credential(source string, expires time.Time) report.Check {
	return report.Check{ID: "credentials/1", Kind: report.KindCredentials, Evidence: map[string]string{
		"applies": "true", "source": source, "expires": expires.Format(time.RFC3339),
	}}
}

func manifest(usedCredential, limit, remaining string) report.Check {
	return report.Check{ID: "manifest/registry-1.docker.io", Kind: report.KindManifest, Host: "registry-1.docker.io", Evidence: map[string]string{
		"usedCredential": usedCredential, "limit": limit, "remaining": remaining,
	}}
}

// shown returns what is known at a time, one fact a line.
func shown(x *examined, at time.Time) map[string]float64 {
	out := map[string]float64{}
	for k, f := range x.current(at) {
		for name, value := range f.gauges {
			out[strings.TrimPrefix(name, "pullprobe_")+" "+k.registry] = value
		}
	}
	return out
}

// TestExamined checks what examinations show of quotas and credentials, for how long, and
// which of several credentials counts.
func TestExamined(t *testing.T) {
	x := newExamined()
	x.observe(anExamination(), began)
	want := map[string]float64{
		"registry_quota_remaining registry-1.docker.io": 20,
		"registry_quota_limit registry-1.docker.io":     200,
		"credential_expiry_timestamp_seconds docker.io": epoch(began.Add(2 * time.Hour)),
	}
	if diff := cmp.Diff(want, shown(x, began)); diff != "" {
		t.Error(diff)
	}

	// Another credential with more left in number, but less of its limit, and one that
	// expires later.
	checks := anExamination()
	checks[1], checks[2] = credential("secret shop/other", began.Add(9*time.Hour)), manifest("", "1000", "30, 30;w=60")
	x.observe(checks, began.Add(time.Minute))
	want["registry_quota_remaining registry-1.docker.io"], want["registry_quota_limit registry-1.docker.io"] = 30, 1000
	if diff := cmp.Diff(want, shown(x, began.Add(time.Minute))); diff != "" {
		t.Error(diff)
	}

	// A renewed secret replaces what it was before; what was shown first is forgotten first.
	checks[1] = credential("secret shop/hub", began.Add(99*time.Hour))
	x.observe(checks[:2], began.Add(2*time.Minute))
	want = map[string]float64{
		"registry_quota_remaining registry-1.docker.io": 30,
		"registry_quota_limit registry-1.docker.io":     1000,
		"credential_expiry_timestamp_seconds docker.io": epoch(began.Add(9 * time.Hour)),
	}
	if diff := cmp.Diff(want, shown(x, began.Add(time.Hour+30*time.Second))); diff != "" {
		t.Error(diff)
	}
	if got := shown(x, began.Add(3*time.Hour)); len(got) != 0 {
		t.Errorf("after 3 h: %v", got)
	}
}

// TestExaminedUnknown checks that nothing is shown of what is not known, or does not count.
func TestExaminedUnknown(t *testing.T) {
	foreign := credential("secret shop/hub", began)
	foreign.Evidence["applies"] = "false"
	for name, checks := range map[string][]report.Check{
		"no header":            {manifest("", "", "")},
		"no number":            {manifest("", "100", "many")},
		"negative":             {manifest("", "100", "-1")},
		"does not apply":       {anExamination()[0], foreign},
		"of a provider":        {anExamination()[0], credential("provider ecr", began)},
		"unreadable reference": {credential("secret shop/hub", began)},
	} {
		x := newExamined()
		x.observe(checks, began)
		if got := shown(x, began); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	x := newExamined()
	x.observe([]report.Check{manifest("", "0", "5")}, began)
	if got := shown(x, began); len(got) != 1 {
		t.Errorf("a limit of 0: %v", got)
	}
}

// TestExaminedIsBounded checks that no number of registries fills the memory, and that the
// newest are kept.
func TestExaminedIsBounded(t *testing.T) {
	x := newExamined()
	for n := range 2 * maxExamined {
		x.addRate(fmt.Sprintf("r%d.example\xff", n), 1, began.Add(time.Duration(n)*time.Second))
	}
	got := shown(x, began.Add(2*maxExamined*time.Second))
	for n := range maxExamined {
		if name := fmt.Sprintf("test_pull_bytes_per_second r%d.example", maxExamined+n); got[name] != 1 || len(got) != maxExamined {
			t.Fatalf("%d facts, %s: %v", len(got), name, got[name])
		}
	}
}
