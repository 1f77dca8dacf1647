package nodefacts_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

var at = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

// facts returns the facts of a node that reaches hosts, and does not reach others.
func facts(reachable, failing int) Facts {
	f := Facts{
		Version: Version, At: StampOf(at), Control: report.Pass,
		Node: Traits{Resolvers: []string{"10.0.0.2", "10.0.0.3"}, Proxy: report.None, CA: report.Digest("pool")},
	}
	zero := 0
	for i := range reachable + failing {
		h := Host{
			Name: fmt.Sprintf("registry-%03d.example", i), State: report.Reachable, Since: StampOf(at.Add(-time.Hour)), Checked: StampOf(at),
			Addresses: []string{"192.0.2.7", "2001:db8::7"}, Used: "192.0.2.7", Certificate: report.Digest("leaf"), Issuer: report.Digest("issuer"), Clock: &zero,
		}
		if i < failing {
			h.State, h.Cause = report.Unreachable, report.ConnectionTimeout
		}
		f.Hosts = append(f.Hosts, h)
	}
	return f
}

func TestRoundTrip(t *testing.T) {
	for _, f := range []Facts{facts(0, 0), facts(3, 0), facts(2, 2)} {
		text, err := f.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(f, got); d != "" {
			t.Error(d)
		}
	}
}

