package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// startDistribution runs a real CNCF distribution registry on a directory and
// returns its address, by plain HTTP; PULLPROBE_REGISTRY names its binary. A remote makes
// it a pull-through cache of that.
func startDistribution(t *testing.T, dir, remote string) *url.URL {
	t.Helper()
	bin := os.Getenv("PULLPROBE_REGISTRY")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("registry"); err != nil {
			t.Skip("no distribution registry: set PULLPROBE_REGISTRY to its binary")
		}
	}
	at := fmt.Sprintf("127.0.0.1:%d", probetest.ClosedPort(t))
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q}\n", dir, at)
	if remote != "" {
		config += "proxy: {remoteurl: " + remote + "}\n"
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "serve", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("registry: %s", &out)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp, err := http.Get("http://" + at + "/v2/")
		if err == nil {
			resp.Body.Close()
			return &url.URL{Scheme: "http", Host: at}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not start: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestDistribution(t *testing.T) {
	dir := t.TempDir()
	origin := startDistribution(t, dir, "")
	cache := startDistribution(t, t.TempDir(), origin.String())
	big, err := random.Layer(300<<10, types.DockerLayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(probetest.ImageFor(t, "amd64"), big)
	if err != nil {
		t.Fatal(err)
	}
	probetest.PushImage(t, httputil.NewSingleHostReverseProxy(origin), "team/web-app", img, "v1.2.3")
	tags := []string{"v1.2.3"}
	for i := range 150 {
		tags = append(tags, fmt.Sprintf("build-%03d", i))
	}
	probetest.PushImage(t, httputil.NewSingleHostReverseProxy(origin), "team/tagged", probetest.ImageFor(t, "arm64"), tags...)

	ca := probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	front := func(name string, to *url.URL) string {
		return fmt.Sprintf("%s:%d", name, probetest.Serve(t, ptr(ca.Good(t, name)), httputil.NewSingleHostReverseProxy(to)))
	}
	host := front("registry.lab", origin)

	c := probe(t, n, host+"/team/web-app:v1.2.3")
	probetest.Want(t, c, "image/"+host, report.Pass, "", "platform=linux/amd64", "layers=3")
	probetest.Want(t, c, "blob/"+host, report.Pass, "", "status=206")

	probetest.Want(t, probe(t, n, host+"/team/web-app:1.2.3"), "manifest/"+host, report.Fail, report.TagNotFound, "repository=exists", "suggestTag=v1.2.3")
	probetest.Want(t, probe(t, n, host+"/team/tagged:v1.2"), "manifest/"+host, report.Fail, report.TagNotFound, "repository=exists", "suggestTag=v1.2.3")
	probetest.Want(t, probe(t, n, host+"/team/webapp:v1.2.3"), "manifest/"+host, report.Fail, report.RepositoryNotFound, "repository=missing", "suggestRepository=team/web-app")
	probetest.Want(t, probe(t, n, host+"/team/tagged:v1.2.3"), "image/"+host, report.Fail, report.PlatformMismatch, "platform=linux/arm64")

	t.Run("pull-through cache", func(t *testing.T) {
		// For a blob that it does not have yet it ignores the Range.
		host := front("cache.lab", cache)
		c := probe(t, n, host+"/team/web-app:v1.2.3")
		probetest.Want(t, c, "image/"+host, report.Pass, "", "platform=linux/amd64")
		probetest.Want(t, c, "blob/"+host, report.Pass, "")
	})
	t.Run("a layer is lost", func(t *testing.T) {
		sha := strings.TrimPrefix(probetest.DigestOf(t, big), "sha256:")
		if err := os.RemoveAll(filepath.Join(dir, "data/docker/registry/v2/blobs/sha256", sha[:2], sha)); err != nil {
			t.Fatal(err)
		}
		c := probe(t, n, host+"/team/web-app:v1.2.3")
		probetest.Want(t, c, "image/"+host, report.Pass, "")
		probetest.Want(t, c, "blob/"+host, report.Fail, report.LayerCorrupt, "status=404")
	})
}
