//go:build matrix

package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// nodeRows returns the rows about the runtime itself and its disk.
func nodeRows() []row {
	// onDisk makes a machine with another image file system.
	onDisk := func(store mount, size int, inject func(*scene, *machine) (fix func())) func(*scene) *subject {
		return func(s *scene) *subject {
			s.productFirst = true // a failed pull leaves data on the disk
			m := s.w.newMachine(s.t, machineSpec{store: store})
			s.warmUp(m) // containerd never retries a directory that it could not create
			h := s.host(hostOptions{})
			repository, tag := randomWord(), randomWord()
			s.pushRandom(repository, tag, lab.Image{Size: size})
			return &subject{image: h.image(repository, tag), machine: m, fix: inject(s, m)}
		}
	}
	script := func(text string) string { return "#!/bin/sh\ncat >/dev/null\n" + text + "\n" }
	// verified makes a machine whose containerd runs a program to verify every image
	// (pkg/imageverifier/bindir).
	verified := func(program string) func(*scene) *subject {
		return func(s *scene) *subject {
			m := s.w.newMachine(s.t, machineSpec{config: containerdConfig + `
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "/etc/containerd/verifiers"
`})
			install := func(program string) {
				must(s.t, writeFiles(m.etc("containerd/verifiers"), map[string]string{"signed": program}))
				must(s.t, os.Chmod(m.etc("containerd/verifiers/signed"), 0o755))
			}
			install(program)
			image, _, _ := s.pushApp(s.host(hostOptions{}))
			return &subject{image: image, machine: m, fix: func() { install(script("echo signed by us")) }}
		}
	}
	return []row{
		{
			name:    "verifier-rejects",
			setup:   verified(script("echo no signature by release@" + randomWord() + ".net; exit 1")),
			runtime: fails(`image verifier bindir blocked pull of .* for reason: verifier signed rejected image \(exit code 1\): no signature`),
			want:    want{"cluster-config", "SignatureRejected", "likely", []string{"pull"}, ""},
		},
		{
			name:     "verifier-rejects-in-words-of-a-network",
			misleads: "403 Forbidden: it is what the verifier says of its own doings, the registry gives the image to anybody",
			setup: verified(script("echo 'Error: no matching signatures: GET https://" + randomWord() +
				".net/v2/app/manifests/sha256-1.sig: 403 Forbidden'; exit 1")),
			runtime: fails(`403 Forbidden$`),
			want:    want{"cluster-config", "SignatureRejected", "likely", []string{"pull"}, ""},
		},
		{
			name:     "verifier-does-not-run",
			misleads: "exec format error: of the verifier, and not of the image",
			setup:    verified("\x7fELF for another machine"),
			runtime:  fails(`blocking pull of .* image verifier bindir returned error: .*exec format error`),
			want:     want{"node-infrastructure", "SignatureRejected", "likely", []string{"pull"}, "io.containerd.image-verifier.v1.bindir"},
		},
		{
			name:     "snapshot-of-a-shared-layer-gone",
			misleads: "nothing that names it: somebody made room in the snapshotter's directory, and an image that builds on what was there can't be unpacked",
			setup: func(s *scene) *subject {
				m, h := s.w.newMachine(s.t, machineSpec{}), s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				base := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
				s.pushObject(repository, tag, base)
				if p := m.pull(s.t.Context(), h.image(repository, tag), nil, hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				s.pushObject(repository, tag+"-app", s.withLayer(base, s.randomTar(1<<10)))
				kept := filepath.Join(m.store(), "io.containerd.snapshotter.v1.overlayfs/snapshots")
				must(s.t, os.Rename(kept, kept+".gone"))
				must(s.t, os.Mkdir(kept, 0o700))
				return &subject{image: h.image(repository, tag+"-app"), machine: m, fix: func() {
					must(s.t, os.RemoveAll(kept))
					must(s.t, os.Rename(kept+".gone", kept))
				}}
			},
			runtime: fails(`extraction snapshot .* failed to stat parent: .* no such file or directory`),
			want:    want{"node-infrastructure", "UnpackFailed", "likely", []string{"pull"}, ""},
		},
		{
			name:     "layer-of-an-owner-whom-the-node-cannot-make",
			misleads: "invalid argument: the layer is as it should be, the containerd of this node runs in a user namespace of 65536 ids",
			setup: func(s *scene) *subject {
				m, h := s.w.newMachine(s.t, machineSpec{ids: 1 << 16}), s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushObject(repository, tag, s.imageOfLayer(s.randomTarOwnedBy(100_000, 1<<10), types.OCIUncompressedLayer))
				return &subject{image: h.image(repository, tag), machine: m, fix: func() {
					m.spec.ids = 1 << 20
					m.restart(s.t)
				}}
			},
			runtime: fails(`failed to Lchown .* for UID 100000`),
			want:    want{"node-infrastructure", "UnpackFailed", "likely", []string{"pull"}, ""},
		},
		{
			name: "runtime-stopped",
			setup: func(s *scene) *subject {
				m, h := s.w.newMachine(s.t, machineSpec{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				m.stop()
				return &subject{image: image, machine: m, fix: func() { m.start(s.t) }}
			},
			runtime: failsWith(codes.Unavailable, `connection refused|no such file`),
			want:    want{"node-infrastructure", "RuntimeUnavailable", "likely", []string{"runtime"}, ""},
		},
		{
			name: "runtime-hangs",
			setup: func(s *scene) *subject {
				m, h := s.w.newMachine(s.t, machineSpec{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				must(s.t, m.cmd.Process.Signal(syscall.SIGSTOP))
				return &subject{image: image, machine: m, fix: func() { must(s.t, m.cmd.Process.Signal(syscall.SIGCONT)) }}
			},
			runtime: hangs(),
			want:    want{"node-infrastructure", "RuntimeUnavailable", "likely", []string{"runtime"}, ""},
		},
		{
			name:     "runtime-without-cri",
			misleads: "unknown service: the runtime runs, its configuration switches the plugin off, as Docker's packages do",
			setup: func(s *scene) *subject {
				m := s.w.newMachine(s.t, machineSpec{config: "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n" + containerdAlone})
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				return &subject{image: image, machine: m, fix: func() {
					must(s.t, writeFiles(m.etc(""), map[string]string{"containerd/config.toml": containerdConfig}))
					m.restart(s.t)
				}}
			},
			runtime: failsWith(codes.Unimplemented, `unknown service runtime.v1.ImageService`),
			want:    want{"node-infrastructure", "RuntimeUnavailable", "likely", []string{"runtime"}, ""},
		},
		{
			name: "disk-full",
			setup: onDisk(mount{Type: "tmpfs", Data: "size=256m"}, 1<<20, func(s *scene, m *machine) func() {
				must(s.t, fill(m.store(), 64<<10))
				// A failed write leaves its blob locked in containerd. After a
				// restart the disk is new and empty.
				return func() { m.restart(s.t) }
			}),
			runtime: fails(`no space left on device`),
			want:    want{"node-infrastructure", "DiskFull", "likely", []string{"disk"}, ""}, // no test pull on a full disk
		},
		{
			name: "disk-too-small-for-the-image",
			setup: onDisk(mount{Type: "tmpfs", Data: "size=256m"}, 40<<20, func(s *scene, m *machine) func() {
				must(s.t, fill(m.store(), 50<<20))
				return func() { must(s.t, os.Remove(filler(m.store()))) }
			}),
			runtime: fails(`no space left on device`),
			want:    want{"node-infrastructure", "DiskFull", "likely", []string{"disk"}, ""},
		},
		{
			name:     "disk-read-only-after-an-error",
			misleads: "nothing: the runtime's words are plain, but the superblock's options still say rw",
			setup: onDisk(mount{Type: "ext4", From: "/tmp/disk", Data: "errors=remount-ro"}, 1<<10, func(s *scene, m *machine) func() {
				must(s.t, m.breakDisk())
				return func() { m.restart(s.t) }
			}),
			runtime: fails(`read-only file system`),
			want:    want{"node-infrastructure", "DiskReadOnly", "confirmed", []string{"disk", "pull"}, ""},
		},
		{
			name: "disk-gives-errors",
			setup: onDisk(mount{Type: "ext4", From: "/tmp/disk", Data: "errors=continue"}, 1<<10, func(s *scene, m *machine) func() {
				must(s.t, shutDown(m.store()))
				return func() { m.restart(s.t) }
			}),
			runtime: fails(`input/output error`),
			want:    want{"node-infrastructure", "DiskIOError", "likely", nil, ""},
		},
		{
			name:     "inodes-exhausted",
			misleads: "no space left on device: bytes are plenty, inodes are not",
			setup: onDisk(mount{Type: "tmpfs", Data: "size=256m,nr_inodes=400"}, 1<<10, func(s *scene, m *machine) func() {
				dir := filepath.Join(m.store(), "many")
				must(s.t, os.Mkdir(dir, 0o755))
				for i := 0; ; i++ {
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
						break
					}
				}
				return func() { must(s.t, os.RemoveAll(dir)) }
			}),
			runtime: fails(`no space left on device`),
			want:    want{"node-infrastructure", "InodesExhausted", "confirmed", []string{"disk", "pull"}, ""},
		},
	}
}

// breakDisk makes the kernel find an error on the machine's ext4.
func (m *machine) breakDisk() error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", m.cmd.Process.Pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[1] == "/var/lib/containerd" {
			return os.WriteFile("/sys/fs/ext4/"+filepath.Base(f[0])+"/trigger_fs_error", []byte("1"), 0)
		}
	}
	return fmt.Errorf("no /var/lib/containerd in %s", b)
}

// shutDown makes every operation on an ext4 fail with EIO, as the kernel does when the
// disk is removed (EXT4_IOC_SHUTDOWN of linux/ext4.h).
func shutDown(store string) error {
	f, err := os.Open(store)
	if err != nil {
		return err
	}
	defer f.Close()
	const request, withoutFlush = 0x8004587d, 2
	return unix.IoctlSetPointerInt(int(f.Fd()), request, withoutFlush)
}

func filler(store string) string { return filepath.Join(store, "filler") }

// fill fills the file system up to so many free bytes.
func fill(store string, free uint64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(store, &st); err != nil {
		return err
	}
	f, err := os.Create(filler(store))
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail*uint64(st.Bsize)-free))
}
