package requests

import (
	"strings"
	"testing"
)

// The table: what each version of containerd repeats.
func TestRetriesAfter(t *testing.T) {
	for _, tt := range []struct {
		version  string
		lastHost bool
		answers  string
		want     bool
	}{
		{"", true, "200", false},
		{"", true, "404", false},
		{"", true, "408", true},
		{"1.6.20", false, "408", true},
		{"1.6.20", true, "408 408 408 408 408", true}, // up to six answers
		{"1.6.20", true, "408 408 408 408 408 408", false},
		{"2.3.2", true, "408 408 408 408 408", false}, // up to five
		{"", true, "429", false},                      // the runtime does, the probes never
		{"1.7.29", true, "503", false},
		{"2.0.7", true, "500", false},
		{"2.1.0", true, "500", true},
		{"v2.1.0-k3s1", true, "503", true},
		{"", true, "504", true},
		{"", true, "502", false},
		{"", false, "503", false},
		{"", true, "503 503", false},
		{"", true, "503 504", true},
		{"", true, "broken", true},
		{"", true, "broken broken broken broken", true},
		{"", true, "broken broken broken broken broken", false},
		{"", false, "broken", false},
		{"2.3.1", true, "broken", false},
		{"2.3.2", true, "broken", true},
		{"", true, "error", false},
	} {
		if got := RetriesAfter(tt.version, tt.lastHost, strings.Fields(tt.answers)); got != tt.want {
			t.Errorf("containerd %q, last host %v, after %s: %v, want %v", tt.version, tt.lastHost, tt.answers, got, tt.want)
		}
	}
	for status, want := range map[int][2]bool{400: {true, true}, 401: {true, true}, 404: {true, true}, 405: {true, false}, 403: {}, 429: {}, 500: {}, 502: {}} {
		if got := [2]bool{GetsTokenAfter(status, "joe"), GetsTokenAfter(status, "")}; got != want {
			t.Errorf("GET for a token after POST %d: %v, want %v", status, got, want)
		}
	}
}

// Every step begins with one request, every other one says what it follows, and each
// names its source. Nothing in it lists tags or requests /v2/.
func TestPlan(t *testing.T) {
	first := map[Step]int{}
	for _, p := range plan() {
		if p.after == "" {
			first[p.step]++
		}
		if p.source == "" || p.path != "" && !strings.HasPrefix(p.path, "manifests/") && !strings.HasPrefix(p.path, "blobs/") {
			t.Errorf("%+v", p)
		}
	}
	for _, st := range []Step{ResolveTag, ResolveDigest, FetchManifest, FetchBlob, tokenForLogin, tokenAnonymously} {
		if first[st] != 1 {
			t.Errorf("step %d has %d first requests", st, first[st])
		}
	}
}
