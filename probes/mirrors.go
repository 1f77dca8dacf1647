package probes

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// loadMirrors lists the hosts for domain by registry.mirrors and
// registry.configs of containerd's config.toml. It follows registryEndpoints
// and registryHosts of internal/cri/server/images/image_pull.go.
func loadMirrors(f Files, where RegistryConfig, domain string) (hostsConfig, *hostsProblem) {
	endpoints, named := where.Mirrors[domain]
	if !named {
		endpoints = where.Mirrors["*"]
	}
	upstream := domain
	if domain == "docker.io" {
		upstream = "registry-1.docker.io"
	}
	var config hostsConfig
	complete := false
	for _, endpoint := range endpoints {
		if !strings.Contains(endpoint, "://") {
			host, _, _ := strings.Cut(endpoint, "/")
			endpoint = defaultScheme(host) + "://" + endpoint
		}
		u, err := url.Parse(endpoint)
		if err != nil {
			problem := &hostsProblem{File: "registry.mirrors in config.toml", Reason: "the endpoint " + report.Clean(endpoint, 80) + " is not a URL"}
			return hostsConfig{Hosts: defaultHosts(domain)}, problem
		}
		complete = complete || u.Host == domain
		config.Hosts = append(config.Hosts, mirrorHost(u, domain, true))
	}
	if !complete {
		config.Hosts = append(config.Hosts, mirrorHost(&url.URL{Scheme: defaultScheme(upstream), Host: upstream}, domain, false))
	}
	for i := range config.Hosts {
		h := &config.Hosts[i]
		if files, ok := where.TLS[h.Host]; ok {
			h.explicitTLS = true
			h.SkipVerify = h.SkipVerify || files.SkipVerify
			if files.CA != "" {
				h.caFiles = []string{files.CA}
			}
			if files.Cert != "" {
				h.clients = [][2]string{{files.Cert, files.Key}}
			}
			if problem := h.loadFiles(f); problem != nil {
				return config, problem
			}
		}
	}
	return config, where.passedOver(f, domain)
}

func mirrorHost(u *url.URL, domain string, configured bool) host {
	return host{
		Scheme: u.Scheme, Host: u.Host, Path: cmp.Or(u.Path, "/v2"),
		Capabilities: canPull | canResolve | canReferrers,
		SkipVerify:   isLocalhost(domain) && u.Scheme == "http",
		configured:   configured,
	}
}

// defaultScheme is containerd's function of this name.
func defaultScheme(host string) string {
	if isLocalhost(host) {
		return "http"
	}
	return "https"
}
