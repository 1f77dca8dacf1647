//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// imageID returns the ID of an image on a node. It is empty if the node does not have it.
func (c *cluster) imageID(t testing.TB, node, image string) string {
	t.Helper()
	images, err := c.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		for _, tag := range i.RepoTags {
			if tag == image {
				return i.Id
			}
		}
	}
	return ""
}

// A test-pulled image that was not there before is removed afterwards.
func TestPulledImageIsRemoved(t *testing.T) {
	ns := suite.namespace(t)
	const image = "registry.lab/tiny:1"
	_ = suite.RemoveImage(t.Context(), nodeA, image)
	show := suite.hideHost(t, "registry.lab")
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "recovers", Image: image})
	suite.waitVerdict(t, nodeA, ns+"/recovers", "* HostNotFound *", 30*time.Second)
	show()
	value := "now"
	suite.annotate(t, p, &value)
	d := suite.waitHandled(t, nodeA, ns+"/recovers", value)
	outcome, summary, evidence := d.check("pull")
	switch {
	case evidence["skipped"] == "present":
		t.Skip("the kubelet was faster and pulled the image itself")
	case outcome != "pass" || d.Verdict.Cause != "Recovered":
		t.Fatalf("pull %s (%s), verdict %s\n%s", outcome, summary, d, d.explain())
	case evidence["left"] != "":
		t.Errorf("the image was not removed: %s", summary)
	}
	t.Logf("other pods could use it for %s ms", evidence["presentMs"])
}

// waitHandled waits for the diagnosis that answers a request.
func (c *cluster) waitHandled(t testing.TB, node, pod, request string) diagnosis {
	t.Helper()
	var last diagnosis
	_, r, ok := c.waitReport(t, node, 30*time.Second, func(_ *corev1.ConfigMap, r nodeReport) bool {
		for _, d := range r.Diagnoses {
			if d.Pod == pod && d.Asked == request {
				last = d
				outcome, _, _ := d.check("pull")
				return outcome != "unknown"
			}
		}
		return false
	})
	if !ok {
		t.Fatalf("no answer to the request for %s: %v", pod, r.Diagnoses)
	}
	return last
}

// An image whose ID the node already has, under another tag that is in use, is kept, and
// so is that tag.
func TestSharedImageStays(t *testing.T) {
	ns := suite.namespace(t)
	suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "first", Image: "registry.lab/same:1"})
	suite.eventually(t, 30*time.Second, func(ctx context.Context) bool { return suite.imageID(t, nodeA, "registry.lab/same:1") != "" })
	before := suite.imageID(t, nodeA, "registry.lab/same:1")
	if before == "" {
		t.Fatal("registry.lab/same:1 was not pulled")
	}
	show := suite.hideHost(t, "registry.lab")
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "second", Image: "registry.lab/same:2"})
	suite.waitVerdict(t, nodeA, ns+"/second", "* HostNotFound *", 30*time.Second)
	show()
	value := "now"
	suite.annotate(t, p, &value)
	d := suite.waitHandled(t, nodeA, ns+"/second", value)
	_, summary, evidence := d.check("pull")
	if evidence["skipped"] != "present" && evidence["left"] == "" {
		t.Errorf("the report does not show that the image was kept: %s", summary)
	}
	if after := suite.imageID(t, nodeA, "registry.lab/same:1"); after != before {
		t.Errorf("registry.lab/same:1 was %s and is %q", before, after)
	}
}

// A tag that exists locally is never moved, even if the registry has a newer image under
// it.
func TestLocalTagIsNotMoved(t *testing.T) {
	ns := suite.namespace(t)
	const image = "registry.lab/moving:1"
	if _, err := suite.PushImage(t.Context(), lab.Image{Refs: []string{image}, Size: 4096}); err != nil {
		t.Fatal(err)
	}
	_ = suite.RemoveImage(t.Context(), nodeA, image)
	if p := suite.Pull(t.Context(), nodeA, image, nil); p.Message != "" {
		t.Fatal(p.Message)
	}
	before := suite.imageID(t, nodeA, image)
	if _, err := suite.PushImage(t.Context(), lab.Image{Refs: []string{image}, Size: 4096}); err != nil {
		t.Fatal(err)
	}
	// The pod's own pull fails as long as the name does not resolve: the kubelet must
	// not move the tag.
	suite.hideHost(t, "registry.lab")
	p := suite.pod(t, podOptions{Node: nodeA, Namespace: ns, Name: "moves", Image: image, Policy: corev1.PullAlways})
	suite.waitVerdict(t, nodeA, ns+"/moves", "* HostNotFound *", 30*time.Second)
	value := "now"
	suite.annotate(t, p, &value)
	d := suite.waitHandled(t, nodeA, ns+"/moves", value)
	if _, summary, evidence := d.check("pull"); evidence["skipped"] != "present" {
		t.Errorf("the test pull was not refused: %s %v", summary, evidence)
	}
	if after := suite.imageID(t, nodeA, image); after != before {
		t.Errorf("the tag was moved from %s to %s", before, after)
	}
}
