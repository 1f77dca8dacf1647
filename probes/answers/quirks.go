package answers

import (
	"strings"
)

// What registries answer, and what it means. The codes are those of the distribution
// specification ("Error Codes"); the statuses differ by vendor. The runtime sends
// HEAD only, and its answer has no body and so no code.
//
//	registry                 repository missing            no right to it             bad or expired login
//	distribution (CNCF)      401, 404 MANIFEST_UNKNOWN;    401 insufficient_scope     401
//	                         tags: 404 NAME_UNKNOWN
//	Docker Hub, Quay         401 insufficient_scope        401 insufficient_scope     401 of the token service
//	GHCR                     403 DENIED (also of the       403 DENIED                 401/403 DENIED of the
//	                         token service), 404                                      token service
//	ECR                      404 NAME_UNKNOWN              403 DENIED                 401; 403 DENIED if expired
//	GAR, GCR                 403 DENIED, 404 NAME_UNKNOWN  403 DENIED                 401 UNAUTHORIZED
//	ACR                      404 NAME_UNKNOWN              401 UNAUTHORIZED           401 UNAUTHORIZED
//	Harbor                   404 NOT_FOUND, 401            403 FORBIDDEN, 401         401 UNAUTHORIZED
//	Artifactory, Nexus       404 NAME_UNKNOWN              403 DENIED/FORBIDDEN       401 UNAUTHORIZED, 403
//	GitLab                   404 NAME_UNKNOWN, 403 DENIED  403 DENIED                 403 DENIED of the token service
//
// Sources: distribution spec and registry/api/errcode; Docker's "Token
// authentication specification" (a token narrower than requested is no error);
// goharbor/harbor src/lib/errors/const.go; the vendors' error references.
// Hence the rules here: a 401 to a granted token, and a 403 of the vendors below, do
// not distinguish a missing repository from a private one; and only the login itself
// shows that it has expired.

// HidesMissing reports whether the registry answers 403 both for missing and for
// forbidden repositories.
func HidesMissing(domain string) bool {
	switch domain {
	case "docker.io", "ghcr.io", "gcr.io", "registry.gitlab.com":
		return true
	}
	return strings.HasSuffix(domain, ".gcr.io") || strings.HasSuffix(domain, "-docker.pkg.dev")
}
