package credentials

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Keyring holds credentials by the server and path they are for. The zero
// value is ready to use.
type Keyring struct {
	byKey map[string][]Credential
}

// newKeyring returns a keyring that holds the credentials of the list.
func newKeyring(list []Credential) *Keyring {
	k := &Keyring{}
	for _, c := range list {
		k.Add(c)
	}
	return k
}

// Add stores a credential under the key of its server. It ignores a server that
// is not a URL, as the kubelet does (keyring.go, Add).
func (k *Keyring) Add(c Credential) {
	key, ok := keyOf(c.Server)
	if !ok {
		return
	}
	if k.byKey == nil {
		k.byKey = map[string][]Credential{}
	}
	k.byKey[key] = append(k.byKey[key], c)
}

// keyOf returns host and path of a server, without scheme. It drops a leading
// "/v1/" or "/v2/" of the path (keyring.go, Add).
func keyOf(server string) (key string, ok bool) {
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

// dockerHubKey is the key that the kubelet uses for Docker Hub if no other key
// matches.
const dockerHubKey = "index.docker.io"

// Lookup returns the credentials for a repository (host/path, without tag) in
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
		out = k.byKey[dockerHubKey]
	}
	return out
}

// matches reports whether a key covers a repository: the ports are equal, the
// host names have the same number of parts, each part matches its glob, and the
// key's path is a prefix of the repository's (of the text, not of its
// segments). The same rules apply to matchImages (keyring.go, URLsMatch).
func matches(key, repository string) bool {
	k, err := url.Parse("https://" + key)
	if err != nil {
		return false
	}
	r, err := url.Parse("https://" + repository)
	if err != nil {
		return false
	}
	keyParts, keyPort := splitHost(k.Host)
	parts, port := splitHost(r.Host)
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

// splitHost returns the dot-separated parts of a host name, and its port if it
// has one.
func splitHost(hostport string) (parts []string, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	return strings.Split(host, "."), port
}

// onDockerHub reports whether the first part of a repository is not a host name
// of its own (keyring.go, isDefaultRegistryMatch).
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
