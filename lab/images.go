package lab

import (
	"archive/tar"
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image describes an image to make and push. Every image has its own random layer:
// containerd reuses blobs that it has, so it would not pull a shared layer again.
type Image struct {
	Refs     []string // for example "registry.lab/app:1"; the host is ignored, all hosts share one storage
	Size     int      // bytes of the random layer, incompressible; 0: 1 KiB
	Platform string   // "linux/arm64"; empty: linux/amd64
	Index    bool     // wrap the manifest in an index
	Runs     bool     // contains a program that sleeps; without it the image can be pulled but not run
}

// Pushed is the result of a push.
type Pushed struct {
	Digest string // of the manifest, or of the index
	ID     string // of the image: its configuration's digest
}

// firstImages returns the images that the registry has when the lab is up.
func firstImages() []Image {
	return []Image{
		{Refs: []string{"app:1", "private/app:1", "public/app:1"}, Runs: true},
		{Refs: []string{"app:2"}, Runs: true},
		{Refs: []string{"tiny:1"}},
		{Refs: []string{"big:1"}, Size: 100 << 20},
		{Refs: []string{"idx-arm:1"}, Platform: "linux/arm64", Index: true, Runs: true},
		{Refs: []string{"arm:1"}, Platform: "linux/arm64", Runs: true},
		{Refs: []string{"idx:1"}, Index: true, Runs: true},
		{Refs: []string{"same:1", "same:2"}, Runs: true},
		{Refs: []string{"bad:1"}, Size: 1 << 20},
		{Refs: []string{"trunc:1"}, Size: 1 << 20},
		{Refs: []string{"stall:1"}, Size: 1 << 20},
		{Refs: []string{"no:1"}, Size: 1 << 20},
	}
}

// sandboxImage is preloaded into the nodes and pinned there.
const sandboxImage = "registry.lab/pause:1"

// PushImage makes an image and pushes it over infra's loopback.
func (l *Lab) PushImage(ctx context.Context, spec Image) (Pushed, error) {
	img, err := MakeImage(l.dir, spec)
	if err != nil {
		return Pushed{}, err
	}
	return l.push(ctx, spec, img)
}

func (l *Lab) push(ctx context.Context, spec Image, img v1.Image) (Pushed, error) {
	id, err := img.ConfigName()
	if err != nil {
		return Pushed{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return Pushed{}, err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(l.registryTransport())}
	for _, r := range spec.Refs {
		ref, err := name.ParseReference("127.0.0.1:"+registryPort+"/"+withoutRegistry(r), name.Insecure)
		if err != nil {
			return Pushed{}, err
		}
		if !spec.Index {
			if err := remote.Write(ref, img, options...); err != nil {
				return Pushed{}, err
			}
			continue
		}
		index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
			mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: parsePlatform(spec.Platform)}})
		if digest, err = index.Digest(); err != nil {
			return Pushed{}, err
		}
		if err := remote.WriteIndex(ref, index, options...); err != nil {
			return Pushed{}, err
		}
	}
	return Pushed{Digest: digest.String(), ID: id.String()}, nil
}

// withoutRegistry returns a reference without the registry's host. Tag and digest stay.
func withoutRegistry(ref string) string {
	first, rest, ok := strings.Cut(ref, "/")
	if ok && strings.ContainsAny(first, ".:") {
		return rest
	}
	return ref
}

func (l *Lab) registryTransport() http.RoundTripper {
	return &http.Transport{
		DisableKeepAlives: true, // idle connections would leave goroutines in tests
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return l.Dial(ctx, Infra, network, addr)
		},
	}
}

func parsePlatform(s string) *v1.Platform {
	if s == "" {
		s = "linux/amd64"
	}
	p, err := v1.ParsePlatform(s)
	if err != nil {
		panic(err) // callers pass constants
	}
	return p
}

// MakeImage makes an image, without pushing it anywhere.
func MakeImage(d Dir, spec Image) (v1.Image, error) {
	files := []file{{"random", 0o644, randomBytes(max(spec.Size, 1<<10))}}
	if spec.Runs {
		program, err := os.ReadFile(d.Bin("sleeper"))
		if err != nil {
			return nil, err
		}
		if parsePlatform(spec.Platform).Architecture != "amd64" {
			program = asAarch64(program)
		}
		files = append(files, file{"sleeper", 0o755, program})
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, f := range files {
		layer, err := singleFileLayer(f)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	p := parsePlatform(spec.Platform)
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	config.Config.Entrypoint = []string{"/sleeper"}
	config.Config.Env = []string{"PATH=/"}
	return mutate.ConfigFile(img, config)
}

type file struct {
	name string
	mode int64
	data []byte
}

// singleFileLayer returns an uncompressed layer with one file. Compressing random bytes
// takes seconds and saves nothing.
func singleFileLayer(f file) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(f.data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer), nil
}

func randomBytes(n int) []byte {
	var seed [32]byte
	crand.Read(seed[:])
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// asAarch64 returns an executable whose ELF header has the e_machine of aarch64. This
// kernel refuses it with "exec format error", like a real one of another architecture.
func asAarch64(program []byte) []byte {
	const eMachine, aarch64 = 18, 183
	program = bytes.Clone(program)
	binary.LittleEndian.PutUint16(program[eMachine:], aarch64)
	return program
}

// writeArchive writes an image as an OCI archive (a tar of an OCI layout) under the
// name ref.
func writeArchive(w io.Writer, ref string, img v1.Image) error {
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	configName, err := img.ConfigName()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:%q}}]}`,
		types.OCIManifestSchema1, digest, len(manifest), imageNameAnnotation, ref)
	files := []file{
		{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", 0o644, []byte(index)},
		{"blobs/sha256/" + digest.Hex, 0o644, manifest},
		{"blobs/sha256/" + configName.Hex, 0o644, config},
	}
	for _, layer := range layers {
		h, err := layer.Digest()
		if err != nil {
			return err
		}
		r, err := layer.Compressed()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		files = append(files, file{"blobs/sha256/" + h.Hex, 0o644, b})
	}
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return t.Close()
}
