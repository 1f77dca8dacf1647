package examine_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/pullprobe/pullprobe/probes/probetest"
)

// The registries, as images name them. Those below example.com are a company's own.
const (
	hubNames    = "docker.io"
	ghcrName    = "ghcr.io"
	quayName    = "quay.io"
	gitlabName  = "registry.gitlab.com"
	harborName  = "harbor.example.com"
	harborNode  = "harbor-node.example.com" // its login is in the configuration of the nodes' containerd
	nexusName   = "docker.nexus.example.com"
	jfrogName   = "docker.jfrog.example.com"
	jfrogHidden = "hidden.jfrog.example.com" // hides what a user may not read
	ecrName     = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	ecrOther    = "210987654321.dkr.ecr.eu-west-1.amazonaws.com" // another account's
	acrName     = "contoso.azurecr.io"
	acrWalled   = "walled.azurecr.io" // a network rule forbids this node's address
	garName     = "europe-west4-docker.pkg.dev"
)

// login is a user with a password. The password decides who that is.
type login struct{ user, password string }

// The passwords of the registries' users: a member may pull, a guest is known and may not.
const (
	memberPassword   = "glpat-Kx7vQm2RtY9sNb4W"
	guestPassword    = "glpat-Zp3hJc8LdF6gVe1U"
	strangerPassword = "dckr_pat_Wd5kTn0QyXr7"
)

// Amazon's and Azure's say when they expire.
var (
	ecrMember  = ecrPassword(6 * time.Hour)
	ecrGuest   = ecrPassword(7 * time.Hour)
	ecrExpired = ecrPassword(-2 * time.Hour)
	acrMember  = acrPassword("member")
	acrGuest   = acrPassword("guest")
)

// ecrPassword returns a password as Amazon makes them: base64 of a JSON object.
func ecrPassword(until time.Duration) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil,
		`{"payload":"%d","datakey":"AQEBAHijEFXGwF1cipVOacG8","version":"2","type":"DATA_KEY","expiration":%d}`,
		until, time.Now().Add(until).Unix()))
}

