package cri

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is one image in the runtime's store. The ID is the digest of its
// configuration. Several names may have the same ID.
type Image struct {
	ID      string   // "sha256:…"
	Tags    []string // "registry/repository:tag"
	Digests []string // "registry/repository@sha256:…"
	Size    int64    // bytes, as the runtime counts them (containerd: compressed)
	Pinned  bool     // never garbage collected: the sandbox image

	// Platform is that of the configuration, os/arch[/variant]; empty if the runtime does not
	// report it. Only [Client.ImageDetails] fills it in.
	Platform string
}

// Container is one container that the runtime knows, running or not.
type Container struct {
	ID       string
	Name     string
	Created  time.Time
	ImageID  string   // empty from runtimes older than CRI 1.29
	ImageRef string   // digested reference, or the ID again (containerd)
	Image    string   // reference that it was created from, as resolved by the kubelet
	Asked    string   // reference in the pod's spec, if the runtime kept it
	Volumes  []string // images mounted as volumes; filled by [Client.ContainersUsing] only
}

// Images lists the images in the runtime's store.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	r, err := c.image.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	out := make([]Image, 0, len(r.GetImages()))
	for _, i := range r.GetImages() {
		out = append(out, imageOf(i))
	}
	return out, nil
}

// LargestOf returns the size of the largest image of a repository ("registry/repository");
// 0 if there is none. CRI does not list layers: an image of the same repository may have
// up to that of them.
func LargestOf(images []Image, repository string) (largest int64) {
	for _, img := range images {
		for _, name := range slices.Concat(img.Tags, img.Digests) {
			rest, ok := strings.CutPrefix(name, repository)
			if ok && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "@")) {
				largest = max(largest, img.Size)
			}
		}
	}
	return largest
}

// ImageStatus finds ref in the runtime's store: a name or an ID, resolved as the
// runtime would. The second result reports whether it exists.
func (c *Client) ImageStatus(ctx context.Context, ref string) (Image, bool, error) {
	return c.ImageStatusFor(ctx, ref, nil)
}

// ImageStatusFor is ImageStatus for the images of a pod, where the runtime distinguishes
// them. Pod may be nil.
func (c *Client) ImageStatusFor(ctx context.Context, ref string, pod *Pod) (Image, bool, error) {
	r, err := c.image.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: pod.spec(ref)})
	if err != nil || r.GetImage() == nil {
		return Image{}, false, err
	}
	return imageOf(r.GetImage()), true, nil
}

// ImageDetails is ImageStatusFor with what the runtime adds for debugging.
func (c *Client) ImageDetails(ctx context.Context, ref string, pod *Pod) (Image, bool, error) {
	r, err := c.image.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: pod.spec(ref), Verbose: true})
	if err != nil || r.GetImage() == nil {
		return Image{}, false, err
	}
	image := imageOf(r.GetImage())
	image.Platform = platformOf(r.GetInfo()["info"])
	return image, true, nil
}

// platformOf returns the platform in what containerd reports of an image, a JSON object whose
// imageSpec is the image's configuration (internal/cri/server/images, image_status.go); empty
// if it is not there.
func platformOf(info string) string {
	var verbose struct {
		ImageSpec struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
			Variant      string `json:"variant"`
		} `json:"imageSpec"`
	}
	if json.Unmarshal([]byte(info), &verbose) != nil {
		return ""
	}
	spec := verbose.ImageSpec
	if spec.OS == "" || spec.Architecture == "" {
		return ""
	}
	return strings.TrimSuffix(spec.OS+"/"+spec.Architecture+"/"+spec.Variant, "/")
}

func imageOf(i *runtimeapi.Image) Image {
	return Image{
		ID:      i.GetId(),
		Tags:    slices.Clone(i.GetRepoTags()),
		Digests: slices.Clone(i.GetRepoDigests()),
		Size:    int64(min(i.GetSize(), 1<<62)),
		Pinned:  i.GetPinned(),
	}
}

// Containers lists every container, whatever its state. A container that has
// exited still needs its image until the kubelet removes it.
func (c *Client) Containers(ctx context.Context) ([]Container, error) {
	r, err := c.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	out := make([]Container, 0, len(r.GetContainers()))
	for _, k := range r.GetContainers() {
		out = append(out, Container{
			ID:       k.GetId(),
			Name:     k.GetMetadata().GetName(),
			Created:  time.Unix(0, k.GetCreatedAt()),
			ImageID:  k.GetImageId(),
			ImageRef: k.GetImageRef(),
			Image:    k.GetImage().GetImage(),
			Asked:    k.GetImage().GetUserSpecifiedImage(),
		})
	}
	return out, nil
}

// ContainersUsing lists the containers that use img, as their own image or as an
// image volume. No list of the CRI has the volumes, so the status of every container
// that was created at or after since is read. Older ones cannot use an image that
// arrived at that time.
func (c *Client) ContainersUsing(ctx context.Context, img Image, since time.Time) ([]Container, error) {
	all, err := c.Containers(ctx)
	if err != nil {
		return nil, err
	}
	var out []Container
	for _, k := range all {
		if !k.Uses(img) && !k.Created.Before(since) {
			if k.Volumes, err = c.volumes(ctx, k.ID); err != nil {
				return nil, err
			}
		}
		if k.Uses(img) {
			out = append(out, k)
		}
	}
	return out, nil
}

func (c *Client) volumes(ctx context.Context, id string) ([]string, error) {
	r, err := c.runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if isNotFound(err) {
		return nil, nil // removed since it was listed
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range r.GetStatus().GetMounts() {
		if ref := m.GetImage().GetImage(); ref != "" {
			out = append(out, ref)
		}
	}
	return out, nil
}

// Uses reports whether k was created from img or mounts it. Runtimes differ in which
// of the fields they set, and to what, so any of them counts.
func (k Container) Uses(img Image) bool {
	for _, ref := range append([]string{k.ImageID, k.ImageRef, k.Image, k.Asked}, k.Volumes...) {
		if img.named(ref) {
			return true
		}
	}
	return false
}

// named reports whether ref, an ID or a name in any spelling, names i.
func (i Image) named(ref string) bool {
	if ref == "" {
		return false
	}
	if ref == i.ID || slices.Contains(i.Tags, ref) || slices.Contains(i.Digests, ref) {
		return true
	}
	full, ok := familiar(ref)
	return ok && (slices.Contains(i.Tags, full) || slices.Contains(i.Digests, full))
}

// familiar spells ref out as runtimes store it: "nginx" is
// "docker.io/library/nginx:latest", and a digest drops the tag beside it.
func familiar(ref string) (string, bool) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", false
	}
	return named.String(), true
}

// ImageFS returns the mount points of the runtime's image file systems, in the
// runtime's mount namespace.
func (c *Client) ImageFS(ctx context.Context) ([]string, error) {
	r, err := c.image.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, fs := range r.GetImageFilesystems() {
		if m := fs.GetFsId().GetMountpoint(); m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out, nil
}
