package credentials

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	kjson "sigs.k8s.io/json"
)

// response is what a provider says to the kubelet (k8s.io/kubelet
// pkg/apis/credentialprovider/v1, CredentialProviderResponse).
type response struct {
	Kind          string                  `json:"kind"`
	APIVersion    string                  `json:"apiVersion"`
	CacheKeyType  string                  `json:"cacheKeyType"` // Image, Registry or Global
	CacheDuration *string                 `json:"cacheDuration"`
	Auth          map[string]providerAuth `json:"auth"`

	lifetime time.Duration // CacheDuration, if it is given
}

type providerAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// decodeResponse reads what a provider wrote, as strictly as the kubelet does
// (plugin.go, ExecPlugin and provide). It quotes nothing of it.
func decodeResponse(data []byte, apiVersion string) (response, *ProviderError) {
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return response{}, &ProviderError{Kind: "garbage", Reason: "its output is not JSON"}
	}
	if head.APIVersion != apiVersion {
		said := "none"
		if slices.Contains(providerVersions, head.APIVersion) {
			said = head.APIVersion
		} else if head.APIVersion != "" {
			said = "another"
		}
		return response{}, &ProviderError{Kind: "version", Reason: "it is configured for apiVersion " + apiVersion + " and answers in " + said}
	}
	var r response
	strict, err := kjson.UnmarshalStrict(data, &r)
	if err == nil {
		r.lifetime, err = duration(r.CacheDuration)
	}
	switch {
	case err != nil, len(strict) > 0, r.Kind != "CredentialProviderResponse":
		return response{}, &ProviderError{Kind: "garbage", Reason: "its output is no valid CredentialProviderResponse"}
	case r.CacheKeyType != "Image" && r.CacheKeyType != "Registry" && r.CacheKeyType != "Global":
		return response{}, &ProviderError{Kind: "cacheKeyType", Reason: "its cacheKeyType is neither Image, Registry nor Global"}
	}
	return r, nil
}

// credentials are those of the answer, sorted by what they are for.
func (r response) credentials(source string) []Credential {
	var out []Credential
	for _, server := range slices.Sorted(maps.Keys(r.Auth)) {
		a := r.Auth[server]
		out = append(out, Credential{Server: server, Username: a.Username, Password: a.Password, Source: source})
	}
	return out
}
