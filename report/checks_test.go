package report_test

import (
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

func TestIDs(t *testing.T) {
	for got, want := range map[string]string{
		LocalID("r.example"):                      "local/r.example",
		HostsID("r.example:5000"):                 "hosts/r.example:5000",
		DNSID("r.example"):                        "dns/r.example",
		DNSID("r.example", "192.0.2.53:53"):       "dns/r.example/192.0.2.53:53",
		DialID("r.example", "[2001:db8::1]:443"):  "dial/r.example/[2001:db8::1]:443",
		TLSID("r.example", "192.0.2.1:443"):       "tls/r.example/192.0.2.1:443",
		ElsewhereID("r.example", "192.0.2.9:443"): "elsewhere/r.example/192.0.2.9:443",
		ClockID("r.example"):                      "clock/r.example",
		RegistryID("r.example"):                   "registry/r.example",
		TokenID("auth.example"):                   "token/auth.example",
		ManifestID("r.example"):                   "manifest/r.example",
		ImageID("r.example"):                      "image/r.example",
		BlobID("r.example"):                       "blob/r.example",
		CredentialID(2):                           "credentials/2",
		ProviderID("ecr-credential-provider"):     "credentials/provider/ecr-credential-provider",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFindAndBelow(t *testing.T) {
	checks := []Check{
		{ID: DNSID("a"), Outcome: Pass},
		{ID: DNSID("a", "1"), Outcome: Fail, Evidence: map[string]string{KeyDeadline: True, KeyTaken: "false"}},
		{ID: DNSID("ab", "2")},
		{ID: ElsewhereID("a", "3")},
	}
	if c := Find(checks, "dns/a/1"); c.Outcome != Fail || !c.Is(KeyDeadline) || c.Is(KeyTaken) || c.Is(KeyError) {
		t.Errorf("%+v", c)
	}
	if c := Find(checks, "pull"); c.ID != "pull" || c.Outcome != Unknown {
		t.Errorf("a check that is missing: %+v", c)
	}
	if list := Below(checks, DNSID("a")); len(list) != 1 || list[0].ID != "dns/a/1" {
		t.Errorf("%+v", list)
	}
	if checks[0].Elsewhere() || !checks[3].Elsewhere() {
		t.Error("elsewhere")
	}
}

func TestVerdictSame(t *testing.T) {
	v := Verdict{Fault: FaultNode, Cause: DiskFull, Confidence: Likely, Summary: "full"}
	w := v
	w.Summary, w.Because = "still full", []string{IDDisk}
	if !v.Same(w) {
		t.Error("other text is no other verdict")
	}
	w.Confidence = Confirmed
	if v.Same(w) {
		t.Error("another confidence is another verdict")
	}
}
