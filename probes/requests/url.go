package requests

import (
	"net/url"
	"path"

	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// URL returns a URL of the registry API for a repository of a domain, as containerd
// builds it: a request to a mirror has the mirrored domain as ?ns=.
func URL(h runtimeconfig.Host, domain, repository string, query url.Values, parts ...string) string {
	if query == nil {
		query = url.Values{}
	}
	if h.IsMirrorOf(domain) {
		query.Set("ns", domain)
	}
	p := path.Join(append([]string{"/", h.Path, repository}, parts...)...)
	u := h.Scheme + "://" + h.Host + p
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}
