package lab

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func readTar(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenamedArchiveIsTheSameImageUnderAnotherName(t *testing.T) {
	img, err := MakeImage(Dir(t.TempDir()), Image{Platform: "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil || config.Architecture != "arm64" {
		t.Errorf("config: %+v, %v", config, err)
	}
	var first, second bytes.Buffer
	if err := writeArchive(&first, "registry.lab/old:1", img); err != nil {
		t.Fatal(err)
	}
	if err := renameArchive(&second, bytes.NewReader(first.Bytes()), "registry.lab/new:2"); err != nil {
		t.Fatal(err)
	}
	before, after := readTar(t, first.Bytes()), readTar(t, second.Bytes())
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(after["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest.String() ||
		index.Manifests[0].Annotations[imageNameAnnotation] != "registry.lab/new:2" {
		t.Errorf("index: %s", after["index.json"])
	}
	for name, b := range before {
		if name != "index.json" && !bytes.Equal(b, after[name]) {
			t.Errorf("%s changed", name)
		}
	}
}

func TestNoOCIArchiveIsAnError(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Size: 2, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("[]")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	err := renameArchive(io.Discard, &b, "x:1")
	if err == nil || !strings.Contains(err.Error(), "index.json") {
		t.Errorf("got %v", err)
	}
}

func FuzzRenameIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00"}]}`))
	f.Add([]byte(`{"manifests":[1]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := renameIndex(b, "registry.lab/x:1")
		if err == nil && !bytes.Contains(out, []byte(imageNameAnnotation)) {
			t.Errorf("%s became %s", b, out)
		}
	})
}

func TestEveryImageIsUnique(t *testing.T) {
	digests := map[string]bool{}
	for range 3 {
		img, err := MakeImage(Dir(t.TempDir()), Image{})
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		d, err := layers[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		if digests[d.String()] {
			t.Error("the same layer twice: containerd would not pull it again")
		}
		digests[d.String()] = true
	}
}

func TestRepositoryStripsTheHost(t *testing.T) {
	for ref, want := range map[string]string{
		"registry.lab/app:1":          "app:1",
		"token.lab:443/private/app:1": "private/app:1",
		"private/app:1":               "private/app:1",
		"app:1":                       "app:1",
	} {
		if got := withoutRegistry(ref); got != want {
			t.Errorf("repository(%q) = %q, want %q", ref, got, want)
		}
	}
}
