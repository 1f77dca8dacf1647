package credentials

import (
	"fmt"
	"net/url"
	"strings"
)

// mismatch explains why the credentials of a server do not apply to a
// repository.
func mismatch(server, repository string) string {
	const (
		invalidURL    = "its server is not a valid URL, so the kubelet ignores it"
		otherRegistry = "it is for another registry"
	)
	key, ok := keyOf(server)
	if !ok {
		return invalidURL
	}
	k, err := url.Parse("https://" + key)
	if err != nil {
		return invalidURL
	}
	r, err := url.Parse("https://" + repository)
	if err != nil {
		return otherRegistry
	}
	keyParts, keyPort := splitHost(k.Host)
	parts, port := splitHost(r.Host)
	host, keyHost := strings.Join(parts, "."), strings.Join(keyParts, ".")
	switch {
	case host == "docker.io" && keyHost == dockerHubKey && k.Path == "":
		return "the kubelet uses Docker Hub's old name only if no other entry matches"
	case host == "docker.io" && strings.HasSuffix(keyHost, ".docker.io"):
		return "for Docker Hub the kubelet accepts only docker.io and https://index.docker.io/v1/"
	case host == keyHost && port != keyPort:
		return "it is for " + describePort(keyPort) + ", but the image has " + describePort(port)
	case host == keyHost && (k.Path == "/v1" || k.Path == "/v2"):
		return fmt.Sprintf("it is for the path %q; for the whole host it needs a slash at the end (%q)", k.Path, k.Path+"/")
	case host == keyHost:
		return fmt.Sprintf("it is for the path %q", clean(k.Path))
	case strings.Contains(keyHost, "*") && len(keyParts) != len(parts):
		return `"*" matches exactly one part of a host name, and the names differ in their number of parts`
	}
	return otherRegistry
}

func describePort(port string) string {
	if port == "" {
		return "no port"
	}
	return "port " + clean(port)
}

// expectedProvider returns the name of the credential provider that a cloud
// offers for its registry, or an empty string. Pods that use such a registry
// rarely have pull secrets.
func expectedProvider(repository string) string {
	for _, cloud := range []struct{ provider, globs string }{
		// The names that the ECR provider itself accepts (kubernetes/cloud-provider-aws,
		// cmd/ecr-credential-provider).
		{"ecr-credential-provider", "*.dkr.ecr.*.amazonaws.com *.dkr.ecr-fips.*.amazonaws.com *.dkr.ecr.*.amazonaws.com.cn " +
			"*.dkr-ecr.*.on.aws *.dkr-ecr-fips.*.on.aws *.dkr-ecr.*.on.amazonwebservices.com.cn " +
			"*.dkr.ecr.*.c2s.ic.gov *.dkr.ecr.*.sc2s.sgov.gov *.dkr.ecr.*.cloud.adc-e.uk *.dkr.ecr.*.csp.hci.ic.gov"},
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
