package examine

import (
	"io/fs"
	"testing"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// oneFile is a file system with one file.
type oneFile struct{ name, content string }

func (f oneFile) ReadFile(name string) ([]byte, error) {
	if name != f.name {
		return nil, fs.ErrNotExist
	}
	return []byte(f.content), nil
}
func (oneFile) ReadDir(string) ([]fs.DirEntry, error) { return nil, fs.ErrNotExist }
func (oneFile) Stat(string) (fs.FileInfo, error)      { return nil, fs.ErrNotExist }

// TestPresentImage checks what is said of the image on the node, and whether the node can
// run it.
func TestPresentImage(t *testing.T) {
	const digest = "sha256:af405f7e91e71b4a9acf0f1b876df1a3107dbe2388f5faea7a2903b0eda843e0"
	_, ref := reference.Parse("registry.example/app:1")
	qemu := oneFile{"/proc/sys/fs/binfmt_misc/qemu-aarch64", "enabled\ninterpreter /usr/bin/qemu-aarch64\n"}
	for _, tt := range []struct {
		name, platform, node string
		files                oneFile
		want                 report.Outcome
		emulated             bool
	}{
		{"for this platform", "linux/amd64", "linux/amd64", oneFile{}, report.Pass, false},
		{"another variant", "linux/arm/v8", "linux/arm/v7", oneFile{}, report.Pass, false},
		{"what this processor runs, too", "linux/386", "linux/amd64", oneFile{}, report.Pass, false},
		{"another architecture", "linux/arm64", "linux/amd64", oneFile{}, report.Fail, false},
		{"another system", "windows/amd64", "linux/amd64", oneFile{}, report.Fail, false},
		{"emulated", "linux/arm64", "linux/amd64", qemu, report.Pass, true},
		{"not known", "", "linux/amd64", oneFile{}, report.Pass, false},
		{"not a platform", "a b/\x00/c/d", "linux/amd64", oneFile{}, report.Pass, false},
	} {
		digests := []string{"other.example/app@sha256:2", "registry.example/app@" + digest}
		image := cri.Image{ID: "sha256:1", Digests: digests, Size: 3 << 20, Platform: tt.platform}
		c := presentImage(ref, image, tt.node, tt.files)
		if c.Outcome != tt.want || c.Is(report.KeyEmulated) != tt.emulated || c.Evidence[report.KeyDigest] != digest {
			t.Errorf("%s: %+v", tt.name, c)
		}
		if want := "the image is on the node (" + digest + ", 3.0 MiB)"; tt.want == report.Pass && c.Summary != want {
			t.Errorf("%s: %q", tt.name, c.Summary)
		}
	}
	if c := presentImage(ref, cri.Image{}, "", nil); c.ID != "" {
		t.Errorf("an image that is not there: %+v", c)
	}
	if c := presentImage(ref, cri.Image{ID: "sha256:1", Size: 1}, "", nil); c.Summary != "the image is on the node (sha256:1, 1 B)" {
		t.Errorf("an image that was loaded: %q", c.Summary)
	}
}
