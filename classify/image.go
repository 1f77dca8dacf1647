package classify

import (
	"regexp"
	"strings"

	"github.com/pullprobe/pullprobe/report"
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

// imageName matches a name of a registry, a repository, and a tag or a digest, as the
// kubelet accepts them. It is not exact: what is not valid matches too.
var imageName = regexp.MustCompile(`^(?:([A-Za-z0-9-]*[.:][A-Za-z0-9.:-]*|localhost)/)?` +
	`([a-z0-9][a-z0-9._/-]*)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?$`)

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
		return Image{Registry: report.Clean(m[1], 260), Repository: report.Clean(m[2], 255), Reference: report.Clean(m[3], 200)}
	}
	return Image{}
}

// readImage reads the name of an image. A name without a registry is one of Docker Hub.
func readImage(name string) (Image, bool) {
	m := imageName.FindStringSubmatch(name)
	if m == nil {
		return Image{}, false
	}
	i := Image{Registry: m[1], Repository: m[2], Reference: m[3]}
	if m[4] != "" {
		i.Reference = m[4]
	}
	if i.Registry == "" {
		i.Registry = "docker.io"
	}
	if i.Registry == "docker.io" && !strings.Contains(i.Repository, "/") {
		i.Repository = "library/" + i.Repository
	}
	return i, true
}