// A healthy node with a dozen registries needs no more than 2 KiB, and keeps every host.
func TestHealthyIsSmall(t *testing.T) {
	f := facts(12, 0)
	text, err := f.Encode()
	if err != nil || len(text) > MaxHealthy {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if got, err := Decode(text); err != nil || len(got.Hosts) != 12 {
		t.Errorf("%d hosts, %v", len(got.Hosts), err)
	}
}

// Facts stay within their limit, say what is left out, and keep what fails longest.
func TestEncodeDropsTheLeastImportantFirst(t *testing.T) {
	for _, tt := range []struct {
		reachable, failing int
		limit              int
	}{{100, 0, MaxHealthy}, {300, 0, MaxHealthy}, {100, 5, MaxSize}, {0, 200, MaxSize}} {
		f := facts(tt.reachable, tt.failing)
		for i := range 10 {
			f.Images = append(f.Images, Image{Name: fmt.Sprint("image", i), Cause: report.Healthy, Checked: StampOf(at)})
		}
		before := f.Hosts[0]
		text, err := f.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > tt.limit {
			t.Errorf("%d bytes, %d are allowed", len(text), tt.limit)
		}
		if len(text) < tt.limit*3/4 {
			t.Errorf("only %d of %d bytes are used: %v", len(text), tt.limit, f.Dropped)
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Dropped) == 0 {
			t.Error("nothing says that something was left out")
		}
		bad := 0
		for _, h := range got.Hosts {
			if h.State.Bad() {
				bad++
			}
		}
		if bad < min(tt.failing, 20) {
			t.Errorf("%d of %d failing hosts are left", bad, tt.failing)
		}
		if bad < tt.failing && len(got.Hosts) > bad {
			t.Error("a failing host was dropped before a reachable one")
		}
		if !reflect.DeepEqual(before, f.Hosts[0]) || len(f.Hosts) != tt.reachable+tt.failing || f.Dropped != nil {
			t.Error("encoding changed the facts")
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	good, err := facts(2, 1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "facts are empty"},
		{"blank", " \n", "facts are empty"},
		{"cut short", good[:len(good)/2], "facts are cut short: their JSON does not end"},
		{"another version", strings.Replace(good, `"v":1`, `"v":2`, 1), "facts are of version 2, this program reads up to 1: update it"},
		{"another version with other types", `{"v":7,"at":"noon","hosts":{}}`, "facts are of version 7, this program reads up to 1: update it"},
		{"no version", strings.Replace(good, `"v":1,`, ``, 1), `facts have no version ("v")`},
		{"negative version", `{"v":-1}`, `facts have no version ("v")`},
		{"no time", `{"v":1,"control":"pass"}`, `facts have no time ("at")`},
		{"too large", good + strings.Repeat(" ", 8<<10), "facts are 8707 bytes, more than the 8192 that are read"},
		{"text", "hello", "facts are not JSON: error at byte 1"},
		{"something after the end", good + "{}", "facts are not JSON: error at byte 516"},
		{"wrong type", `{"v":1,"at":"x"}`, "facts have a value of the wrong type at byte 15"},
		{"an outcome that does not exist", `{"v":1,"at":5,"control":"splendid"}`, "facts have a value that is not allowed"},
	} {
		_, err := Decode(tt.in)
		got := fmt.Sprint(err)
		if digits(got) != digits(tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// digits replaces sizes, which change with the test's facts.
func digits(s string) string {
	for _, word := range []string{" bytes,", "at byte "} {
		if !strings.Contains(s, word) {
			continue
		}
		s = strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, s)
	}
	return s
}

// Values that make no sense become unknown, and the rest is kept.
func TestDecodeSanitizes(t *testing.T) {
	in := `{"v":1,"at":1795233600,"control":"pass","unheard":{"of":1},
		"node":{"dns":["10.0.0.2","\u001b[2J; rm -rf /"],"proxy":"http://p:3128\u202e","ca":"not hex","from":"nowhere"},
		"hosts":[
			{"h":"Good.Example","s":"reachable","cause":"DiskFull","at":1795233590,"since":1795233599,"http":99999,
				"ip":["192.0.2.7","192.0.2.7"],"used":"192.0.2.8","cert":"c0ffee","clock":99999999999},
			{"h":"good.example","s":"unreachable","at":1795233590},
			{"h":"bad.example/x y","s":"reachable","at":1795233590},
			{"h":"when.example","s":"reachable"},
			{"h":"state.example","s":"wonderful","cause":"DiskFull","at":1795233590},
			{"h":"cause.example","s":"unreachable","cause":"GremlinsEverywhere","at":1795233590,"ip":["192.0.2.7","nonsense"]},
			{"h":"healthy.example","s":"unreachable","cause":"Healthy","at":1795233590},
			{"h":"future.example","s":"reachable","at":99999999999}
		],
		"images":[
			{"i":"good.example/a:1","cause":"TagNotFound","fault":"nobody","sure":"absolutely","at":1795233590,
				"h":"x y","found":["a b","good.example"]},
			{"i":"","cause":"TagNotFound","at":1795233590},
			{"i":"x","cause":"NotAPullProblem","at":1795233590}
		],
		"asks":["good.example","; drop"],"dropped":["3 <b>hosts</b>"]}`
	got, err := Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	want := Facts{
		Version: 1, At: 1795233600, Control: report.Pass,
		Node: Traits{Resolvers: []string{"10.0.0.2", "[2J? rm -rf /"}, Proxy: "http://p:3128"},
		Hosts: []Host{
			{Name: "cause.example", State: report.Unreachable, Cause: report.Undetermined, Checked: 1795233590},
			{Name: "healthy.example", State: report.Unreachable, Cause: report.Undetermined, Checked: 1795233590},
			{Name: "state.example", State: report.ReachUnknown, Checked: 1795233590},
			{Name: "good.example", State: report.Reachable, Checked: 1795233590, Addresses: []string{"192.0.2.7"}, Certificate: "c0ffee"},
		},
		Images: []Image{{
			Name: "good.example/a:1", Cause: report.TagNotFound, Fault: report.FaultConfig, Confidence: report.ConfidenceUndetermined,
			Checked: 1795233590, Found: []string{"good.example"},
		}},
		Asks: []string{"good.example"}, Dropped: []string{"3 ?b?hosts?/b?"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The facts in a report, as an agent writes it today.
func TestOf(t *testing.T) {
	ahead := int64(-1000)
	r := report.NodeReport{
		Node: "node-a", Time: at,
		Sweep: &report.Sweep{
			Time: at, Control: report.Check{ID: report.IDControl, Outcome: report.Pass},
			Traits:    report.NodeTraits{Proxy: "http://p:3128", CA: "abcdef"},
			Resolvers: []report.Resolver{{Address: "10.0.0.2:53"}, {Address: "10.0.0.3:5353"}},
			Registries: []report.Registry{
				{
					Host: "down.example", State: report.Unreachable, Cause: report.ConnectionTimeout, Fault: report.FaultUndetermined,
					Since: at.Add(-time.Minute), Checked: at, Addresses: []string{"192.0.2.9"},
				},
				{
					Host: "up.example", State: report.Reachable, Since: at.Add(-time.Hour), Checked: at, Status: 401, ClockMs: &ahead,
					Addresses: []string{"192.0.2.7"}, Certificate: &report.Certificate{Issuer: "Example CA", Fingerprint: "c0ffee"},
					Used: "192.0.2.7", Mirrors: []string{"mirror.example", "up.example"}, HostsFile: report.None,
				},
				{Host: "shy.example", State: report.Reachable, Checked: at, Status: 403},
			},
		},
		Diagnoses: []report.Diagnosis{
			{
				Image: "up.example/app:2", Time: at,
				Verdict: report.Verdict{
					Fault: report.FaultConfig, Cause: report.TagNotFound, Confidence: report.Likely, Because: []string{"pull", "manifest/mirror.example"},
				},
				Checks: []report.Check{
					{ID: "manifest/mirror.example", Kind: report.KindManifest, Host: "mirror.example", Outcome: report.Fail, Cause: report.TagNotFound},
					{ID: "manifest/up.example", Kind: report.KindManifest, Host: "up.example", Outcome: report.Pass},
					{ID: "pull", Kind: report.KindPull, Outcome: report.Fail},
				},
			},
			{Image: "down.example/app:1", Time: at, Verdict: report.Verdict{Fault: report.FaultNone, Cause: report.NotAPullProblem}},
		},
	}
	clock := -1
	want := Facts{
		Version: Version, At: StampOf(at), Control: report.Pass,
		Node: Traits{Resolvers: []string{"10.0.0.2", "10.0.0.3:5353"}, Proxy: "http://p:3128", CA: "abcdef"},
		Hosts: []Host{
			{
				Name: "down.example", State: report.Unreachable, Cause: report.ConnectionTimeout, Since: StampOf(at) - 60, Checked: StampOf(at),
				Addresses: []string{"192.0.2.9"},
			},
			{
				Name: "up.example", State: report.Reachable, Since: StampOf(at) - 3600, Checked: StampOf(at), Addresses: []string{"192.0.2.7"},
				Used: "192.0.2.7", Certificate: "c0ffee", HostsTOML: report.None,
				Issuer: report.Digest("Example CA"), Clock: &clock, Mirrors: []string{"mirror.example", "up.example"},
			},
			{Name: "shy.example", State: report.Reachable, Checked: StampOf(at), Status: 403},
		},
		Images: []Image{{
			Name: "up.example/app:2", Cause: report.TagNotFound, Fault: report.FaultConfig, Confidence: report.Likely, Checked: StampOf(at),
			Host: "mirror.example", Found: []string{"up.example"}, Missing: []string{"mirror.example"},
		}},
		Asks: []string{"down.example"},
	}
	if d := cmp.Diff(want, Of(r)); d != "" {
		t.Error(d)
	}
	// What the node does not know is left out; what it knows is its claim.
	r.Sweep.Registries[0].Fault = report.FaultRegistry
	if h := Of(r).Hosts[0]; h.Fault != report.FaultRegistry {
		t.Errorf("the claim of %s is %q", h.Name, h.Fault)
	}
	// A node that is cut off needs no other opinion.
	r.Sweep.Control.Outcome = report.Fail
	if f := Of(r); len(f.Asks) > 0 || !f.CutOff() {
		t.Errorf("a node that is cut off asks about %q", f.Asks)
	}
	if _, err := Of(report.NodeReport{}).Encode(); err != nil {
		t.Errorf("an empty report: %v", err)
	}
}

// Whatever another node writes is bounded, printable, and reads the same again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []Facts{facts(0, 0), facts(3, 2), facts(60, 10)} {
		text, err := seed.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)/3])
	}
	f.Add(`{"v":2,"at":1}`)
	f.Add(`{"v":1,"at":1795233600,"hosts":[{"h":"a","s":"unreachable","at":1,"ip":["::ffff:1.2.3.4","fe80::1%eth0"]}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Decode(s)
		if err != nil {
			if len(err.Error()) > 200 || !strings.HasPrefix(err.Error(), "facts ") {
				t.Errorf("error %q", err)
			}
			return
		}
		body, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(body) {
			if unicode.IsControl(r) || r == utf8.RuneError {
				t.Errorf("not printable: %q", body)
			}
		}
		text, err := got.Encode()
		if err != nil || len(text) > MaxSize {
			t.Fatalf("encoded again: %d bytes, %v", len(text), err)
		}
		again, err := Decode(text)
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		if len(again.Dropped) == len(got.Dropped) {
			if d := cmp.Diff(got, again); d != "" {
				t.Errorf("reads differently: %s", d)
			}
		}
	})
}
