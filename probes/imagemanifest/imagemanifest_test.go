package imagemanifest

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestSizes(t *testing.T) {
	const gzipped, plain = ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayer
	known := map[string]string{uncompressedSize: "5000"}
	for _, tt := range []struct {
		name           string
		layers         []ocispec.Descriptor
		sent, unpacked int64
	}{
		{"none", nil, 10, 0},
		{"compressed", []ocispec.Descriptor{{MediaType: gzipped, Size: 1000}, {MediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", Size: 1000}}, 2010, 5400},
		{"as they are", []ocispec.Descriptor{{MediaType: plain, Size: 1000}, {MediaType: "application/vnd.docker.image.rootfs.diff.tar", Size: 1000}}, 2010, 2000},
		{"known", []ocispec.Descriptor{{MediaType: gzipped, Size: 1000, Annotations: known}}, 1010, 5000},
		{"nonsense", []ocispec.Descriptor{{MediaType: gzipped, Size: -5}, {MediaType: gzipped, Size: 1 << 62}, {MediaType: gzipped, Size: 1, Annotations: map[string]string{uncompressedSize: "-9"}}}, 11, 2},
	} {
		sent, unpacked := Sizes(ocispec.Manifest{Config: ocispec.Descriptor{Size: 10}, Layers: tt.layers})
		if sent != tt.sent || unpacked != tt.unpacked {
			t.Errorf("%s: %d and %d, want %d and %d", tt.name, sent, unpacked, tt.sent, tt.unpacked)
		}
	}
}
