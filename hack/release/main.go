// Release writes the image of a release as an OCI layout: an index with an image for
// each architecture, and for each image an attestation manifest with its SBOM and its
// provenance. It prints the digest of the index. The same input gives the same bytes.
//
// Attestations are stored as BuildKit stores them, so that they are copied with the
// index to any registry:
// https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const source = "https://github.com/pullprobe/pullprobe"

// release is what all images of a release share.
type release struct {
	version  string
	revision string    // the commit; empty: unknown
	created  time.Time // of the commit
}

func main() {
	var r release
	epoch := flag.Int64("epoch", 0, "time of the commit, in seconds since 1970")
	out := flag.String("out", "", "directory of the layout; it must not exist")
	flag.StringVar(&r.version, "version", "", "version, such as v0.2.0")
	flag.StringVar(&r.revision, "revision", "", "the commit")
	flag.Parse()
	r.created = time.Unix(*epoch, 0).UTC()
	digest, err := r.write(*out, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
	fmt.Println(digest)
}

// write writes the layout. The binaries are named NAME-linux-ARCH, and beside each is
// its SBOM, NAME-linux-ARCH.cdx.json.
func (r release) write(dir string, binaries []string) (v1.Hash, error) {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	if r.version == "" || dir == "" || len(binaries) == 0 {
		return v1.Hash{}, errors.New("usage: release -version V -out DIR BINARY-linux-ARCH...")
	}
	var archs []string
	of := map[string][]string{}
	for _, binary := range binaries {
		_, arch, ok := strings.Cut(filepath.Base(binary), "-linux-")
		if !ok {
			return v1.Hash{}, fmt.Errorf("%s: the name must end in -linux-ARCH", binary)
		}
		if of[arch] == nil {
			archs = append(archs, arch)
		}
		of[arch] = append(of[arch], binary)
	}
	for _, arch := range archs {
		img, err := r.image(of[arch], arch)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("image for %s: %w", arch, err)
		}
		att, of, err := r.attestation(img, of[arch], arch)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("attestations for %s: %w", arch, err)
		}
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}},
			mutate.IndexAddendum{Add: att, Descriptor: v1.Descriptor{
				Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
				Annotations: map[string]string{
					"vnd.docker.reference.type":   "attestation-manifest",
					"vnd.docker.reference.digest": of.String(),
				},
			}})
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// image returns the image of the Dockerfile: the binaries, and nothing else.
func (r release) image(binaries []string, arch string) (v1.Image, error) {
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	for _, binary := range binaries {
		content, err := os.ReadFile(binary)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(filepath.Base(binary), "-linux-")
		header := tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), ModTime: r.created, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9),
	)
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: v1.Time{Time: r.created},
		Config: v1.Config{
			Entrypoint: []string{"/pullprobe"},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "pullprobe",
				"org.opencontainers.image.source":   source,
				"org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.version":  r.version,
				"org.opencontainers.image.revision": r.revision,
			},
		},
	}
	return assemble(config, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "make release"}})
}

// image is an image whose descriptor in an index has no artifactType: that is for
// artifacts, and the library would set it to the media type of the configuration.
type image struct{ v1.Image }

func (image) ArtifactType() (string, error) { return "", nil }

// assemble returns an OCI image with this configuration and these layers.
func assemble(config *v1.ConfigFile, layers ...mutate.Addendum) (v1.Image, error) {
	config.RootFS.Type = "layers"
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, config)
	if err != nil {
		return nil, err
	}
	img, err = mutate.Append(img, layers...)
	return image{img}, err
}

// statement is an in-toto statement: https://in-toto.io/Statement/v1
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     any       `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

const (
	cycloneDX  = "https://cyclonedx.org/bom"
	provenance = "https://slsa.dev/provenance/v1"
)

// attestation returns the attestation manifest of an image, and the image's digest.
func (r release) attestation(img v1.Image, binaries []string, arch string) (v1.Image, v1.Hash, error) {
	type predicate struct {
		kind      string
		predicate any
	}
	of, err := img.Digest()
	if err != nil {
		return nil, of, err
	}
	var predicates []predicate
	for _, binary := range binaries {
		sbom, err := os.ReadFile(binary + ".cdx.json")
		if err != nil {
			return nil, of, err
		}
		predicates = append(predicates, predicate{cycloneDX, json.RawMessage(sbom)})
	}
	var layers []mutate.Addendum
	for _, p := range append(predicates, predicate{provenance, r.provenance(arch)}) {
		text, err := json.Marshal(statement{
			Type: "https://in-toto.io/Statement/v1", PredicateType: p.kind, Predicate: p.predicate,
			Subject: []subject{{Name: "pullprobe", Digest: map[string]string{of.Algorithm: of.Hex}}},
		})
		if err != nil {
			return nil, of, err
		}
		layers = append(layers, mutate.Addendum{
			Layer:       static.NewLayer(text, "application/vnd.in-toto+json"),
			Annotations: map[string]string{"in-toto.io/predicate-type": p.kind},
		})
	}
	att, err := assemble(&v1.ConfigFile{OS: "unknown", Architecture: "unknown"}, layers...)
	return att, of, err
}

// provenance returns the predicate: https://slsa.dev/spec/v1.0/provenance
// It says from what the image was built, and how. Who built it is not in it, because
// everyone gets the same bytes: that is in the certificate of the signature.
func (r release) provenance(arch string) any {
	type object = map[string]any
	dependency := object{"uri": "git+" + source + "@refs/tags/" + r.version}
	if r.revision != "" {
		dependency["digest"] = object{"gitCommit": r.revision}
	}
	return object{
		"buildDefinition": object{
			"buildType":            source + "/blob/main/docs/releases.md#how-a-release-is-built",
			"externalParameters":   object{"target": "release", "VERSION": r.version, "GOARCH": arch},
			"resolvedDependencies": []object{dependency},
		},
		"runDetails": object{"builder": object{"id": source + "/blob/" + r.version + "/Makefile"}},
	}
}
