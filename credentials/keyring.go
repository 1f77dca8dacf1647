// Package credentials answers which pull credentials the kubelet would use for
// an image, and in which order. It follows the kubelet's own rules
// (k8s.io/kubernetes v1.36, pkg/credentialprovider: keyring.go, config.go,
// secrets/secrets.go and plugin/), including those that surprise people.
package credentials

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Credential is a user and a password for one server. Its text forms never
// show the password.
type Credential struct {
	Server   string // as the secret spells it
	Username string
	Password string
	Source   string // where it comes from, e.g. "secret shop/regcred"
	Host     string // it goes to this registry host only; empty: to every host, mirrors included
	Note     string // what of its entry the kubelet leaves out

	// IdentityToken is an OAuth2 refresh token; only containerd's own
	// credentials have one.
	IdentityToken string

	secret string // name of the pod's secret that it is in
}

// String names the source and the server, and hides user and password.
func (c Credential) String() string { return c.Source + " for " + c.server() }

// anonymous reports whether containerd takes it for nobody's: it asks for a
// user name first (internal/cri/server/images/image_pull.go, ParseAuth).
func (c Credential) anonymous() bool { return c.Username == "" && c.IdentityToken == "" }

// server is the key that it is found under: without scheme, and without the
// user and password that a URL may hold.
func (c Credential) server() string {
	key, ok := key(c.Server)
	if !ok {
		return "something that is no URL"
	}
	return clean(key)
}

// clean makes a text from a secret or a file fit for a report.
func clean(s string) string {
	const longest = 120
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// Format keeps every verb of fmt from printing the fields.
func (c Credential) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

// LogValue keeps slog from printing the fields.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Keyring holds credentials by the server and path they are for. The zero
// value is ready to use.
type Keyring struct {
	byKey map[string][]Credential
}

// Add puts a credential under its server's key. A server that is not a URL is
// left out, as the kubelet leaves it out (keyring.go, Add).
func (k *Keyring) Add(c Credential) {
	key, ok := key(c.Server)
	if !ok {
		return
	}
	if k.byKey == nil {
		k.byKey = map[string][]Credential{}
	}
	k.byKey[key] = append(k.byKey[key], c)
}

// key is host and path of a server without scheme; "/v1/" and "/v2/" before
// the path mean nothing (keyring.go, Add).
func key(server string) (string, bool) {
	if !strings.HasPrefix(server, "https://") && !strings.HasPrefix(server, "http://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", false
	}
	path := u.Path
	if strings.HasPrefix(path, "/v2/") || strings.HasPrefix(path, "/v1/") {
		path = path[3:]
	}
	if path == "/" {
		path = ""
	}
	return u.Host + path, true
}

// hubKey is where Docker Hub's credentials are looked for if nothing else
// matches.
const hubKey = "index.docker.io"

// Lookup lists the credentials for a repository (host/path, without tag) in
// the order in which the kubelet tries them: keys in reverse alphabetical
// order, so that a longer path comes before a shorter one of the same host
// (keyring.go, BasicDockerKeyring.Lookup). Credentials of one key keep the
// order in which they were added.
func (k *Keyring) Lookup(repository string) []Credential {
	keys := make([]string, 0, len(k.byKey))
	for key := range k.byKey {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	var out []Credential
	for _, key := range keys {
		if matches(key, repository) {
			out = append(out, k.byKey[key]...)
		}
	}
	if len(out) == 0 && onDockerHub(repository) {
		out = k.byKey[hubKey]
	}
	return out
}

// matches reports whether a key covers a repository: the same port, the same
// number of name parts, each part by its glob, and a path that is a prefix (of
// the text, not of its segments). These are the rules of matchImages, too
// (keyring.go, URLsMatch).
func matches(key, repository string) bool {
	k, err := url.Parse("https://" + key)
	if err != nil {
		return false
	}
	r, err := url.Parse("https://" + repository)
	if err != nil {
		return false
	}
	keyParts, keyPort := hostParts(k.Host)
	parts, port := hostParts(r.Host)
	if keyPort != port || len(keyParts) != len(parts) || !strings.HasPrefix(r.Path, k.Path) {
		return false
	}
	for i, glob := range keyParts {
		if ok, err := filepath.Match(glob, parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func hostParts(hostport string) (parts []string, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	return strings.Split(host, "."), port
}

// onDockerHub reports whether a repository's first part is no host of its own
// (keyring.go, isDefaultRegistryMatch).
func onDockerHub(repository string) bool {
	first, _, found := strings.Cut(repository, "/")
	switch {
	case first == "":
		return false
	case !found, first == "docker.io", first == "index.docker.io":
		return true
	}
	return !strings.ContainsAny(first, ".:")
}
