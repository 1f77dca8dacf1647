package cri

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/cri/critest"
	"github.com/pullprobe/pullprobe/report"
)

// node is a real containerd with a client.
type node struct {
	*Client
	containerd *critest.Containerd
	t          *testing.T
	dir        string
	pause      string // the sandbox image
	pods       int
}

// startNode starts containerd; pause is the sandbox image.
func startNode(t *testing.T, pause string) *node {
	t.Helper()
	c := critest.New(t, pause)
	client, err := New(c.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	n := &node{Client: client, containerd: c, t: t, dir: c.Dir, pause: pause}
	n.start()
	return n
}

// configure writes the configuration, with these settings of the images plugin.
func (n *node) configure(images string) { n.t.Helper(); n.containerd.Configure(images) }

// restart restarts containerd with this environment in addition to the test's.
func (n *node) restart(env ...string) {
	n.t.Helper()
	n.stop()
	n.start(env...)
}

func (n *node) start(env ...string) {
	n.t.Helper()
	n.containerd.Start(func() (problem string) {
		if c := n.Status(n.t.Context()); c.Outcome != report.Pass {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	}, env...)
}

// stop kills containerd, as a crash would.
func (n *node) stop() { n.containerd.Stop() }

// pull is the kubelet's pull: no test pull, no clean-up.
func (n *node) pull(image string) string {
	n.t.Helper()
	r, err := n.image.PullImage(n.t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.GetImageRef()
}

func (n *node) has(image string) (Image, bool) {
	n.t.Helper()
	img, found, err := n.ImageStatus(n.t.Context(), image)
	if err != nil {
		n.t.Fatal(err)
	}
	return img, found
}

// run makes a container from image, in a host-network pod.
func (n *node) run(image string, mounts ...*runtimeapi.Mount) {
	n.t.Helper()
	ctx := context.WithoutCancel(n.t.Context())
	n.pods++
	pod := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: fmt.Sprintf("pod-%d", n.pods), Namespace: "default", Uid: "1"},
		Labels:   map[string]string{podUIDLabel: fmt.Sprintf("uid-%d", n.pods)},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
		}},
	}
	sandbox, err := n.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: pod})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		n.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox.GetPodSandboxId()})
		n.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: sandbox.GetPodSandboxId()})
	})
	_, err = n.runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId:  sandbox.GetPodSandboxId(),
		SandboxConfig: pod,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "app"},
			Image:    &runtimeapi.ImageSpec{Image: image},
			Command:  []string{"/pause"},
			Mounts:   mounts,
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// registryServer is a real registry handler on loopback over plain HTTP, which
// containerd uses for 127.0.0.1 of its own accord.
type registryServer struct {
	t    *testing.T
	host string

	mu       sync.Mutex
	stall    chan struct{}           // blobs of layers wait for it, if set
	stalled  chan struct{}           // gets a token when one begins to wait
	refuse   func(*http.Request) int // status to answer with instead, if not 0
	manifest int                     // requests for manifests
}

func startRegistry(t *testing.T) *registryServer {
	r := &registryServer{t: t, stalled: make(chan struct{}, 16)}
	real := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		read := req.Method == http.MethodGet || req.Method == http.MethodHead
		r.mu.Lock()
		stall, refuse := r.stall, r.refuse
		if read && strings.Contains(req.URL.Path, "/manifests/") {
			r.manifest++
		}
		r.mu.Unlock()
		if code := 0; read && refuse != nil {
			if code = refuse(req); code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			}
			if code != 0 {
				http.Error(w, http.StatusText(code), code)
				return
			}
		}
		if stall != nil && req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
			r.stalled <- struct{}{}
			select {
			case <-stall:
			case <-req.Context().Done():
				return
			}
		}
		real.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

// hold makes layers stall until the returned function is called.
func (r *registryServer) hold() (resume func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stall = gate
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stall = nil
		close(gate)
	})
}

// through lets later requests pass; those that stall go on stalling.
func (r *registryServer) through() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stall = nil
}

func (r *registryServer) answer(f func(*http.Request) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

// drain forgets which requests have stalled so far.
func (r *registryServer) drain() {
	for {
		select {
		case <-r.stalled:
		default:
			return
		}
	}
}

// digestOf is the reference of image by digest.
func (r *registryServer) digestOf(image string) string {
	r.t.Helper()
	repository, tag, _ := strings.Cut(strings.TrimPrefix(image, r.host+"/"), ":")
	resp, err := http.Get("http://" + r.host + "/v2/" + repository + "/manifests/" + tag)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.host + "/" + repository + "@" + digest(b)
}

func (r *registryServer) manifests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.manifest
}

// push stores an image whose one layer holds the given files, and returns its
// name. Equal files make an equal image, so an equal ID.
func (r *registryServer) push(name string, files map[string][]byte) string {
	r.t.Helper()
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	for path, content := range files {
		if err := tw.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content))}); err != nil {
			r.t.Fatal(err)
		}
		tw.Write(content)
	}
	tw.Close()
	config, _ := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/pause"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer.Bytes())}},
	})
	repository, tag, _ := strings.Cut(name, ":")
	manifest, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": r.blob(repository, "application/vnd.oci.image.config.v1+json", config),
		"layers": []any{r.blob(repository, "application/vnd.oci.image.layer.v1.tar", layer.Bytes())},
	})
	r.do(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", manifest)
	return r.host + "/" + name
}

func (r *registryServer) blob(repository, mediaType string, content []byte) any {
	d := digest(content)
	r.do(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d, "application/octet-stream", content)
	return map[string]any{"mediaType": mediaType, "digest": d, "size": len(content)}
}

func (r *registryServer) do(method, path, contentType string, body []byte) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.host+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		out, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("%s %s: %s %s", method, path, resp.Status, out)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pauseBinary builds a static program that waits for a signal.
func pauseBinary(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "pause.go")
	program := "package main\n\nimport (\n\t\"os\"\n\t\"os/signal\"\n)\n\n" +
		"func main() { c := make(chan os.Signal, 1); signal.Notify(c); <-c }\n"
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "pause"), src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "pause"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
