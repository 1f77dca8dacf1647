package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/manifest"
	"github.com/pullprobe/pullprobe/report/readable"
)

// subject is one image to check.
type subject struct {
	manifest.Image          // of the first container that names it
	origin         []string // the places in manifests that name it
}

// examined returns how the image is examined.
func (s *subject) examined(auth []credentials.SecretLookup) examine.Subject {
	out := examine.Subject{
		Image: s.Name, Failing: true,
		Secrets: func(context.Context) []credentials.SecretLookup { return auth },
	}
	if s.Policy == corev1.PullNever {
		out.Failing, out.NoPull = false, examine.NoPullPolicyNever
	}
	return out
}

// images returns the images of the arguments, then those of the manifests, each once.
func (o *checkOptions) images(args []string, stdin io.Reader) (out []*subject, err error) {
	for _, name := range args {
		out = append(out, &subject{Image: manifest.Image{Name: name}})
	}
	for _, file := range o.manifests {
		images, err := readManifest(file, stdin)
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			if err := examine.ValidPlatform(i.Platform); err != nil {
				return nil, fmt.Errorf("%s: %s: node selector: %w", file, i.Owner, err)
			}
			same := func(s *subject) bool {
				return len(s.origin) > 0 && s.Name == i.Name && s.Platform == i.Platform && s.Policy == i.Policy
			}
			if n := slices.IndexFunc(out, same); n >= 0 {
				out[n].origin = append(out[n].origin, origin(file, i))
				continue
			}
			out = append(out, &subject{i, []string{origin(file, i)}})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("missing IMAGE, or -f with a file of manifests; see pullprobe check --help")
	}
	return out, nil
}

// readManifest returns the images of a file.
func readManifest(file string, stdin io.Reader) ([]manifest.Image, error) {
	in, name := stdin, "standard input"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--filename: %w", err)
		}
		defer f.Close()
		in, name = f, file
	}
	images, err := manifest.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, readable.Clean(err.Error(), 400))
	}
	return images, nil
}

// origin names the place of an image, and a pull policy with which the kubelet may not
// pull at all.
func origin(file string, i manifest.Image) string {
	text := i.Owner + ", container " + i.Container
	if i.Volume != "" {
		text += ", volume " + i.Volume
	}
	switch i.Policy {
	case corev1.PullAlways:
	case corev1.PullNever:
		text += " (pull policy Never: the kubelet does not pull it)"
	case corev1.PullIfNotPresent:
		text += " (pull policy IfNotPresent: not pulled where it is present)"
	}
	if i.Platform != "" {
		text += " for " + i.Platform
	}
	if file != "-" {
		text = file + ": " + text
	}
	return readable.Clean(text, 400)
}
