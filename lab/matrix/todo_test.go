//go:build matrix

package matrix

// verdictTodos says, by row, what the product says today where the row wants another
// verdict.
var verdictTodos = map[string]string{
	"certificate-of-a-staging-authority":               "says node-infrastructure CertificateUntrusted confirmed; the fix says into the trust store; the fix says ca =",
	"certificate-of-a-test-authority":                  "says node-infrastructure CertificateUntrusted confirmed; the fix says into the trust store; the fix says ca =",
	"certificate-of-an-old-staging-authority":          "says node-infrastructure CertificateUntrusted confirmed; the fix says into the trust store; the fix says ca =",
	"certificate-of-the-operating-systems-placeholder": "says node-infrastructure CertificateUntrusted confirmed; the fix says into the trust store",
	"digest-missing-in-a-repository-that-hides-tags":   "the verdict does not say what would decide it",
	"head-403-get-200":                                 "says cluster-config AccessDeniedOrMissing confirmed; the fix says create secret",
	"head-404-get-200":                                 "says cluster-config TagNotFound confirmed; the fix says push",
	"hidden-manifest-without-a-challenge":              "the verdict does not say what would decide it",
	"hidden-without-a-challenge":                       "says cluster-config RepositoryNotFound confirmed",
	"hidden-without-a-challenge-to-a-login-never-used": "says cluster-config RepositoryNotFound confirmed",
	"mistyped-host-at-a-control-panel":                 "says registry CertificateNameMismatch confirmed",
	"mistyped-host-at-a-site-of-another-name":          "says registry CertificateNameMismatch confirmed",
	"mistyped-host-at-a-site-with-a-login":             "says cluster-config CredentialsMissing confirmed; the fix says create secret",
	"mistyped-host-at-an-ingress":                      "says registry CertificateNameMismatch confirmed",
	"mistyped-host-at-traefik":                         "says registry CertificateNameMismatch confirmed",
	"name-servers-of-one-domain-fail":                  "says node-infrastructure ResolverFailed confirmed",
	"router-prohibits":                                 "says node-infrastructure NetworkUnreachable likely",
	"router-reports-the-host-unreachable":              "says node-infrastructure NetworkUnreachable likely",
	"router-reports-the-network-unreachable":           "says node-infrastructure NetworkUnreachable confirmed",
	"tag-in-the-list-and-not-found":                    "says cluster-config TagNotFound confirmed",
}

// fixTodos says, by row, why the fix is not a command that works yet. loginTodos says
// which login the product gives away. A row fails when its mark is no longer needed.
var fixTodos = map[string]string{
	"config-edited-and-the-tag-missing":                      "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"credentials-missing":                                    "blanks: NAMESPACE",
	"credentials-rejected":                                   "blanks: NAMESPACE, SECRET",
	"disk-full":                                              "crictl rmi --prune on a node that cannot pull again",
	"disk-too-small-for-the-image":                           "crictl rmi --prune on a node that cannot pull again",
	"forbidden-to-anybody":                                   "blanks: NAMESPACE",
	"head-400-get-200":                                       "no text",
	"head-403-get-200":                                       "blanks: NAMESPACE",
	"head-404-get-200":                                       "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"hidden-manifest-without-a-challenge":                    "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"hidden-repository":                                      "blanks: NAMESPACE",
	"inodes-exhausted":                                       "crictl rmi --prune on a node that cannot pull again",
	"layers-need-credentials":                                "blanks: NAMESPACE",
	"mirror-forbids-and-upstream-lacks-it":                   "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"mirror-refuses-and-upstream-lacks-it":                   "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"mirror-untrusted-and-upstream-wants-credentials":        "blanks: NAMESPACE",
	"mistyped-host-at-a-default-backend":                     "no text",
	"mistyped-host-at-a-site-with-a-login":                   "blanks: NAMESPACE",
	"mistyped-host-at-a-site-with-a-login-that-is-given-one": "no text",
	"not-a-registry":                                         "no text",
	"plain-http-on-443":                                      "the URL lacks the port",
	"portal":                                                 "no text",
	"private-beside-a-public-sibling":                        "blanks: NAMESPACE",
	"proxied-with-dead-direct-dns-and-a-missing-tag":         "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"proxy-cannot-reach-the-registry":                        "no text",
	"reference-invalid":                                      "blanks: NAMESPACE, POD, CONTAINER, REGISTRY, REPOSITORY, TAG",
	"secret-for-another-registry":                            "blanks: NAMESPACE",
	"single-sign-on-before-a-registry":                       "no text",
	"stale-secret-for-a-public-image":                        "blanks: NAMESPACE, SECRET",
	"tag-in-the-list-and-not-found":                          "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"tag-missing":                                            "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"tag-missing-behind-a-login":                             "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"tag-missing-from-a-list-of-many-pages":                  "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"tag-mistyped":                                           "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"token-service-rejects-credentials":                      "blanks: NAMESPACE, SECRET",
	"unauthorized-without-a-challenge":                       "no text",
	"web-firewall-forbids-the-runtimes-user-agent":           "no text",
}

var loginTodos = map[string]string{}
