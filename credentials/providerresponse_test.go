package credentials

import (
	"testing"
)

// A kubelet before 1.32 ignores fields that it does not know.
func TestUnknownFields(t *testing.T) {
	response := []byte(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image",
		"surprise":1,"auth":{"r.example":{"username":"u","password":"hunter2"}}}`)
	config := "kind: CredentialProviderConfig\napiVersion: kubelet.config.k8s.io/v1\nproviders:\n- name: p\n  surprise: 1\n" +
		"  tokenAttributes: {serviceAccountTokenAudience: a}\n"
	for minor, want := range map[int]bool{0: false, 31: true, 32: false, 36: false} {
		k := Kubelet{Minor: minor}
		r, failed := decodeResponse(response, providerVersions[0], k.strict())
		if (failed == nil) != want || want && r.Auth["r.example"].Username != "u" {
			t.Errorf("1.%d: response %v, %v", minor, r.Auth, failed)
		}
		list, err := decodeProviders([]byte(config), k.strict())
		if (err == nil) != want || want && (len(list) != 1 || list[0].Name != "p" || list[0].TokenAttributes != nil) {
			t.Errorf("1.%d: providers %v, %v", minor, list, err)
		}
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",
		"cacheKeyType":"Image","cacheDuration":"1m","auth":{"r.example":{"username":"u","password":"hunter2"}}}`))
	f.Add([]byte(`{"apiVersion":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeResponse(data, providerVersions[0], true)
		if err == nil && r.APIVersion != providerVersions[0] {
			t.Errorf("accepts version %q", r.APIVersion)
		}
		responseCredentials(r, "provider x")
	})
}
