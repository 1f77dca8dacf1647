//go:build e2e

package chart

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pullprobe/pullprobe/lab"
)

const dist = "../../dist"

// TestRelease installs what `make release` made, in each of the three ways, on a cluster
// without pullprobe and with a pod that is stuck. The image is pulled by its digest from
// a registry of the lab. It logs the seconds until the pod has its verdict.
func TestRelease(t *testing.T) {
	if _, err := os.Stat(dist + "/SHA256SUMS"); err != nil {
		t.Skip("no dist/: make release makes it")
	}
	l := openLab(t)
	version := strings.TrimSuffix(strings.TrimPrefix(l.one("pullprobe-*.tgz"), "pullprobe-"), ".tgz")
	l.pushRelease("pullprobe/pullprobe:v" + version)
	l.kubectl("", "delete", "namespace", "pullprobe", "--ignore-not-found")

	work := t.TempDir()
	manifest := string(value(os.ReadFile(dist + "/install.yaml"))(t))
	l.write(work+"/install.yaml", strings.ReplaceAll(manifest, "ghcr.io/", "mirror.lab/"))
	if err := os.CopyFS(work+"/manifests", os.DirFS(manifests)); err != nil {
		t.Fatal(err)
	}
	l.write(work+"/kustomization.yaml", "resources: [manifests]\nimages:\n"+
		"- {name: ghcr.io/pullprobe/pullprobe, newName: mirror.lab/pullprobe/pullprobe, newTag: v"+version+"}\n")
	digest := strings.TrimSpace(string(value(os.ReadFile(dist + "/pullprobe-image.digest"))(t)))

	for _, way := range []struct {
		name            string
		install, remove func() string
	}{
		{
			"kubectl apply -f install.yaml",
			func() string { return l.kubectl("", "apply", "-f", work+"/install.yaml") },
			func() string { return l.kubectl("", "delete", "-f", work+"/install.yaml") },
		},
		{
			"helm install",
			func() string {
				return l.mustHelm("install", "pullprobe", filepath.Join(dist, l.one("pullprobe-*.tgz")), "--namespace=pullprobe",
					"--create-namespace", "--set=image.repository=mirror.lab/pullprobe/pullprobe")
			},
			func() string {
				return l.mustHelm("uninstall", "pullprobe", "--namespace=pullprobe", "--wait") + l.kubectl("", "delete", "namespace", "pullprobe")
			},
		},
		{
			"kubectl apply -k",
			func() string { return l.kubectl("", "apply", "-k", work) },
			func() string { return l.kubectl("", "delete", "-k", work) },
		},
	} {
		l.kubectl(stuckPod, "apply", "-f", "-")
		start := time.Now()
		out := way.install()
		l.eventually("a verdict after "+way.name, func() bool {
			return l.kubectl("", "-n", "shop", "get", "events", "--field-selector=reason=ImagePullDiagnosed", "-o", "name") != ""
		})
		t.Logf("%s: the verdict after %.1f s\n%s", way.name, time.Since(start).Seconds(), out)
		const ids = "jsonpath={.items[*].status.containerStatuses[0].imageID}"
		if image := l.kubectl("", "-n", "pullprobe", "get", "pods", "-o", ids); !strings.Contains(image, digest) {
			t.Errorf("%s: the agents run %s, not %s", way.name, image, digest)
		}
		way.remove()
		l.kubectl("", "delete", "namespace", "shop")
		l.removeImages()
	}
}

const stuckPod = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: app, image: "registry.lab/app:missing"}
`

// one returns the name of the only file of dist that matches.
func (l onLab) one(pattern string) string {
	l.Helper()
	files := value(filepath.Glob(filepath.Join(dist, pattern)))(l.T)
	if len(files) != 1 {
		l.Fatalf("%s: %q", pattern, files)
	}
	return filepath.Base(files[0])
}

// pushRelease pushes the image of dist to the registries of the lab.
func (l onLab) pushRelease(ref string) {
	l.Helper()
	dir := l.TempDir()
	if out, err := exec.CommandContext(l.Context(), "tar", "-C", dir, "-xf", dist+"/pullprobe-image.tar").CombinedOutput(); err != nil {
		l.Fatalf("%v: %s", err, out)
	}
	root := value(layout.ImageIndexFromPath(dir))(l.T)
	manifest := value(root.IndexManifest())(l.T)
	index := value(root.ImageIndex(manifest.Manifests[0].Digest))(l.T)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return l.Dial(ctx, lab.Infra, network, addr)
	}}
	tag := value(name.NewTag("127.0.0.1:5000/" + ref))(l.T)
	if err := remote.WriteIndex(tag, index, remote.WithTransport(transport), remote.WithContext(l.Context())); err != nil {
		l.Fatal(err)
	}
}

// removeImages removes the agent's images from the nodes, so that they are pulled again.
func (l onLab) removeImages() {
	l.Helper()
	for _, node := range l.NodeNames() {
		for _, image := range value(l.Images(l.Context(), node))(l.T) {
			if strings.Contains(strings.Join(append(image.RepoTags, image.RepoDigests...), " "), "pullprobe/pullprobe") {
				if err := l.RemoveImage(l.Context(), node, image.Id); err != nil {
					l.Error(err)
				}
			}
		}
	}
}
