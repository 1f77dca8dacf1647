//go:build matrix

package matrix

// fixTodos says, by row, why the fix is not a command that works yet. loginTodos says
// which login the product gives away. A row fails when its mark is no longer needed.
var fixTodos = map[string]string{
	"credentials-missing":                             "blanks: NAMESPACE",
	"credentials-rejected":                            "blanks: NAMESPACE, SECRET",
	"disk-full":                                       "crictl rmi --prune on a node that cannot pull again",
	"disk-too-small-for-the-image":                    "crictl rmi --prune on a node that cannot pull again",
	"forbidden-to-anybody":                            "blanks: NAMESPACE",
	"hidden-repository":                               "blanks: NAMESPACE",
	"inodes-exhausted":                                "crictl rmi --prune on a node that cannot pull again",
	"layers-need-credentials":                         "blanks: NAMESPACE",
	"mirror-forbids-and-upstream-lacks-it":            "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"mirror-refuses-and-upstream-lacks-it":            "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"mirror-untrusted-and-upstream-wants-credentials": "blanks: NAMESPACE",
	"not-a-registry":                                  "no text",
	"portal":                                          "no text",
	"private-beside-a-public-sibling":                 "blanks: NAMESPACE",
	"proxied-with-dead-direct-dns-and-a-missing-tag":  "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"proxy-cannot-reach-the-registry":                 "no text",
	"reference-invalid":                               "blanks: NAMESPACE, POD, CONTAINER, REGISTRY, REPOSITORY, TAG",
	"secret-for-another-registry":                     "blanks: NAMESPACE",
	"stale-secret-for-a-public-image":                 "blanks: NAMESPACE, SECRET",
	"tag-missing":                                     "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"tag-mistyped":                                    "blanks: NAMESPACE, POD, CONTAINER, TAG",
	"token-service-rejects-credentials":               "blanks: NAMESPACE, SECRET",
	"unauthorized-without-a-challenge":                "no text",
	"plain-http-on-443":                               "the URL lacks the port",
}

var loginTodos = map[string]string{}
