package classify

import (
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/pullprobe/pullprobe/report/readable"
)

// Image is the image that a message names.
type Image struct {
	Registry   string // the host, with its port if the message has one
	Repository string
	Reference  string // the tag or the digest; empty: the message has none
}

// imageNames match the image in a message, the surest first: quoted by the kubelet or
// containerd, unquoted by containerd ("failed to resolve image: NAME: not found"), or
// after the transport of CRI-O.
var imageNames = []*regexp.Regexp{
	regexp.MustCompile(`(?:image|reference|ref) "([^"\s]{1,512})"`),
	regexp.MustCompile(`resolve (?:image|reference): (\S{1,512}): `),
	regexp.MustCompile(`docker://(\S{1,512}?):(?:\s|$)`),
}

// manifestURL matches the request for a manifest. A request to a mirror names the
// registry as ns=.
var manifestURL = regexp.MustCompile(`https?://([^\s/"@]{1,260})/v2/([^\s"?]{1,255})/manifests/([^\s":?]{1,128}(?::[0-9a-f]{64})?)(\?ns=)?`)

// manifestIn matches what containers/image says of a manifest (CRI-O).
var manifestIn = regexp.MustCompile(`reading manifest ([\w.:-]{1,200}) in (\S{1,512}?):(?:\s|$)`)

// imageIn returns the image that a message names; the zero Image if it names none.
func imageIn(text string) Image {
	for _, pattern := range imageNames {
		for _, found := range pattern.FindAllStringSubmatch(text, -1) {
			if i, ok := readImage(found[1]); ok {
				return i
			}
		}
	}
	if m := manifestIn.FindStringSubmatch(text); m != nil {
		if i, ok := readImage(strings.TrimPrefix(m[2], "docker://")); ok {
			i.Reference = m[1]
			return i
		}
	}
	if m := manifestURL.FindStringSubmatch(text); m != nil && m[4] == "" {
		return Image{Registry: readable.Clean(m[1], 260), Repository: readable.Clean(m[2], 255), Reference: readable.Clean(m[3], 200)}
	}
	return Image{}
}

// readImage reads the name of an image. A name without a registry is one of Docker Hub.
func readImage(name string) (Image, bool) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Image{}, false
	}
	i := Image{Registry: reference.Domain(named), Repository: reference.Path(named)}
	if t, ok := named.(reference.Tagged); ok {
		i.Reference = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		i.Reference = d.Digest().String()
	}
	return i, true
}
