package credentials

import (
	"net/url"
	"strings"
)

// mismatch says why a server's credentials do not apply to a repository.
func mismatch(server, repository string) string {
	key, ok := key(server)
	if !ok {
		return "its server is not a URL, so the kubelet leaves it out"
	}
	k, err := url.Parse("https://" + key)
	if err != nil {
		return "its server is not a URL, so the kubelet leaves it out"
	}
	r, err := url.Parse("https://" + repository)
	if err != nil {
		return "it is for another registry"
	}
	keyParts, keyPort := hostParts(k.Host)
	parts, port := hostParts(r.Host)
	host, keyHost := strings.Join(parts, "."), strings.Join(keyParts, ".")
	switch {
	case host == "docker.io" && keyHost == hubKey && k.Path == "":
		return "Docker Hub's old name counts only where nothing else matches"
	case host == "docker.io" && strings.HasSuffix(keyHost, ".docker.io"):
		return "Docker Hub is docker.io or https://index.docker.io/v1/ to the kubelet"
	case host == keyHost && port != keyPort:
		return "it is for " + portName(keyPort) + ", the image names " + portName(port)
	case host == keyHost && (k.Path == "/v1" || k.Path == "/v2"):
		return "it is for the path " + k.Path + "; to mean the host that needs a slash at its end"
	case host == keyHost:
		return "it is for the path " + clean(k.Path)
	case strings.Contains(keyHost, "*") && len(keyParts) != len(parts):
		return "a * stands for one part of a name, and the names differ in length"
	}
	return "it is for another registry"
}

func portName(port string) string {
	if port == "" {
		return "no port"
	}
	return "port " + clean(port)
}

// expectedProvider is the credential provider that a cloud has for its
// registry; empty if this is none of theirs. Pods there rarely bring secrets.
func expectedProvider(repository string) string {
	for _, cloud := range []struct{ provider, globs string }{
		{"ecr-credential-provider", "*.dkr.ecr.*.amazonaws.com *.dkr.ecr.*.amazonaws.com.cn *.dkr-ecr.*.on.aws"},
		{"acr-credential-provider", "*.azurecr.io *.azurecr.cn *.azurecr.us"},
		{"auth-provider-gcp", "gcr.io *.gcr.io *.pkg.dev"},
	} {
		for glob := range strings.FieldsSeq(cloud.globs) {
			if matches(glob, repository) {
				return cloud.provider
			}
		}
	}
	return ""
}
