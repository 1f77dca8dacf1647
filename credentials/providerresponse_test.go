package credentials

import (
	"testing"
)

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",
		"cacheKeyType":"Image","cacheDuration":"1m","auth":{"r.example":{"username":"u","password":"hunter2"}}}`))
	f.Add([]byte(`{"apiVersion":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeResponse(data, providerVersions[0])
		if err == nil && r.APIVersion != providerVersions[0] {
			t.Errorf("accepts version %q", r.APIVersion)
		}
		responseCredentials(r, "provider x")
	})
}
