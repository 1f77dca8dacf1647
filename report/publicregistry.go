package report

import "strings"

// IsPublicRegistry reports whether a host is a public registry or its token service:
// it has public addresses and a certificate of a public authority.
func IsPublicRegistry(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, public := range []string{
		"docker.io", "docker.com", "ghcr.io", "quay.io", "gcr.io", "pkg.dev", "registry.k8s.io", "k8s.gcr.io",
		"mcr.microsoft.com", "public.ecr.aws", "gitlab.com", "nvcr.io", "docker.elastic.co", "lscr.io",
		"registry.access.redhat.com", "registry.redhat.io", "registry.suse.com", "icr.io", "cgr.dev",
		"xpkg.upbound.io", "registry.developers.crunchydata.com", "container-registry.oracle.com",
	} {
		if name == public || strings.HasSuffix(name, "."+public) {
			return true
		}
	}
	return false
}
