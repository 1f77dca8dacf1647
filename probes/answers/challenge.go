package answers

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/probes/httpclient"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Challenge is what a registry requires in WWW-Authenticate.
type Challenge struct {
	Bearer  bool // a token; false: basic authentication
	Realm   string
	Service string
	Scopes  []string
	Problem string // error= of a refused token, such as insufficient_scope
}

// ReadChallenge returns the challenge that containerd would answer: bearer
// before basic, no other scheme.
func ReadChallenge(h http.Header) (Challenge, bool) {
	for _, c := range parseChallenges(h) {
		switch c.scheme {
		case bearer:
			ch := Challenge{
				Bearer:  true,
				Realm:   c.params["realm"],
				Service: c.params["service"],
				Problem: c.params["error"],
			}
			if scope := c.params["scope"]; scope != "" {
				ch.Scopes = strings.Split(scope, " ")
			}
			return ch, true
		case basic:
			return Challenge{}, true
		}
	}
	return Challenge{}, false
}

// WantsTokenOnly reports whether a 401 to a user name and password asks for a token and
// nothing else: that is no rejection of the login. The other way round it may be one:
// Harbor answers so to a token that gives no access.
func WantsTokenOnly(h http.Header) bool {
	challenges := parseChallenges(h)
	other := func(c parsedChallenge) bool { return c.scheme != bearer }
	return len(challenges) > 0 && !slices.ContainsFunc(challenges, other)
}

// ServiceHost returns the host of the token service, for people.
func (c Challenge) ServiceHost() string {
	if u, err := url.Parse(c.Realm); err == nil && httpclient.IsHostName(u.Host) {
		return readable.Clean(u.Host, 80)
	}
	return "the token service"
}

// Scheme returns "bearer" or "basic".
func (c Challenge) Scheme() string {
	if c.Bearer {
		return "bearer"
	}
	return "basic"
}

// Product returns the registry software that the headers of an answer name; empty if
// they name none. By the headers that each sends: JFrog's "X-JFrog-Version", Harbor's
// "X-Harbor-Csrf-Token", the "Server" of Nexus and of Azure, the realms of GitLab, Quay
// and GitHub, and Docker Hub's "Docker-RateLimit-Source".
func Product(h http.Header, ch Challenge) string {
	server := strings.ToLower(h.Get("Server"))
	realm, _ := url.Parse(ch.Realm)
	switch {
	case h.Get("X-JFrog-Version") != "", h.Get("X-Artifactory-Id") != "", strings.HasPrefix(server, "artifactory"):
		return "artifactory"
	case h.Get("X-Harbor-Csrf-Token") != "", ch.Service == "harbor-registry":
		return "harbor"
	case strings.HasPrefix(server, "nexus/"):
		return "nexus"
	case strings.HasPrefix(server, "azurecontainerregistry"), strings.HasSuffix(ch.Service, ".azurecr.io"):
		return "acr"
	case realm != nil && strings.HasSuffix(realm.Path, "/jwt/auth"):
		return "gitlab"
	case realm != nil && strings.HasSuffix(realm.Path, "/v2/auth") && strings.Contains(ch.Service, "quay"):
		return "quay"
	case h.Get("X-Github-Request-Id") != "":
		return "ghcr"
	case h.Get("Docker-RateLimit-Source") != "", ch.Service == "registry.docker.io":
		return "dockerhub"
	case strings.HasPrefix(ch.Service, "ecr.") || strings.HasSuffix(ch.Service, ".amazonaws.com"):
		return "ecr"
	}
	return ""
}
