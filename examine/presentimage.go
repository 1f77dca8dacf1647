package examine

import (
	"cmp"
	"strings"

	"github.com/containerd/platforms"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// presentImage returns the check "local/HOST/image": the image itself, as the node has it. It
// fails if this node cannot run it. The zero check stands for an image that is not there.
func presentImage(ref reference.Ref, image cri.Image, platform string, files runtimeconfig.Files) report.Check {
	if image.ID == "" {
		return report.Check{}
	}
	id, digest := readable.Clean(image.ID, 80), digestIn(image, ref.Domain+"/"+ref.Path)
	c := report.Check{
		ID:      report.LocalImageID(ref.Domain),
		Kind:    report.KindImage,
		Host:    ref.Domain,
		Target:  ref.String(),
		Outcome: report.Pass,
		Summary: "the image is on the node (" + cmp.Or(digest, id) + ", " + readable.Bytes(image.Size) + ")",
	}
	c.Evidence = map[string]string{report.KeyImageID: id}
	if digest != "" {
		c.Evidence[report.KeyDigest] = digest
	}
	has, err := platforms.Parse(image.Platform)
	if image.Platform == "" || err != nil {
		return c
	}
	wanted := wantedPlatform(platform)
	c.Evidence[report.KeyPlatform], c.Evidence[report.KeyWanted] = readable.Clean(platforms.Format(has), 60), platforms.Format(wanted)
	switch same := has.OS == wanted.OS && has.Architecture == wanted.Architecture; {
	case same, platforms.Only(wanted).Match(has), has.Architecture == "wasm":
	case files != nil && registry.Emulates(files, has.Architecture):
		c.Evidence[report.KeyEmulated] = report.True
	default:
		c.Outcome, c.Cause = report.Fail, report.PlatformMismatch
		c.Summary = ref.String() + " on this node is built for " + c.Evidence[report.KeyPlatform] +
			", this node is " + c.Evidence[report.KeyWanted]
	}
	return c
}

// wantedPlatform returns the platform that images must be for; empty: this machine's.
func wantedPlatform(platform string) platforms.Platform {
	if p, err := platforms.Parse(platform); platform != "" && err == nil {
		return p
	}
	return platforms.DefaultSpec()
}

// digestIn returns the digest by which an image has a name in a repository; empty if it has
// none.
func digestIn(image cri.Image, repository string) string {
	for _, name := range image.Digests {
		if digest, ok := strings.CutPrefix(name, repository+"@"); ok {
			return readable.Clean(digest, 100)
		}
	}
	return ""
}
