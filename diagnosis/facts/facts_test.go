package facts_test

import (
	"slices"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis/facts"
	. "github.com/pullprobe/pullprobe/report"
)

const host, mirror = "registry.example", "mirror.example"

// The test pull's message counts, being newer, unless it is an anonymous one that
// cannot speak for a kubelet with logins that are not known.
func TestMessageThatCounts(t *testing.T) {
	kubelet := Check{ID: IDPod, Kind: KindPod, Outcome: Fail, Cause: TagNotFound}
	pull := Check{ID: IDPull, Kind: KindPull, Outcome: Fail, Cause: CredentialsMissing}
	anonymous := pull
	anonymous.Evidence = map[string]string{KeyAuth: "anonymous"}
	read := Check{ID: IDCredentials, Kind: KindCredentials, Outcome: Pass, Evidence: map[string]string{KeyNode: "read"}}
	for name, tt := range map[string]struct {
		checks []Check
		want   string
	}{
		"no message":                            {nil, ""},
		"the kubelet's only":                    {[]Check{kubelet}, IDPod},
		"both":                                  {[]Check{kubelet, pull}, IDPull},
		"anonymous, logins of the node unknown": {[]Check{kubelet, anonymous}, IDPod},
		"anonymous, every login known":          {[]Check{kubelet, anonymous, read}, IDPull},
	} {
		if got := Of(tt.checks).MessageID(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Origin ends at the check that failed, and does not follow a circle.
func TestOrigin(t *testing.T) {
	e := Of([]Check{
		{ID: "dial", Outcome: Fail},
		{ID: "tls", Outcome: Skipped, BlockedBy: "dial"},
		{ID: "manifest", Outcome: Skipped, BlockedBy: "tls"},
		{ID: "a", Outcome: Skipped, BlockedBy: "b"},
		{ID: "b", Outcome: Skipped, BlockedBy: "a"},
	})
	if got := e.Origin("manifest").ID; got != "dial" {
		t.Errorf("origin %q", got)
	}
	if got := e.Origin("a"); got.ID != "" {
		t.Errorf("origin of a circle: %q", got.ID)
	}
}

// Of several hosts that fail the last one, the upstream, is the obstacle. A host
// that has the image clears the path.
func TestObstacleOf(t *testing.T) {
	manifest := func(host string, outcome Outcome, cause Cause) Check {
		return Check{ID: ManifestID(host), Kind: KindManifest, Host: host, Outcome: outcome, Cause: cause}
	}
	both := ObstacleOf(Of([]Check{manifest(mirror, Fail, TagNotFound), manifest(host, Fail, RateLimited)}))
	if both.RootCause() != RateLimited || !both.RuleChosen || len(both.Others) != 1 || both.Others[0].Host != mirror {
		t.Errorf("both fail: %+v", both)
	}
	clear := ObstacleOf(Of([]Check{manifest(mirror, Fail, TagNotFound), manifest(host, Pass, "")}))
	if !clear.Clear || clear.Found() || !slices.Equal(clear.Goals, []string{ManifestID(host)}) {
		t.Errorf("the upstream has it: %+v", clear)
	}
}

// A finding is about the host of the first check that failed, not of a message or
// of the pod's secrets; else about the upstream.
func TestFindingIsAboutAHost(t *testing.T) {
	e := Of([]Check{
		{ID: IDReference, Kind: KindReference, Outcome: Pass, Evidence: map[string]string{KeyDomain: "docker.io"}},
		{ID: IDCredentials, Kind: KindCredentials, Host: "docker.io", Outcome: Fail},
		{ID: ManifestID(mirror), Kind: KindManifest, Host: mirror, Outcome: Fail},
		{ID: ManifestID(host), Kind: KindManifest, Host: host, Outcome: Unknown},
	})
	for want, because := range map[string][]string{
		mirror: {IDCredentials, ManifestID(mirror)},
		host:   {IDCredentials},
	} {
		if got := FindingOf(e, Verdict{Because: because}).Host; got != want {
			t.Errorf("because %v: %q, want %q", because, got, want)
		}
	}
	if got := FindingOf(Of([]Check{e.Get(IDReference)}), Verdict{}).Host; got != "docker.io" {
		t.Errorf("without hosts: %q", got)
	}
}
