package runtimeconfig

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/probes/probetest"
)

// shapeAnswer is what a containerd makes of the files of a shape.
type shapeAnswer struct {
	Starts bool `json:"starts"`
	CRI    bool `json:"cri"` // its CRI plugin loads
	// Hosts are those that it contacts for registry.lab/app:1, in order.
	Hosts []string `json:"hosts,omitempty"`
}

const shapeImage, shapeDomain = "registry.lab/app:1", "registry.lab"

// shape returns the files of a shape: each after a line "-- NAME --".
func shape(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files, current := map[string]string{}, ""
	for line := range strings.Lines(string(text)) {
		if file, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(file, " --\n") {
			current = "/" + strings.TrimSuffix(file, " --\n")
			files[current] = ""
		} else if current != "" {
			files[current] += line
		}
	}
	return files
}

// TestShapesLikeEveryContainerd compares what we make of configurations with what every
// minor version of containerd makes of them, as it was recorded: each was started with
// the files and told to pull an image.
func TestShapesLikeEveryContainerd(t *testing.T) {
	const file = "shapes-by-version.json"
	names, err := filepath.Glob("testdata/shapes/*.txt")
	if err != nil || len(names) < 10 {
		t.Fatal(names, err)
	}
	answers := map[string]map[string]shapeAnswer{} // by version and shape
	recorded(t, file, &answers)
	if *record {
		answers = askAll(t, names)
	}
	for _, version := range readers {
		for _, name := range names {
			id := shapeName(name)
			want, ok := answers[version][id]
			if !ok {
				t.Errorf("no recording of %s by containerd %s: run `make readers`", id, version)
				continue
			}
			if diff := cmp.Diff(want, ourAnswer(probetest.Files(t, shape(t, name)), version)); diff != "" {
				t.Errorf("%s, containerd %s (-containerd +ours):\n%s", id, version, diff)
			}
		}
	}
	keep(t, file, answers)
}

func shapeName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".txt") }

// askAll asks all containerds about all shapes.
func askAll(t *testing.T, names []string) map[string]map[string]shapeAnswer {
	t.Helper()
	var mu sync.Mutex
	answers := map[string]map[string]shapeAnswer{}
	t.Run("ask", func(t *testing.T) {
		for minor, version := range readers {
			t.Run(version, func(t *testing.T) {
				t.Parallel()
				own := map[string]shapeAnswer{}
				for _, name := range names {
					own[shapeName(name)] = askContainerd(t, minor, shape(t, name))
				}
				mu.Lock()
				defer mu.Unlock()
				answers[version] = own
			})
		}
	})
	return answers
}

// ourAnswer is what we say that a containerd makes of the files.
func ourAnswer(files probetest.Tree, version string) (a shapeAnswer) {
	c := readConfig(files, defaultConfig, version)
	if c.Err != nil {
		return a
	}
	a.Starts, a.CRI = true, c.Refused == nil
	if !a.CRI {
		return a
	}
	hosts, _ := c.Registries(nil).Hosts(files, shapeDomain)
	for _, h := range hosts.List {
		if h.Serves(true) {
			a.Hosts = append(a.Hosts, h.Scheme+"://"+h.Host)
		}
	}
	return a
}

// askContainerd starts a containerd with the files of a shape as its /etc, and has it
// pull an image through a proxy that refuses everything.
func askContainerd(t *testing.T, minor string, files map[string]string) (a shapeAnswer) {
	t.Helper()
	bin, ok := readerBinary("containerd-" + minor)
	if !ok || os.Getuid() != 0 {
		t.Skipf("needs root, and containerd-%s in $PULLPROBE_READERS: `make readers`", minor)
	}
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range files {
		writeFile(t, dir+name, text)
	}
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		host := "http://" + r.Host
		if r.Method == http.MethodConnect {
			host = "https://" + strings.TrimSuffix(r.Host, ":443")
		}
		if !slices.Contains(a.Hosts, host) {
			a.Hosts = append(a.Hosts, host)
		}
		http.Error(w, "refused", http.StatusForbidden)
	}))
	defer proxy.Close()
	socket := dir + "/c.sock"
	script := `mount --bind "$1/etc" /etc && mount -t tmpfs tmpfs /run && exec "$0" -c /etc/containerd/config.toml ` +
		`-a "$1/c.sock" --root "$1/root" --state "$1/state"`
	cmd := exec.Command("sh", "-c", script, bin, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HTTP_PROXY=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL}
	logs := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = io.Discard, logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	defer func() { _ = cmd.Process.Kill(); <-exit }()
	a.Starts, a.CRI = pullOnce(t, socket, exit)
	mu.Lock()
	defer mu.Unlock()
	if os.Getenv("PULLPROBE_READERS_LOG") != "" && (!a.Starts || !a.CRI) {
		t.Logf("containerd %s: %+v\n%s", minor, a, logs.String())
	}
	return a
}

// pullOnce waits for the socket, and pulls an image. It returns whether containerd
// answered before it ended, and whether it has the CRI.
func pullOnce(t *testing.T, socket string, exit chan struct{}) (starts, cri bool) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, err := runtimeapi.NewRuntimeServiceClient(conn).Version(ctx, &runtimeapi.VersionRequest{})
		switch code := status.Code(err); {
		case code == codes.OK:
			_, _ = runtimeapi.NewImageServiceClient(conn).PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: shapeImage}})
			return true, true
		case code == codes.Unimplemented:
			return true, false
		case ctx.Err() != nil:
			t.Fatal(fmt.Errorf("containerd does not answer: %w", err))
		}
		select {
		case <-exit:
			return false, false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
