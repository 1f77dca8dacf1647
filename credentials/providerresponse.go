package credentials

import (
	"encoding/json"
	"maps"
	"slices"

	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	kjson "sigs.k8s.io/json"
)

// response is what a provider writes to its standard output.
type response = credentialproviderv1.CredentialProviderResponse

// decodeResponse decodes the output of a provider as the kubelet does (plugin.go,
// ExecPlugin and provide), strictly or as those before [strictSince] did. Its errors quote
// nothing of it.
func decodeResponse(data []byte, apiVersion string, strictly bool) (response, *ProviderError) {
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return response{}, &ProviderError{Kind: "garbage", Reason: "its output is not JSON"}
	}
	if head.APIVersion != apiVersion {
		got := "no apiVersion"
		if slices.Contains(providerVersions, head.APIVersion) {
			got = head.APIVersion
		} else if head.APIVersion != "" {
			got = "an unknown apiVersion"
		}
		return response{}, &ProviderError{
			Kind:   "version",
			Reason: "it is configured for apiVersion " + apiVersion + ", but its response has " + got,
		}
	}
	var r response
	strict, err := kjson.UnmarshalStrict(data, &r)
	switch {
	case err != nil, len(strict) > 0 && strictly, r.Kind != "CredentialProviderResponse",
		r.CacheDuration != nil && r.CacheDuration.Duration < 0:
		return response{}, &ProviderError{Kind: "garbage", Reason: "its output is not a valid CredentialProviderResponse"}
	case !slices.Contains(cacheKeyTypes, r.CacheKeyType):
		return response{}, &ProviderError{Kind: "cacheKeyType", Reason: "its cacheKeyType is not Image, Registry or Global"}
	}
	return r, nil
}

var cacheKeyTypes = []credentialproviderv1.PluginCacheKeyType{
	credentialproviderv1.ImagePluginCacheKeyType,
	credentialproviderv1.RegistryPluginCacheKeyType,
	credentialproviderv1.GlobalPluginCacheKeyType,
}

// responseCredentials returns the credentials of a response, sorted by server.
func responseCredentials(r response, source string) []Credential {
	var out []Credential
	for _, server := range slices.Sorted(maps.Keys(r.Auth)) {
		a := r.Auth[server]
		out = append(out, Credential{Server: server, Username: a.Username, Password: a.Password, Source: source})
	}
	return out
}
