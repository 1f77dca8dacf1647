package lab

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// computeStamp returns a hash of what a target is built from: compiler, flags, go.mod,
// go.sum (or those of another name) and sources. It does not read modules, which go.sum pins.
func (t target) computeStamp(src, goVersion string) (string, error) {
	module := filepath.Join(src, t.dir, strings.TrimSuffix(cmp.Or(t.module, "go.mod"), ".mod"))
	files := []string{module + ".mod", module + ".sum"}
	for _, glob := range t.sources {
		found, err := filepath.Glob(filepath.Join(src, glob))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	slices.Sort(files)

	h := sha256.New()
	fmt.Fprintf(h, "%q\n", []any{goVersion, buildFlags, t.packages, t.tags, t.ldflags, t.cgo, t.binaries, t.links})
	for _, f := range files {
		if err := hashFile(h, f); err != nil {
			return "", fmt.Errorf("stamp of %s: %w", t.name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile writes name, size and content, so that no two sets of files hash alike.
func hashFile(w io.Writer, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%q %d\n%s", filepath.Base(path), len(b), b)
	return err
}
