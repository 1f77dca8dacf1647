package runtimeconfig

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// loadMirrors returns the hosts for domain by registry.mirrors and
// registry.configs of containerd's config.toml. It follows registryEndpoints
// and registryHosts of internal/cri/server/images/image_pull.go.
func loadMirrors(f Files, where RegistryConfig, domain string) (Hosts, *Problem) {
	endpoints, named := where.Mirrors[domain]
	if !named {
		endpoints = where.Mirrors["*"]
	}
	upstream := report.ServerOf(domain)
	var config Hosts
	complete := false
	for _, endpoint := range endpoints {
		if !strings.Contains(endpoint, "://") {
			hostport, _, _ := strings.Cut(endpoint, "/")
			endpoint = defaultScheme(hostport) + "://" + endpoint
		}
		u, err := url.Parse(endpoint)
		if err != nil {
			problem := &Problem{File: "registry.mirrors in config.toml", Reason: "the endpoint " + readable.Clean(endpoint, 80) + " is not a URL"}
			return Hosts{List: DefaultHosts(domain)}, problem
		}
		complete = complete || u.Host == domain
		config.List = append(config.List, mirrorHost(u, domain, true))
	}
	if !complete {
		config.List = append(config.List, mirrorHost(&url.URL{Scheme: defaultScheme(upstream), Host: upstream}, domain, false))
	}
	for i := range config.List {
		h := &config.List[i]
		if files, ok := where.TLS[h.Host]; ok {
			h.ExplicitTLS = true
			h.SkipVerify = h.SkipVerify || files.SkipVerify
			if files.CA != "" {
				h.CAFiles = []string{files.CA}
			}
			if files.Cert != "" {
				h.clients = [][2]string{{files.Cert, files.Key}}
			}
			if problem := h.loadFiles(f); problem != nil {
				return config, problem
			}
		}
	}
	return config, where.ignored(f, domain)
}

func mirrorHost(u *url.URL, domain string, configured bool) Host {
	return Host{
		Scheme: u.Scheme, Host: u.Host, Path: cmp.Or(u.Path, "/v2"),
		Capabilities: canPull | canResolve | canReferrers,
		SkipVerify:   IsLocalhost(domain) && u.Scheme == "http",
		Configured:   configured,
	}
}

// defaultScheme is containerd's function of this name.
func defaultScheme(host string) string {
	if IsLocalhost(host) {
		return "http"
	}
	return "https"
}
