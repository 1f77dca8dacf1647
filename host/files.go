package host

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// maxFiles limits the files of one configuration.
const maxFiles = 64

// Files is a file system with configuration files.
type Files interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}

// Glob is filepath.Glob under root. Directories that cannot be read match nothing. If
// this process lacks the permission, Glob returns the error: the owner of the
// configuration may have it.
func Glob(root Files, pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, err
	}
	found, meta := []string{"/"}, false
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		if meta = meta || strings.ContainsAny(part, `*?[\`); !meta {
			found[0] = path.Join(found[0], part)
			continue
		}
		var next []string
		for _, dir := range found {
			entries, err := root.ReadDir(dir)
			if errors.Is(err, fs.ErrPermission) {
				return nil, err
			}
			for _, e := range entries {
				if ok, _ := path.Match(part, e.Name()); ok && len(next) < maxFiles {
					next = append(next, path.Join(dir, e.Name()))
				}
			}
		}
		found = next
	}
	return found, nil
}
