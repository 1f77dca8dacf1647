//go:build matrix

package matrix

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pullprobe/pullprobe/lab"
)

// Invalid images. All are random, because containerd does not pull blobs that it has.

// index makes an index of one random image for each platform.
func (s *scene) index(platforms ...string) v1.ImageIndex {
	s.t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		img, err := lab.MakeImage(lab.DefaultDir(), lab.Image{Platform: p})
		must(s.t, err)
		platform, err := v1.ParsePlatform(p)
		must(s.t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index
}

// imageOfLayer makes an image of one layer with this content, valid or not.
func (s *scene) imageOfLayer(content []byte, mediaType types.MediaType) v1.Image {
	s.t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, static.NewLayer(content, mediaType))
	must(s.t, err)
	config, err := img.ConfigFile()
	must(s.t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	img, err = mutate.ConfigFile(img, config)
	must(s.t, err)
	return img
}

// withLayer returns an image with an additional layer.
func (s *scene) withLayer(base v1.Image, content []byte) v1.Image {
	s.t.Helper()
	img, err := mutate.AppendLayers(base, static.NewLayer(content, types.OCIUncompressedLayer))
	must(s.t, err)
	return img
}

// randomTar makes a tar archive with one random file of size bytes.
func (s *scene) randomTar(size int) []byte { return s.randomTarOwnedBy(0, size) }

// randomTarOwnedBy makes a tar archive with one random file that belongs to a user.
func (s *scene) randomTarOwnedBy(uid, size int) []byte {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(s.t, w.WriteHeader(&tar.Header{Name: "file", Uid: uid, Mode: 0o644, Size: int64(size), Typeflag: tar.TypeReg}))
	content := make([]byte, size)
	rand.Read(content)
	_, err := w.Write(content)
	must(s.t, err)
	must(s.t, w.Close())
	return b.Bytes()
}

// wrongDiffID makes an image whose configuration has another diff ID than its layer.
func (s *scene) wrongDiffID() v1.Image {
	s.t.Helper()
	img := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
	config, err := img.ConfigFile()
	must(s.t, err)
	config = config.DeepCopy()
	sum := &config.RootFS.DiffIDs[0]
	sum.Hex = strings.Map(func(c rune) rune { return '0' + (c+1)%8 }, sum.Hex)
	img, err = mutate.ConfigFile(img, config)
	must(s.t, err)
	return img
}
