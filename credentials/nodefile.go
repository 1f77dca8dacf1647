package credentials

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"
)

// nodeFileCache is how long the kubelet goes on with what it read of a docker
// configuration file, also when it found none (provider.go,
// NewDefaultDockerKeyring).
const nodeFileCache = 5 * time.Minute

// defaultRootDir is where the kubelet keeps its files (cmd/kubelet/app/options).
const defaultRootDir = "/var/lib/kubelet"

// NodeFile is the docker configuration file of the node that the kubelet
// takes. Its credentials are tried after those of the pod's secrets.
type NodeFile struct {
	Path        string // empty: there is none
	Unread      string // a file that this process may not read, so that which one the kubelet takes is not known
	Modified    time.Time
	Credentials []Credential
	Note        string   // what of it the kubelet leaves out
	Passed      []string // files before it that cannot be used, with the reason
	Places      []string // where the kubelet looks, in its order
}

// DockerConfig finds the docker configuration file as the kubelet does
// (config.go, ReadDockerConfigFile): the first one that can be decoded, and
// that alone, even if it has nothing for the image. It looks into --root-dir,
// its working directory, $HOME/.docker and /.docker for config.json, then into
// the same places (home and root themselves) for the legacy .dockercfg.
// A service without HOME looks for $HOME's below its working directory.
func (k Kubelet) DockerConfig() NodeFile {
	root, given := k.flag("root-dir")
	if !given {
		root = defaultRootDir
	}
	home := k.getenv("HOME")
	var f NodeFile
	look := func(dir, name string, decode func([]byte) error) bool {
		file := k.abs(path.Join(dir, name))
		if slices.Contains(f.Places, file) {
			return false
		}
		f.Places = append(f.Places, file)
		data, err := k.Files.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if errors.Is(err, fs.ErrPermission) { // the kubelet, being root, reads it
			f.Unread = file
			return true
		}
		if err == nil {
			err = decode(data)
		}
		if err != nil {
			f.Passed = append(f.Passed, file+": "+fileProblem(err))
			return false
		}
		f.Path = file
		if info, err := k.Files.Stat(file); err == nil {
			f.Modified = info.ModTime()
		}
		return true
	}

	var auths map[string]entry
	for _, dir := range []string{root, "", path.Join(home, ".docker"), "/.docker"} {
		var file struct {
			configJSON
			CredsStore  json.RawMessage `json:"credsStore"`
			CredHelpers json.RawMessage `json:"credHelpers"`
		}
		if look(dir, "config.json", func(b []byte) error { return json.Unmarshal(b, &file) }) {
			auths = file.Auths // none of one that cannot be read
			if len(file.CredsStore) > 0 || len(file.CredHelpers) > 0 {
				f.Note = "the kubelet ignores its credsStore and credHelpers"
			}
			break
		}
	}
	for _, dir := range []string{root, "", home, "/"} {
		if f.Path != "" || f.Unread != "" {
			break
		}
		look(dir, ".dockercfg", func(b []byte) error { auths = nil; return json.Unmarshal(b, &auths) })
	}
	if f.Path != "" {
		f.Credentials = listed(auths, "node file "+f.Path)
	}
	return f
}

// fileProblem says why a file cannot be used, quoting nothing of it.
func fileProblem(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return describeJSON(err)
}
