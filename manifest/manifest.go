// Package manifest finds the images in Kubernetes manifests.
package manifest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Image is one image that a manifest names.
type Image struct {
	Name      string
	Owner     string            // KIND/NAME of the object, such as deployment/web
	Container string            // that names the image, or mounts the volume
	Volume    string            // the image volume; empty: the container itself
	Policy    corev1.PullPolicy // empty: not set
	Platform  string            // os/arch that the pod's node selector requires; empty: any
}

// maxSize is the longest file, in bytes.
const maxSize = 16 << 20

// templates are where the kinds that make pods have the pod's specification.
var templates = map[string]func(object) corev1.PodSpec{
	"Pod":                   func(o object) corev1.PodSpec { return o.Spec.PodSpec },
	"Deployment":            ofTemplate,
	"StatefulSet":           ofTemplate,
	"DaemonSet":             ofTemplate,
	"ReplicaSet":            ofTemplate,
	"ReplicationController": ofTemplate,
	"Job":                   ofTemplate,
	"CronJob":               func(o object) corev1.PodSpec { return o.Spec.JobTemplate.Spec.Template.Spec },
	"PodTemplate":           func(o object) corev1.PodSpec { return o.Template.Spec },
}

func ofTemplate(o object) corev1.PodSpec { return o.Spec.Template.Spec }

// object is any object of the kinds above.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
	} `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
	Template podTemplate       `json:"template"`
	Spec     spec              `json:"spec"`
}

type podTemplate struct {
	Spec corev1.PodSpec `json:"spec"`
}

type spec struct {
	corev1.PodSpec
	Template    podTemplate `json:"template"`
	JobTemplate struct {
		Spec struct {
			Template podTemplate `json:"template"`
		} `json:"spec"`
	} `json:"jobTemplate"`
}

// Read returns the images of all documents of a file, in their order. The error names
// the document.
func Read(r io.Reader) ([]Image, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("longer than %d MiB: name a file of manifests", maxSize>>20)
	}
	var images []Image
	var others []string // kinds without images
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for number := 1; ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		converted, err := sigsyaml.YAMLToJSON(document)
		if err != nil {
			return nil, fmt.Errorf("document %d: not valid YAML: %s%s", number, oneLine(err), hint(document))
		}
		if string(converted) == "null" {
			continue // comments only
		}
		found, err := read(converted, &others, 0)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		images = append(images, found...)
		number++
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("no images: %s; images are read from Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob and List",
			cmp.Or(strings.Join(others, ", "), "no objects"))
	}
	return images, nil
}

// hint returns what may be wrong with a document that is no YAML.
func hint(document []byte) string {
	if bytes.Contains(document, []byte("{{")) {
		return "; this is a template: render it first, for example with helm template"
	}
	return ""
}

// oneLine returns an error of the YAML parser, which has several lines, as one.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// maxDepth bounds lists in lists.
const maxDepth = 4

// read returns the images of one object.
func read(text []byte, others *[]string, depth int) ([]Image, error) {
	var kind struct {
		Kind string `json:"kind"`
	}
	if json.Unmarshal(text, &kind) != nil || kind.Kind == "" {
		return nil, errors.New("no kind: this is no Kubernetes object")
	}
	podSpec, known := templates[kind.Kind]
	list := strings.HasSuffix(kind.Kind, "List") && depth < maxDepth
	if !known && !list {
		if !slices.Contains(*others, kind.Kind) && len(*others) < 10 {
			*others = append(*others, kind.Kind)
		}
		return nil, nil
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("%s: %w", kind.Kind, fieldError(err))
	}
	if known {
		return imagesOf(o, podSpec(o)), nil
	}
	var images []Image
	for i, item := range o.Items {
		found, err := read(withKind(item, strings.TrimSuffix(kind.Kind, "List")), others, depth+1)
		if err != nil {
			return nil, fmt.Errorf("item %d of the list: %w", i+1, err)
		}
		images = append(images, found...)
	}
	return images, nil
}

// withKind adds the kind to an item of a typed list, such as a PodList, which may have
// none.
func withKind(item json.RawMessage, kind string) json.RawMessage {
	var fields map[string]json.RawMessage
	if kind == "" || json.Unmarshal(item, &fields) != nil || fields == nil || fields["kind"] != nil {
		return item
	}
	fields["kind"], _ = json.Marshal(kind)
	out, _ := json.Marshal(fields)
	return out
}

// fieldError returns which field has the wrong type.
func fieldError(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		var wants string
		switch kind := wrong.Type.Kind(); kind {
		case reflect.Struct, reflect.Map:
			wants = "mapping"
		case reflect.Slice:
			wants = "list"
		default:
			wants = kind.String()
		}
		is := strings.NewReplacer("object", "mapping", "array", "list").Replace(wrong.Value)
		field := strings.ReplaceAll(wrong.Field, "PodSpec.", "") // the name of an embedded struct
		return fmt.Errorf("%s: must be a %s, not a %s", field, wants, is)
	}
	return err
}

// imagesOf returns the images of a pod's specification, in the order in which the
// kubelet pulls them.
func imagesOf(o object, s corev1.PodSpec) (out []Image) {
	base := Image{Owner: strings.ToLower(o.Kind) + "/" + cmp.Or(o.Metadata.Name, o.Metadata.GenerateName, "(no name)")}
	if arch := s.NodeSelector["kubernetes.io/arch"]; arch != "" {
		base.Platform = cmp.Or(s.NodeSelector["kubernetes.io/os"], "linux") + "/" + arch
	}
	volumes := map[string]*corev1.ImageVolumeSource{}
	for _, v := range s.Volumes {
		if v.Image != nil {
			volumes[v.Name] = v.Image
		}
	}
	containers := slices.Concat(s.InitContainers, s.Containers)
	for _, e := range s.EphemeralContainers {
		containers = append(containers, corev1.Container(e.EphemeralContainerCommon))
	}
	add := func(i Image) {
		if i.Name != "" && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for _, c := range containers {
		i := base
		i.Name, i.Container, i.Policy = c.Image, c.Name, c.ImagePullPolicy
		for _, m := range c.VolumeMounts {
			if v := volumes[m.Name]; v != nil {
				i := base
				i.Name, i.Container, i.Volume, i.Policy = v.Reference, c.Name, m.Name, v.PullPolicy
				add(i)
			}
		}
		add(i)
	}
	return out
}
