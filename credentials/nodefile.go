package credentials

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"
)

// nodeFileTTL is how long the kubelet reuses what it read of a docker config
// file. It also reuses for so long that there was none (provider.go,
// NewDefaultDockerKeyring).
const nodeFileTTL = 5 * time.Minute

// defaultRootDir is the default of --root-dir (cmd/kubelet/app/options).
const defaultRootDir = "/var/lib/kubelet"

// NodeFile is the docker config file of the node that the kubelet uses. Its
// credentials are tried after those of the pod's secrets.
type NodeFile struct {
	Path         string // empty: there is none
	NotPermitted string // a file that only the kubelet may read, so that the file it uses is unknown
	Modified     time.Time
	Credentials  []Credential
	Note         string   // fields that the kubelet ignores, as a sentence
	Invalid      []string // earlier files that are not valid, with the reason
	Searched     []string // the paths that the kubelet tries, in its order
}

// DockerConfig finds the node's docker config file as the kubelet does
// (config.go, ReadDockerConfigFile): the first one that can be decoded, and
// only that one, even if it has nothing for the image. The kubelet searches
// --root-dir, its working directory, $HOME/.docker and /.docker for
// config.json, then --root-dir, its working directory, $HOME and / for the
// legacy .dockercfg. Without HOME, as in most services, the kubelet searches
// below its working directory instead.
func (k Kubelet) DockerConfig() NodeFile {
	root, given := k.flag(flagRootDir)
	if !given {
		root = defaultRootDir
	}
	home := k.getenv("HOME")
	var f NodeFile
	var auths map[string]entry
	for _, dir := range []string{root, "", path.Join(home, ".docker"), "/.docker"} {
		var file struct {
			configJSON
			CredsStore  json.RawMessage `json:"credsStore"`
			CredHelpers json.RawMessage `json:"credHelpers"`
		}
		decode := func(b []byte) error { return json.Unmarshal(b, &file) }
		if f.try(k, path.Join(dir, "config.json"), decode) {
			auths = file.Auths // none of a file that cannot be read
			if len(file.CredsStore) > 0 || len(file.CredHelpers) > 0 {
				f.Note = "the kubelet ignores its credsStore and credHelpers"
			}
			break
		}
	}
	for _, dir := range []string{root, "", home, "/"} {
		if f.Path != "" || f.NotPermitted != "" {
			break
		}
		f.try(k, path.Join(dir, ".dockercfg"), func(b []byte) error {
			auths = nil
			return json.Unmarshal(b, &auths)
		})
	}
	if f.Path != "" {
		f.Credentials = credentialsOf(auths, "node file "+f.Path)
	}
	return f
}

// try reads and decodes one file. It reports whether the search ends with it:
// the kubelet uses it, or this process may not read it.
func (f *NodeFile) try(k Kubelet, name string, decode func([]byte) error) (found bool) {
	name = k.abs(name)
	if slices.Contains(f.Searched, name) {
		return false
	}
	f.Searched = append(f.Searched, name)
	data, err := k.Files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if errors.Is(err, fs.ErrPermission) { // the kubelet, being root, reads it
		f.NotPermitted = name
		return true
	}
	if err == nil {
		err = decode(data)
	}
	if err != nil {
		f.Invalid = append(f.Invalid, name+": "+describeFileError(err))
		return false
	}
	f.Path = name
	if info, err := k.Files.Stat(name); err == nil {
		f.Modified = info.ModTime()
	}
	return true
}

// describeFileError explains why a file cannot be used, without quoting it.
func describeFileError(err error) string {
	if bad, ok := errors.AsType[*fs.PathError](err); ok {
		return bad.Err.Error()
	}
	return describeJSONError(err)
}
