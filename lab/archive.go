package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// imageNameAnnotation is the annotation from which containerd's importer reads an image's
// full name (containerd, core/images/annotations.go).
const imageNameAnnotation = "io.containerd.image.name"

// LoadImage imports an OCI archive into containerd of every node, also of those that are
// added later. The kubelet sees the image under the name ref.
func (l *Lab) LoadImage(ctx context.Context, archive, ref string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	var named bytes.Buffer
	if err := renameArchive(&named, f, ref); err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	if err := l.keepArchive(ref, named.Bytes()); err != nil {
		return err
	}
	var g errgroup.Group
	for _, n := range l.NodeNames() {
		g.Go(func() error { return l.importArchive(ctx, n, named.Bytes()) })
	}
	return g.Wait()
}

// keepArchive keeps an archive for the nodes that start later.
func (l *Lab) keepArchive(ref string, archive []byte) error {
	if err := os.MkdirAll(l.dir.Run("images"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.dir.Run("images", url.PathEscape(ref)+".tar"), archive, 0o644)
}

// importKept imports all kept archives into a node.
func (l *Lab) importKept(ctx context.Context, node string) error {
	kept, err := filepath.Glob(l.dir.Run("images", "*.tar"))
	if err != nil {
		return err
	}
	for _, path := range kept {
		archive, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := l.importArchive(ctx, node, archive); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) importArchive(ctx context.Context, node string, archive []byte) error {
	layout, err := layoutOf(node)
	if err != nil {
		return err
	}
	_, err = l.execInput(ctx, node, bytes.NewReader(archive),
		"ctr", "--address", layout.socket, "--namespace", "k8s.io", "images", "import", "-")
	return err
}

// renameArchive copies an OCI archive and gives its only image the name ref.
func renameArchive(w io.Writer, r io.Reader, ref string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	seen := false
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch path.Clean(h.Name) {
		case "manifest.json", "repositories":
			continue // an archive may be in Docker's format too; these files hold the old name
		case "index.json":
			b, err := io.ReadAll(in)
			if err != nil {
				return err
			}
			if b, err = renameIndex(b, ref); err != nil {
				return err
			}
			seen = true
			h.Size = int64(len(b))
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			if _, err := out.Write(b); err != nil {
				return err
			}
		default:
			if err := out.WriteHeader(h); err != nil {
				return err
			}
			if _, err := io.Copy(out, in); err != nil {
				return err
			}
		}
	}
	if !seen {
		return errors.New("not an OCI archive: it has no index.json")
	}
	return out.Close()
}

func renameIndex(b []byte, ref string) ([]byte, error) {
	var index map[string]any
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	manifests, _ := index["manifests"].([]any)
	if len(manifests) != 1 {
		return nil, fmt.Errorf("index.json has %d images, want one", len(manifests))
	}
	manifest, ok := manifests[0].(map[string]any)
	if !ok {
		return nil, errors.New("index.json: the manifest is not an object")
	}
	manifest["annotations"] = map[string]string{imageNameAnnotation: ref}
	return json.Marshal(index)
}