// acrPassword returns a refresh token as Azure makes them: a JSON web token.
func acrPassword(subject string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	claims := fmt.Appendf(nil, `{"sub":%q,"iss":"Azure Container Registry","exp":%d}`, subject, time.Now().Add(3*time.Hour).Unix())
	return b64([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + b64(claims) + "." + b64([]byte("signature of "+subject))
}

// caller is who sent a request.
type caller string

const (
	anonymous caller = "anonymous"
	member    caller = "member"
	guest     caller = "guest"
	expired   caller = "expired"
	stranger  caller = "stranger"
)

func callerOf(password string) caller {
	switch password {
	case memberPassword, ecrMember, acrMember:
		return member
	case guestPassword, ecrGuest, acrGuest:
		return guest
	case ecrExpired:
		return expired
	}
	return stranger
}

// refusal is an answer that is not what was asked for.
type refusal struct {
	status     int
	code, text string
	challenge  string // other than the registry's usual one
}

func (f *refusal) write(w http.ResponseWriter) {
	if f.code == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(f.status)
		fmt.Fprintln(w, f.text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	io.WriteString(w, probetest.OCIError(f.code, f.text))
}

func refuse(status int, code, text string) *refusal {
	return &refusal{status: status, code: code, text: text}
}

// product is how a registry answers; a nil refusal means that it gives what was asked for.
type product struct {
	host    string // of the registry's server
	header  map[string]string
	basic   string // the parameters of its Basic challenge; empty: Bearer
	realm   string // URL of the token service
	service string
	noPost  int // status of its token service for POST; 0: as for GET

	grant func(c caller, repository string) *refusal          // by the token service
	pull  func(c caller, repository, object string) *refusal  // of a manifest, a blob or the list of tags
	gone  func(repository, object string, tags bool) *refusal // what the store does not have; nil: the store's own answer
}

// products are the registries, as they document their answers or are known to answer.
func products() []product {
	unauthorized := func(text string) *refusal { return refuse(401, "UNAUTHORIZED", text) }
	denied := func(text string) *refusal { return refuse(403, "DENIED", text) }
	hub := product{
		host: "registry-1.docker.io", realm: "https://auth.docker.io/token", service: "registry.docker.io",
		header: map[string]string{"Docker-Ratelimit-Source": "192.0.2.1"},
		grant: func(c caller, _ string) *refusal {
			if c == stranger || c == expired {
				return unauthorized("incorrect username or password")
			}
			return nil
		},
		pull: func(c caller, repository, _ string) *refusal {
			switch {
			case repository == "library/limited":
				return refuse(429, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit. "+
					"https://www.docker.com/increase-rate-limit")
			case strings.HasPrefix(repository, "library/") || c == member:
				return nil
			}
			return &refusal{401, "UNAUTHORIZED", "authentication required", `,error="insufficient_scope"`}
		},
	}
	ghcr := product{
		host: ghcrName, realm: "https://ghcr.io/token", service: "ghcr.io", noPost: 405,
		header: map[string]string{"X-Github-Request-Id": "CA6E:2A4B:1"},
		// A password that is not valid gets 403, for a public package, too: dexidp/dex issue
		// 2672, esnet/gdg issue 122. The anonymous get the same for a private package and for
		// none: openai/tunnel-client issue 75, grantbevis/borg-server issue 10.
		grant: func(c caller, repository string) *refusal {
			switch c {
			case anonymous:
				if repository == "public/app" {
					return nil
				}
				return unauthorized("authentication required")
			case stranger, expired:
				return denied("denied")
			}
			return nil
		},
		pull: func(c caller, repository, _ string) *refusal {
			if c != member && repository != "public/app" {
				return denied("permission_denied: read_package")
			}
			return nil
		},
	}
	quay := product{
		host: quayName, realm: "https://quay.io/v2/auth", service: "quay.io", noPost: 405,
		grant: func(c caller, _ string) *refusal {
			if c == stranger || c == expired {
				return unauthorized("Could not find robot with specified username")
			}
			return nil
		},
		pull: func(c caller, _, _ string) *refusal {
			if c != member {
				return unauthorized("access to the requested resource is not authorized")
			}
			return nil
		},
	}
	gitlab := product{
		host: gitlabName, realm: "https://gitlab.com/jwt/auth", service: "container_registry", noPost: 404,
		// canonical/microk8s issue 4754, gitpod-io/gitpod issue 19693, getwud/wud pull 1165.
		grant: func(c caller, _ string) *refusal {
			switch c {
			case anonymous, guest:
				return denied("access forbidden")
			case stranger, expired:
				return unauthorized("HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect")
			}
			return nil
		},
	}
	// goharbor/harbor, src/server/middleware/v2auth/auth.go: a request with a token that
	// does not suffice gets a Basic challenge, and one for no project an empty one.
	harbor := func(host string) product {
		return product{
			host: host, realm: "https://" + host + "/service/token", service: "harbor-registry", noPost: 405,
			grant: func(c caller, _ string) *refusal {
				if c == stranger || c == expired {
					return unauthorized("unauthorized: authentication required")
				}
				return nil
			},
			pull: func(c caller, repository, _ string) *refusal {
				project, _, _ := strings.Cut(repository, "/")
				switch {
				case project != "team":
					return &refusal{401, "UNAUTHORIZED", "project " + project + " not found", "none"}
				case c != member:
					text := "unauthorized to access repository: " + repository + ", action: pull"
					return &refusal{401, "UNAUTHORIZED", text + ": " + text, `Basic realm="harbor"`}
				}
				return nil
			},
			gone: func(repository, object string, tags bool) *refusal {
				if tags {
					return refuse(404, "NOT_FOUND", "repository "+repository+" not found")
				}
				return refuse(404, "NOT_FOUND", "artifact "+repository+":"+object+" not found")
			},
		}
	}
	nexus := product{
		host: nexusName, basic: `realm="Sonatype Nexus Repository Manager"`,
		header: map[string]string{"Server": "Nexus/3.76.0-03 (COMMUNITY)"},
		pull: func(c caller, _, _ string) *refusal {
			switch c {
			case anonymous, stranger, expired:
				return unauthorized("access to the requested resource is not authorized")
			case guest:
				return denied("access to the requested resource is not authorized")
			}
			return nil
		},
	}
	// With "hide existence of unauthorized resources" a user gets 404 for what he may not
	// read; POST to the token service gets 401: containerd/containerd pull 2166.
	jfrog := func(host string, hides bool) product {
		return product{
			host: host, realm: "https://" + host + "/artifactory/api/docker/docker-local/v2/token", service: host, noPost: 401,
			header: map[string]string{"X-Jfrog-Version": "Artifactory/7.104.7 80407900", "X-Artifactory-Id": "1:2"},
			grant: func(c caller, _ string) *refusal {
				switch {
				case c == stranger, c == expired:
					return unauthorized("Wrong username was used")
				case c == anonymous && !hides:
					return unauthorized("authentication is required")
				}
				return nil
			},
			pull: func(c caller, repository, object string) *refusal {
				switch {
				case c == member:
					return nil
				case hides && object == "list":
					return refuse(404, "NAME_UNKNOWN", "Repository name not known to registry.")
				case hides:
					return refuse(404, "MANIFEST_UNKNOWN", "The named manifest is not known to the registry.")
				}
				return denied("The client does not have permission for manifest")
			},
		}
	}
	// The answers of Amazon's registry API. Of another account's registry it does not say
	// whether a repository exists: bottlerocket-os/bottlerocket-update-operator issue 157.
	ecr := func(host string) product {
		account, _, _ := strings.Cut(host, ".")
		return product{
			host: host, basic: `realm="https://` + host + `/",service="ecr.amazonaws.com"`,
			pull: func(c caller, repository, _ string) *refusal {
				arn := "User: arn:aws:sts::123456789012:assumed-role/node/i-0abc is not authorized to perform: ecr:BatchGetImage " +
					"on resource: arn:aws:ecr:eu-west-1:" + account + ":repository/" + repository + " because "
				switch {
				case c == anonymous:
					return &refusal{status: 401, text: "Not Authorized"}
				case c == stranger:
					return denied("Your Authorization Token is invalid.")
				case c == expired:
					return denied("Your authorization token has expired. Reauthenticate and try again.")
				case host == ecrOther:
					return denied(arn + "no resource-based policy allows the ecr:BatchGetImage action")
				case repository == "team/closed":
					return denied(strings.TrimSuffix(arn, " because ") + " with an explicit deny in a resource-based policy")
				case c == guest:
					return denied(arn + "no identity-based policy allows the ecr:BatchGetImage action")
				}
				return nil
			},
			gone: func(repository, object string, tags bool) *refusal {
				if tags || repository != "team/app" {
					return refuse(404, "NAME_UNKNOWN", "The repository with name '"+repository+"' does not exist in the registry with id '"+account+"'")
				}
				return refuse(404, "MANIFEST_UNKNOWN", "Requested image not found")
			},
		}
	}
	// Azure/AKS issue 4593: 401 also to a login without the role AcrPull.
	acr := func(host string) product {
		return product{
			host: host, realm: "https://" + host + "/oauth2/token", service: host, noPost: 401,
			header: map[string]string{"Server": "AzureContainerRegistry"},
			grant: func(c caller, _ string) *refusal {
				switch {
				case host == acrWalled:
					return denied("client with IP '203.0.113.7' is not allowed access, refer https://aka.ms/acr/firewall to grant access")
				case c != member:
					return unauthorized("authentication required, visit https://aka.ms/acr/authorization for more information.")
				}
				return nil
			},
		}
	}
	gar := product{
		host: garName, realm: "https://" + garName + "/v2/token", service: garName, noPost: 405,
		grant: func(c caller, repository string) *refusal {
			const what = `"artifactregistry.repositories.downloadArtifacts"`
			resource := `"projects/team/locations/europe-west4/repositories/app" (or it may not exist)`
			switch c {
			case anonymous:
				return denied("Unauthenticated request. Unauthenticated requests do not have permission " + what + " on resource " + resource)
			case stranger, expired:
				return unauthorized("Unauthenticated request: invalid credentials")
			case guest:
				return denied("Permission " + what + " denied on resource " + resource)
			}
			return nil
		},
		gone: func(repository, object string, tags bool) *refusal {
			if tags || repository != "team/app" {
				return refuse(404, "NAME_UNKNOWN", "Repository \""+repository+"\" not found")
			}
			return refuse(404, "MANIFEST_UNKNOWN", "Failed to fetch \""+object+"\"")
		},
	}
	return []product{
		hub, ghcr, quay, gitlab, harbor(harborName), harbor(harborNode), nexus, jfrog(jfrogName, false), jfrog(jfrogHidden, true),
		ecr(ecrName), ecr(ecrOther), acr(acrName), acr(acrWalled), gar,
	}
}

// serverNames returns the names of all servers, token services included.
func serverNames() []string {
	names := []string{"auth.docker.io", "gitlab.com"}
	for _, p := range products() {
		names = append(names, p.host)
	}
	return names
}

// serveRegistries runs all registries on port 443. Each has team/app:1.0, Docker Hub
// library/nginx:1.27, too, and GHCR public/app:1.0.
func serveRegistries(t *testing.T, authority *probetest.Authority) {
	t.Helper()
	store := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	probetest.PushImage(t, store, "team/app", probetest.ImageFor(t, "amd64"), "1.0")
	probetest.PushImage(t, store, "public/app", probetest.ImageFor(t, "amd64"), "1.0")
	probetest.PushImage(t, store, "library/nginx", probetest.ImageFor(t, "amd64"), "1.27")
	byHost := map[string]http.Handler{}
	for _, p := range products() {
		h := p.handler(store)
		byHost[p.host] = h
		if realm, ok := strings.CutPrefix(p.realm, "https://"); ok {
			host, _, _ := strings.Cut(realm, "/")
			byHost[host] = h
		}
	}
	cert := authority.Good(t, append(serverNames(), "*.dkr.ecr.eu-west-1.amazonaws.com")...)
	probetest.ServeAt(t, "0.0.0.0", 443, &cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := byHost[strings.TrimSuffix(r.Host, ":443")]
		if h == nil {
			http.Error(w, "no such host", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	}))
}

func (p product) handler(store http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range p.header {
			w.Header().Set(name, value)
		}
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if p.realm != "" && "https://"+strings.TrimSuffix(r.Host, ":443")+r.URL.Path == p.realm {
			p.serveToken(w, r)
			return
		}
		p.servePull(w, r, store)
	})
}

// serveToken issues a token that has the name of the caller in it.
func (p product) serveToken(w http.ResponseWriter, r *http.Request) {
	c := anonymous
	if _, password, ok := r.BasicAuth(); ok {
		c = callerOf(password)
	} else if r.Method == http.MethodPost {
		c = callerOf(r.PostFormValue("password"))
	}
	if r.Method == http.MethodPost && p.noPost != 0 {
		w.WriteHeader(p.noPost)
		return
	}
	scope := r.FormValue("scope")
	repository := strings.TrimSuffix(strings.TrimPrefix(scope, "repository:"), ":pull")
	if p.grant != nil && scope != "" {
		if f := p.grant(c, repository); f != nil {
			f.write(w)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	token := "tokenof." + string(c)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// caller returns who sent a request to the registry.
func (p product) caller(r *http.Request) caller {
	if _, password, ok := r.BasicAuth(); ok {
		return callerOf(password)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer tokenof."); ok {
		return caller(token)
	}
	return anonymous
}

// servePull answers requests of the registry API. A registry with a token service
// challenges every request that has no Authorization.
func (p product) servePull(w http.ResponseWriter, r *http.Request, store http.Handler) {
	repository, kind, object := "", "", ""
	for _, k := range []string{"manifests", "blobs", "tags"} {
		if before, after, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/"+k+"/"); ok {
			repository, kind, object = before, k, after
		}
	}
	c := p.caller(r)
	var f *refusal
	switch {
	case r.Header.Get("Authorization") == "" && (p.basic == "" || repository == ""):
		f = refuse(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	case repository == "":
		w.WriteHeader(http.StatusOK)
		return
	case p.pull != nil:
		f = p.pull(c, repository, object)
	}
	if f != nil {
		if f.status == http.StatusUnauthorized && f.challenge != "none" {
			w.Header().Set("WWW-Authenticate", p.challenge(f.challenge, repository))
		}
		f.write(w)
		return
	}
	if p.gone == nil {
		store.ServeHTTP(w, r)
		return
	}
	known := repository == "team/app" && (kind != "manifests" || object == "1.0" || strings.HasPrefix(object, "sha256:"))
	if !known {
		p.gone(repository, object, kind == "tags").write(w)
		return
	}
	store.ServeHTTP(w, r)
}

// challenge returns a WWW-Authenticate header: extra parameters of the usual one, or
// another one.
func (p product) challenge(extra, repository string) string {
	switch {
	case strings.HasPrefix(extra, "Basic"):
		return extra
	case p.basic != "":
		return "Basic " + p.basic
	}
	out := fmt.Sprintf("Bearer realm=%q,service=%q", p.realm, p.service)
	if repository != "" {
		out += fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
	}
	return out + extra
}
