package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// TestWrite checks that the same input gives the same index, and that each image has
// an attestation manifest about itself.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	var binaries []string
	for _, arch := range []string{"amd64", "arm64"} {
		binary := filepath.Join(dir, "pullprobe-linux-"+arch)
		for name, text := range map[string]string{binary: "binary for " + arch, binary + ".cdx.json": `{"bomFormat":"CycloneDX"}`} {
			if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		binaries = append(binaries, binary)
	}
	r := release{version: "v1.2.3", revision: "abc", created: time.Unix(1700000000, 0).UTC()}
	first, err := r.write(filepath.Join(dir, "one"), binaries)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := r.write(filepath.Join(dir, "two"), binaries); err != nil || second != first {
		t.Errorf("%v, then %v, %v", first, second, err)
	}

	path, err := layout.FromPath(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	index, err := root.ImageIndex(first)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 4 {
		t.Fatalf("%+v, %v", manifest, err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		image, attestation := manifest.Manifests[2*i], manifest.Manifests[2*i+1]
		if image.ArtifactType != "" || image.Platform.Architecture != arch || attestation.Annotations["vnd.docker.reference.digest"] != image.Digest.String() {
			t.Errorf("%s: %+v, %+v", arch, image, attestation)
		}
		kinds := statements(t, index, attestation.Digest, image.Digest)
		if len(kinds) != 2 || kinds[0] != cycloneDX || kinds[1] != provenance {
			t.Errorf("%s: statements %q", arch, kinds)
		}
	}
}

// TestImageOfDockerfile checks that the image has the files and the entry point of the
// Dockerfile, which `make image` builds.
func TestImageOfDockerfile(t *testing.T) {
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := []string{"FROM scratch", "ARG TARGETARCH"}
	var binaries []string
	for _, name := range []string{"pullprobe", "pullprobe-fleet"} {
		binary := filepath.Join(dir, name+"-linux-arm64")
		if err := os.WriteFile(binary, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		binaries = append(binaries, binary)
	}
	img, err := release{}.image(binaries, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	layer, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(layer)
	for {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("COPY bin/%s-linux-${TARGETARCH} /%[1]s", h.Name))
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, fmt.Sprintf("ENTRYPOINT [%q]", config.Config.Entrypoint[0]))
	var got []string
	for line := range strings.Lines(string(dockerfile)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the image of a release is\n%s\nthe Dockerfile is\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// statements returns the kinds of the statements of an attestation manifest, which must
// be about the image.
func statements(t *testing.T, index v1.ImageIndex, attestation, image v1.Hash) (kinds []string) {
	t.Helper()
	img, err := index.Image(attestation)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var s statement
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Subject) != 1 || s.Subject[0].Digest["sha256"] != image.Hex {
			t.Errorf("%s is about %v, not %v", s.PredicateType, s.Subject, image)
		}
		kinds = append(kinds, s.PredicateType)
	}
	return kinds
}
