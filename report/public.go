package report

import (
	"slices"
	"strings"
)

// publicRegistries exist, whatever a node's resolvers say.
var publicRegistries = []string{
	"docker.io", "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "k8s.gcr.io", "mcr.microsoft.com", "public.ecr.aws", "registry.gitlab.com",
	"nvcr.io", "registry.access.redhat.com", "registry.redhat.io", "icr.io", "cgr.dev", "docker.elastic.co", "registry.suse.com", "xpkg.upbound.io",
}

// isPublic reports whether domain, as image names have it, is a public
// registry.
func isPublic(domain string) bool {
	return slices.Contains(publicRegistries, domain) || strings.HasSuffix(domain, ".gcr.io") || strings.HasSuffix(domain, "-docker.pkg.dev")
}
