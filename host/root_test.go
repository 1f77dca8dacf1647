package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a root with links in every direction, and a secret outside it.
func tree(t *testing.T) *Root {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "root")
	for _, d := range []string{"etc/certs.d/registry.lab", "run", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"../secret":                           "outside",
		"secret":                              "inside",
		"run/resolv.conf":                     "nameserver",
		"etc/certs.d/registry.lab/hosts.toml": "server",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"etc/resolv.conf": "/run/resolv.conf",   // absolute: beneath the root
		"etc/relative":    "../run/resolv.conf", //
		"etc/climb":       "../../../../secret", // ".." ends at the root
		"etc/outside":     filepath.Join(base, "secret"),
		"up":              "..",
		"certs":           "etc/certs.d",
		"loop":            "loop",
		"chain":           "certs/registry.lab",
		"dangling":        "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRoot(t *testing.T) {
	r := tree(t)
	for name, want := range map[string]string{
		"/run/resolv.conf":                  "nameserver",
		"run/resolv.conf":                   "nameserver",
		"//run///resolv.conf":               "nameserver",
		"/etc/resolv.conf":                  "nameserver",
		"/etc/relative":                     "nameserver",
		"/etc/climb":                        "inside",
		"/../../secret":                     "inside",
		"/up/secret":                        "inside",
		"/up/up/up/secret":                  "inside",
		"/chain/hosts.toml":                 "server",
		"/certs/../resolv.conf":             "nameserver", // the parent of what the link leads to
		"/certs/registry.lab/./hosts.toml":  "server",
		"/etc/certs.d/x/../registry.lab":    "error",
		"/etc/outside":                      "error",
		"/loop":                             "error",
		"/dangling":                         "error",
		"/empty":                            "error",
		"/fifo":                             "error",
		"/absent":                           "error",
		"/run/resolv.conf/x":                "error",
		"/" + strings.Repeat("x", 300):      "error",
		"/etc/certs.d/registry.lab\x00evil": "error",
	} {
		got, err := r.ReadFile(name)
		if err != nil {
			got = []byte("error")
			var pe *fs.PathError
			if !errors.As(err, &pe) || pe.Path != name {
				t.Errorf("%s: the error does not name it: %v", name, err)
			}
		}
		if string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}

		// The walk by hand, for kernels without openat2, agrees; and so does
		// the path for other system calls.
		if _, f, err := r.walk(name, nil); err == nil {
			f.Close()
		} else if want != "error" {
			t.Errorf("%s: walk: %v", name, err)
		}
		if path, err := r.Path(name); err == nil && want != "error" {
			if got, err := os.ReadFile(path); string(got) != want {
				t.Errorf("%s: by path: %q, %v", name, got, err)
			}
		}
	}
}

func TestRootErrors(t *testing.T) {
	r := tree(t)
	for name, want := range map[string]error{
		"/absent":            fs.ErrNotExist,
		"/fifo":              ErrNotRegular,
		"/empty":             ErrNotRegular,
		"/loop":              syscall.ELOOP,
		"/run/resolv.conf/x": syscall.ENOTDIR,
	} {
		if _, err := r.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, _, err := r.walk("/loop", nil); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("walk: %v", err)
	}
	big := filepath.Join(r.dir.Name(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadFile("big"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("big: %v", err)
	}
}

func TestRootDir(t *testing.T) {
	r := tree(t)
	list, err := r.ReadDir("/certs")
	if err != nil || len(list) != 1 || list[0].Name() != "registry.lab" || !list[0].IsDir() {
		t.Errorf("got %v, %v", list, err)
	}
	if list, err := r.ReadDir("/"); err != nil || len(list) != 10 || list[0].Name() != "certs" || list[0].Type() != fs.ModeSymlink {
		t.Errorf("got %v, %v", list, err)
	}
	if _, err := r.ReadDir("/secret"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file as a directory: %v", err)
	}
	if info, err := r.Stat("/etc/resolv.conf"); err != nil || !info.Mode().IsRegular() || info.Size() != int64(len("nameserver")) {
		t.Errorf("got %v, %v", info, err)
	}
	path, err := r.Path("/")
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil || st.Blocks == 0 {
		t.Errorf("statfs %s: %v", path, err)
	}
}
