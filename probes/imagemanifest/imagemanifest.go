package imagemanifest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/evidence"
)

// Media types of Docker's formats, as in the OCI ones.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// IsIndex reports whether a media type is that of an index: a list of manifests by platform.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == DockerIndex
}

// IsManifest reports whether a media type is that of the manifest of one image.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == DockerManifest
}

// Choose returns the manifest of an index that containerd would take
// (images.Manifest): the best match, or one without a platform. offered lists the
// platforms of the index.
func Choose(all []ocispec.Descriptor, matcher platforms.MatchComparer) (chosen *ocispec.Descriptor, offered []string) {
	var fit []ocispec.Descriptor
	for _, d := range all {
		if d.Platform == nil || matcher.Match(*d.Platform) {
			fit = append(fit, d)
		}
		if p := d.Platform; p != nil && p.OS != "unknown" && p.Architecture != "unknown" && len(offered) < 16 {
			offered = append(offered, evidence.Word(platforms.Format(*p), 40))
		}
	}
	slices.Sort(offered)
	offered = slices.Compact(offered)
	if len(fit) == 0 {
		return nil, offered
	}
	sort.SliceStable(fit, func(a, b int) bool {
		switch {
		case fit[a].Platform == nil:
			return false
		case fit[b].Platform == nil:
			return true
		}
		return matcher.Less(*fit[a].Platform, *fit[b].Platform)
	})
	return &fit[0], offered
}

// SHA256 returns the digest of a manifest or a config.
func SHA256(body []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(body)) }

// IsDigest reports whether d can be part of a URL: anything else would send the
// request, and the login with it, to another path of the registry.
func IsDigest(d digest.Digest) bool { return digest.DigestRegexpAnchored.MatchString(string(d)) }

// IsSHA256 reports whether a digest is one of SHA-256, which the probes can compare.
func IsSHA256(digest string) bool {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(hex) == sha256.Size*2 && strings.Trim(hex, "0123456789abcdef") == ""
}

// unpackFactor is the size of an unpacked layer by that of the compressed one: a
// rule of thumb from the usual distributions' images (2.5 to 3).
const unpackFactor = 2.7

// uncompressedSize is an annotation of eStargz layers (containerd/stargz-snapshotter).
const uncompressedSize = "io.containers.estargz.uncompressed-size"

// Sizes returns the bytes of the image as it is sent, and about how many its
// layers take unpacked: exact where the manifest has the size, else by the rule of
// thumb. The number of files is unknown.
func Sizes(m ocispec.Manifest) (sent, unpacked int64) {
	sent = max(m.Config.Size, 0)
	for _, l := range m.Layers {
		if l.Size <= 0 || l.Size > math.MaxInt64/1024-sent {
			continue
		}
		sent += l.Size
		size, err := strconv.ParseInt(l.Annotations[uncompressedSize], 10, 64)
		switch {
		case err == nil && size > 0 && size < math.MaxInt64/1024-unpacked:
			unpacked += size
		case strings.HasSuffix(l.MediaType, ".tar"):
			unpacked += l.Size
		default:
			unpacked += int64(unpackFactor * float64(l.Size))
		}
	}
	return sent, unpacked
}

// AtURLs returns the layers that have URLs of their own (foreign layers). Those with an
// invalid digest are left out.
func AtURLs(m ocispec.Manifest) (out []ocispec.Descriptor) {
	for _, l := range m.Layers {
		if len(l.URLs) > 0 && IsDigest(l.Digest) {
			out = append(out, l)
		}
	}
	return out
}

// Unpacked returns how many layers of a manifest the runtime unpacks, by their media types
// (containerd's images.IsLayerType); -1 if a layer may be of a type that only some
// versions know.
func Unpacked(m ocispec.Manifest) int {
	n := 0
	for _, l := range m.Layers {
		base, _, _ := strings.Cut(l.MediaType, "+")
		switch {
		case strings.HasPrefix(base, "application/vnd.oci.image.layer."),
			strings.HasPrefix(base, "application/vnd.docker.image.rootfs.diff."),
			strings.HasPrefix(base, "application/vnd.docker.image.rootfs.foreign.diff."):
			n++
		case strings.Contains(base, "erofs"):
			return -1
		}
	}
	return n
}

// Layers returns the layers that the registry itself stores, each once, the largest
// first; or else the config; none if that has no digest. Those with an invalid digest are
// left out.
func Layers(m ocispec.Manifest) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for _, l := range m.Layers {
		known := slices.ContainsFunc(out, func(have ocispec.Descriptor) bool { return have.Digest == l.Digest })
		if len(l.URLs) == 0 && IsDigest(l.Digest) && !known {
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, b ocispec.Descriptor) int { return cmp.Compare(b.Size, a.Size) })
	if len(out) == 0 && IsDigest(m.Config.Digest) {
		out = append(out, m.Config)
	}
	return out
}
