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

// Images that are not as they should be. All are random: containerd keeps the
// blobs that it has.

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

// ofLayer is an image of one layer with this content, whatever it is.
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

// onTop is an image with one layer more.
func (s *scene) withLayer(base v1.Image, content []byte) v1.Image {
	s.t.Helper()
	img, err := mutate.AppendLayers(base, static.NewLayer(content, types.OCIUncompressedLayer))
	must(s.t, err)
	return img
}

// tarred is a tar archive with one random file of so many bytes.
func (s *scene) randomTar(size int) []byte { return s.randomTarOwnedBy(0, size) }

// tarredFor is one whose file belongs to a certain user.
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

// wrongDiffID is an image whose configuration names another content than its
// layer has.
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
