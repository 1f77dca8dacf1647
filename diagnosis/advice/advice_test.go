package advice_test

import (
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis/advice"
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	. "github.com/pullprobe/pullprobe/report"
)

// A text has the names that the evidence shows, and stand-ins for the others. The
// fixes of whole diagnoses are tested in package diagnosis.
func TestFill(t *testing.T) {
	const template = "{image} on {host} ({hostport}), {node}: {source}"
	if got, want := Fill(facts.Of(nil), Verdict{}, template),
		"the image on the registry (the registry:443), this node: the pull credentials"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e := facts.Of([]Check{
		{ID: IDReference, Target: "registry.example/app:1", Evidence: map[string]string{KeyDomain: "registry.example"}},
		{ID: IDPod, Evidence: map[string]string{KeyNode: "node-a"}},
		{ID: "manifest/m", Host: "mirror.example:5000", Evidence: map[string]string{KeyUsedCredential: "secret shop/regcred"}},
	})
	if got, want := Fill(e, Verdict{Because: []string{"manifest/m"}}, template),
		"registry.example/app:1 on mirror.example:5000 (mirror.example:5000), node-a: secret shop/regcred"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The fix of a missing login names what keeps the kubelet from its credential provider.
func TestFixOfProvider(t *testing.T) {
	for want, evidence := range map[string]map[string]string{
		"let the nodes request tokens for the audience of credential provider p (verb request-serviceaccounts-token-audience, " +
			"the audience as the resource, for the group system:nodes), or give the pod a pull secret for registry.example": {KeyKubeletToo: True},
		"set the annotation lab/role of ServiceAccount web, which credential provider p requires, " +
			"or give the pod a pull secret for registry.example": {KeyNotForPod: "annotationMissing", KeyAnnotation: "lab/role"},
	} {
		e := facts.Of([]Check{
			{ID: IDReference, Target: "registry.example/app:1", Evidence: map[string]string{KeyDomain: "registry.example"}},
			{ID: IDPod, Evidence: map[string]string{KeyServiceAccount: "web"}},
			{ID: ProviderID("p"), Kind: KindCredentials, Target: "p", Evidence: evidence},
			{ID: RegistryID("registry.example"), Evidence: map[string]string{KeyIsRegistry: True}},
			{ID: "manifest/registry.example", Kind: KindManifest, Host: "registry.example", Outcome: Fail},
		})
		v := Verdict{Fault: FaultConfig, Cause: CredentialsMissing, Because: []string{"manifest/registry.example"}}
		if got := Fix(e, v, ""); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
		v.Cause = CredentialsRejected
		if got := Fix(e, v, ""); got == want {
			t.Errorf("the same fix for %s", v.Cause)
		}
	}
}

// A question that decides who must act is the fix, where the cause has none of its
// own for that.
func TestFixIsTheOpenQuestion(t *testing.T) {
	e := facts.Of([]Check{{ID: "manifest/registry.example", Kind: KindManifest, Host: "registry.example", Outcome: Fail}})
	for _, tt := range []struct {
		cause Cause
		want  string
	}{
		{RateLimited, "find out first who must act: ask"},
		{TokenServiceFailed, "check from another network whether the token service of registry.example answers: " +
			"if so, this node, its network or its proxy is at fault"},
	} {
		v := Verdict{Fault: FaultUndetermined, Cause: tt.cause, Because: []string{"manifest/registry.example"}}
		if got := Fix(e, v, "ask"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.cause, got, tt.want)
		}
	}
}
