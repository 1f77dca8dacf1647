package registry

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"

	"github.com/pullprobe/pullprobe/report"
)

// challenge is what a registry requires in WWW-Authenticate.
type challenge struct {
	bearer  bool // a token; false: basic authentication
	realm   string
	service string
	scopes  []string
	problem string // error= of a refused token, such as insufficient_scope
}

// readChallenge returns the challenge that containerd would answer: bearer
// before basic, no other scheme.
func readChallenge(h http.Header) (challenge, bool) {
	for _, c := range auth.ParseAuthHeader(h) {
		switch c.Scheme {
		case auth.BearerAuth:
			ch := challenge{
				bearer:  true,
				realm:   c.Parameters["realm"],
				service: c.Parameters["service"],
				problem: c.Parameters["error"],
			}
			if scope := c.Parameters["scope"]; scope != "" {
				ch.scopes = strings.Split(scope, " ")
			}
			return ch, true
		case auth.BasicAuth:
			return challenge{}, true
		}
	}
	return challenge{}, false
}

// serviceHost returns the host of the token service, for people.
func (c challenge) serviceHost() string {
	if u, err := url.Parse(c.realm); err == nil && isHostName(u.Host) {
		return report.Clean(u.Host, 80)
	}
	return "the token service"
}

func (c challenge) scheme() string {
	if c.bearer {
		return "bearer"
	}
	return "basic"
}

// productOf returns the registry software that the headers of an answer name; empty if
// they name none. By the headers that each sends: JFrog's "X-JFrog-Version", Harbor's
// "X-Harbor-Csrf-Token", the "Server" of Nexus and of Azure, the realms of GitLab, Quay
// and GitHub, and Docker Hub's "Docker-RateLimit-Source".
func productOf(h http.Header, ch challenge) string {
	server := strings.ToLower(h.Get("Server"))
	realm, _ := url.Parse(ch.realm)
	switch {
	case h.Get("X-JFrog-Version") != "", h.Get("X-Artifactory-Id") != "", strings.HasPrefix(server, "artifactory"):
		return "artifactory"
	case h.Get("X-Harbor-Csrf-Token") != "", ch.service == "harbor-registry":
		return "harbor"
	case strings.HasPrefix(server, "nexus/"):
		return "nexus"
	case strings.HasPrefix(server, "azurecontainerregistry"), strings.HasSuffix(ch.service, ".azurecr.io"):
		return "acr"
	case realm != nil && strings.HasSuffix(realm.Path, "/jwt/auth"):
		return "gitlab"
	case realm != nil && strings.HasSuffix(realm.Path, "/v2/auth") && strings.Contains(ch.service, "quay"):
		return "quay"
	case h.Get("X-Github-Request-Id") != "":
		return "ghcr"
	case h.Get("Docker-RateLimit-Source") != "", ch.service == "registry.docker.io":
		return "dockerhub"
	case strings.HasPrefix(ch.service, "ecr.") || strings.HasSuffix(ch.service, ".amazonaws.com"):
		return "ecr"
	}
	return ""
}
