package pods

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"github.com/pullprobe/pullprobe/report"
)

// TestAboutOtherImage checks which messages are about an image that the container does not
// have.
func TestAboutOtherImage(t *testing.T) {
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, tt := range []struct {
		image, reason, message, status string
		want                           string
	}{
		{"r.example/app:2", "ImagePullBackOff", `Back-off pulling image "r.example/app:1"`, "r.example/app:2", "r.example/app:1"},
		{"r.example/app:1", "ImagePullBackOff", `Back-off pulling image "r.example/app:1"`, "r.example/app:1", ""},
		{
			"r.example/app:2", "ErrImagePull",
			`rpc error: code = NotFound desc = failed to pull and unpack image "r.example/app:1": failed to resolve image: not found`,
			"", "r.example/app:1",
		},
		{"nginx", "ErrImagePull", `failed to pull and unpack image "docker.io/library/nginx:latest": failed to resolve`, "nginx", ""},
		{"nginx", "ErrImagePull", `failed to pull and unpack image "docker.io/library/nginx:1": failed to resolve`, "nginx", "docker.io/library/nginx:1"},
		{"r.example/app:1@" + digest, "ErrImagePull", `failed to pull and unpack image "r.example/app@` + digest + `": x`, "", ""},
		// A registry may quote any image. The runtime names the one that it pulls.
		{"r.example/app:1", "ErrImagePull", `failed to pull and unpack image "r.example/app:1": denied: use image "r.example/other:1"`, "", ""},
		{"r.example/app:1", "ErrImagePull", `A signature was required: reference "r.example/base" is not accepted`, "r.example/app:1", ""},
		{"r.example/app:1", "ImagePullBackOff", `Back-off pulling image "r.example/app:1": ErrImagePull: image \"r.example/app:1\" x`, "", ""},
		{"r.example/app:2", "ErrImageNeverPull", `Container image "r.example/app:1" is not present with pull policy of Never`, "", "r.example/app:1"},
		{"r.example/app:2", "InvalidImageName", `Failed to apply default image tag "UPPER:1": couldn't parse image name "UPPER:1": x`, "", "UPPER:1"},
		{"UPPER:1", "InvalidImageName", `Failed to apply default image tag "UPPER:1": couldn't parse image name "UPPER:1": x`, "", ""},
		{"r.example/app:1", "ImageInspectError", `Failed to inspect image "": rpc error: x`, "r.example/app:1", ""},
		// CRI-O names no image in quotes, and finds short names at other registries.
		{"app", "ErrImagePull", `initializing source docker://quay.io/app:latest: reading manifest latest in quay.io/app: x`, "app", ""},
		{"r.example/app:2", "ErrImagePull", `initializing source docker://r.example/app:1: reading manifest 1: x`, "r.example/app:1", "r.example/app:1"},
		{"r.example/app:2", "CrashLoopBackOff", `back-off 5m0s restarting failed container`, "r.example/app:1", ""},
	} {
		p := newPod(aPod(func(p *corev1.Pod) {
			p.Spec.Containers[0].Image = tt.image
			s := waiting("c", tt.reason, tt.message)
			s.Image = tt.status
			p.Status.ContainerStatuses = []corev1.ContainerStatus{s}
		}), "pullprobe")
		if got := p.Containers[0].About; got != tt.want {
			t.Errorf("%s: %s: %q, want %q", tt.image, tt.message, got, tt.want)
		}
		list := p.PendingImages(born.Add(time.Hour))
		if tt.want == "" || len(list) != 1 {
			continue
		}
		w := list[0]
		c := Check(p, w, "n")
		if w.Failing || !w.Creating || c.Cause != "" || c.Outcome != report.Pass || c.Evidence[report.KeyAboutImage] != tt.want ||
			c.Evidence[report.KeyMessage]+c.Evidence[report.KeyCould] != "" || strings.Contains(c.Summary, "waits for something else") {
			t.Errorf("%s: %+v of %+v", tt.image, c, w)
		}
	}
}

// feed is a store that the test sends the states of one pod to.
type feed struct {
	t *testing.T
	*Store
}

func newFeed(t *testing.T) feed {
	s := NewStore(StoreConfig{Namespace: "pullprobe", Enqueue: func(types.UID) {}})
	if err := s.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	return feed{t, s}
}

// container sends a state and returns what is kept of the container.
func (f feed) container(image, reason, message string) Container {
	f.t.Helper()
	if err := f.Update(aPod(func(p *corev1.Pod) {
		p.Spec.Containers[0].Image = image
		p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", reason, message)}
	})); err != nil {
		f.t.Fatal(err)
	}
	p, _ := f.Get("u1")
	return p.Containers[0]
}

// TestImageIsChanged checks that a message that names no image, and was there before the
// image was changed, does not count until the kubelet reports another one.
func TestImageIsChanged(t *testing.T) {
	f := newFeed(t)
	const message = "reading manifest 1: manifest unknown"
	f.container("r.example/app:1", "ErrImagePull", message)
	before := time.Now()
	c := f.container("r.example/app:2", "ErrImagePull", message)
	if c.About != "r.example/app:1" || c.fails() || c.Changed.Before(before) || !c.FailedAt.IsZero() {
		t.Errorf("just changed: %+v", c)
	}
	p, _ := f.Get("u1")
	if list := p.PendingImages(c.Changed.Add(GracePeriod / 2)); len(list) != 0 {
		t.Errorf("within the grace period: %+v", list)
	}
	if at := p.NextOverdue(time.Now()); !at.Equal(c.Changed.Add(GracePeriod)) {
		t.Errorf("overdue at %v, changed at %v", at, c.Changed)
	}
	if c = f.container("r.example/app:2", "ErrImagePull", message); c.About != "r.example/app:1" {
		t.Errorf("the next state: %+v", c)
	}
	if c = f.container("r.example/app:2", "ErrImagePull", "reading manifest 2: unauthorized"); c.About != "" || !c.fails() || c.FailedAt.IsZero() {
		t.Errorf("the kubelet has tried the new image: %+v", c)
	}
}

// TestFailedAt checks which states show that the kubelet has failed again.
func TestFailedAt(t *testing.T) {
	const (
		image  = "r.example/app:1"
		first  = `failed to pull and unpack image "r.example/app:1": dial tcp 10.0.0.1:443: connection refused`
		second = `failed to pull and unpack image "r.example/app:1": unexpected status: 500`
		waits  = `Back-off pulling image "r.example/app:1"`
	)
	f := newFeed(t)
	last := time.Time{}
	for _, tt := range []struct {
		reason, message string
		again           bool
	}{
		{"ContainerCreating", "", false},
		{"ErrImagePull", first, true},
		{"ErrImagePull", first, false},
		{"ImagePullBackOff", waits + ": ErrImagePull: " + first, false}, // the same failure
		{"ImagePullBackOff", waits + ": ErrImagePull: " + first, false},
		{"ImagePullBackOff", waits + ": ErrImagePull: " + second, true}, // the attempt went unseen
		{"ErrImagePull", second, true},
		{"ErrImagePull", first, true},
		{"ImagePullBackOff", waits, false}, // an older kubelet
		{"ImagePullBackOff", waits, false},
		{"ErrImagePull", first, true},
		{"CrashLoopBackOff", "", false},
		{"ImagePullBackOff", waits, true}, // restarted
	} {
		time.Sleep(time.Millisecond)
		c := f.container(image, tt.reason, tt.message)
		if again := c.FailedAt.After(last); again != tt.again {
			t.Errorf("%s %s: failed again %v, want %v", tt.reason, tt.message, again, tt.again)
		}
		last = c.FailedAt
	}
}
