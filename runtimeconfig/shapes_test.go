package runtimeconfig

import (
	"context"
	"flag"
	"fmt"
	"maps"
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
	"github.com/pullprobe/pullprobe/runtimeconfig/readertest"
)

var record = readertest.Flag()

// onlyShape has one shape recorded instead of all.
var onlyShape = flag.String("shape", "", "record the answers to this shape only")

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
	readertest.Load(t, file, *record, &answers)
	if *record {
		for version, own := range askAll(t, names) {
			if answers[version] == nil {
				answers[version] = map[string]shapeAnswer{}
			}
			maps.Copy(answers[version], own)
		}
	}
	for _, version := range readertest.Readers() {
		t.Run(version, func(t *testing.T) {
			for _, name := range names {
				id := shapeName(name)
				want, ok := answers[version][id]
				if !ok {
					t.Errorf("no recording of %s: run `make readers`", id)
					continue
				}
				if diff := cmp.Diff(want, ourAnswer(probetest.Files(t, shape(t, name)), version)); diff != "" {
					t.Errorf("%s (-containerd +ours):\n%s", id, diff)
				}
			}
		})
	}
	readertest.Keep(t, file, *record, answers)
}

func shapeName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".txt") }

// askAll asks all containerds about all shapes.
func askAll(t *testing.T, names []string) map[string]map[string]shapeAnswer {
	t.Helper()
	var mu sync.Mutex
	answers := map[string]map[string]shapeAnswer{}
	t.Run("ask", func(t *testing.T) {
		for minor, version := range readertest.Readers() {
			t.Run(version, func(t *testing.T) {
				t.Parallel()
				bin, ok := readertest.Binary("containerd-" + minor)
				if !ok || os.Getuid() != 0 {
					t.Skipf("needs root, and containerd-%s in $PULLPROBE_READERS: its recorded answers stay", minor)
				}
				own := map[string]shapeAnswer{}
				for _, name := range names {
					if id := shapeName(name); *onlyShape == "" || *onlyShape == id {
						own[id] = askContainerd(t, bin, shape(t, name))
					}
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
func askContainerd(t *testing.T, bin string, files map[string]string) (a shapeAnswer) {
	t.Helper()
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
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	defer func() { _ = cmd.Process.Kill(); <-exit }()
	a.Starts, a.CRI = pullOnce(t, socket, exit)
	mu.Lock()
	defer mu.Unlock()
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
			request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: shapeImage}}
			_, _ = runtimeapi.NewImageServiceClient(conn).PullImage(ctx, request)
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

// What containerd ignores is reported with what makes it read that.
func TestIgnoredTables(t *testing.T) {
	const main, dropIn = "/etc/containerd/config.toml", "/etc/containerd/conf.d/99-nvidia.toml"
	old, images := `[plugins."io.containerd.grpc.v1.cri"]`, `[plugins."io.containerd.cri.v1.images"]`
	for _, tt := range []struct{ shape, version, remedy string }{
		{"no-version", "1.7.35", "put version = 2 at the top of " + main},
		{"no-version", "2.1.9", "put version = 2 at the top of " + main},
		{"no-version", "2.4.2", ""},
		{"mirrors-no-version", "1.6.38", "put version = 2 at the top of " + main},
		{"version-1-config-path", "2.0.14", "rename [plugins.cri] to " + old + " in " + main + " and put version = 2 at the top of " + main},
		{"version-2", "1.7.35", ""},
		{"version-2-new-table", "1.7.35", "rename " + images + " to " + old + " in " + main},
		{"version-2-oldest-table", "2.2.9", "rename [plugins.cri] to " + old + " in " + main},
		{"version-3-old-table", "2.2.9", "rename " + old + " to " + images + " in " + main},
		{"version-3-old-table", "2.3.7", ""},
		{"version-4-old-table", "2.4.2", "rename " + old + " to " + images + " in " + main},
		{"nvidia-drop-in", "1.7.35", "move the registry section from " + main + " to " + dropIn},
		{"nvidia-drop-in", "2.0.14", ""},
		{"drop-in-newer", "2.0.14", "rename " + old + " to " + images + " in " + main},
	} {
		files := probetest.Files(t, shape(t, "testdata/shapes/"+tt.shape+".txt"))
		hosts, problem := readConfig(files, defaultConfig, tt.version).Registries(nil).Hosts(files, shapeDomain)
		if tt.remedy == "" {
			if problem != nil || hosts.List[0].Host != "m.lab" {
				t.Errorf("%s, containerd %s: %v, %+v", tt.shape, tt.version, problem, hosts.List)
			}
			continue
		}
		if problem == nil || !problem.Ignored || problem.Stale || problem.Remedy != tt.remedy || hosts.List[0].Host != shapeDomain {
			t.Errorf("%s, containerd %s: %+v, want %q", tt.shape, tt.version, problem, tt.remedy)
		}
	}
}

// A file that is older than the process is never stale.
func TestOlderFileIsNotStale(t *testing.T) {
	files := probetest.Files(t, shape(t, "testdata/shapes/version-2.txt"))
	running := "/etc/containerd/other.d"
	for _, newer := range []bool{false, true} {
		c := readConfig(files, defaultConfig, "1.7.35")
		c.Newer = newer
		_, problem := c.Registries(&running).Hosts(files, shapeDomain)
		if problem == nil || problem.Stale != newer {
			t.Errorf("newer %v: %+v", newer, problem)
		}
	}
}

// Without a version of containerd, a hosts.toml that not all versions read alike says so.
func TestHostsOfUnknownVersion(t *testing.T) {
	for text, want := range map[string]string{
		"server = \"https://m.lab\"\n":                                    "containerd up to 1.7.31 ignores it: ",
		"[host.\"https://m.lab\"]\ncapabilities = [\"referrers\"]\n":      "containerd up to 2.1 ignores it: ",
		"host.\"https://m.lab\".capabilities = [\"pull\", \"resolve\"]\n": "containerd up to 1.7 reads other hosts in it",
		"[host.\"https://m.lab\"]\ncapabilities = [\"pull\"]\n":           "",
	} {
		files := probetest.Files(t, map[string]string{"/etc/containerd/certs.d/registry.lab/hosts.toml": text})
		for version, known := range map[string]bool{"": false, "2.4.2": true} {
			hosts, _ := RegistryConfig{Dirs: []string{"/etc/containerd/certs.d"}, Version: version}.Hosts(files, shapeDomain)
			expected := want
			if known {
				expected = ""
			}
			if (expected == "") != (hosts.DependsOn == "") || !strings.HasPrefix(hosts.DependsOn, expected) {
				t.Errorf("%q, version %q: %q, want %q", text, version, hosts.DependsOn, want)
			}
		}
	}
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
