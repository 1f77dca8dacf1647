package lab

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Versions are the minor versions of a lab's parts, such as "1.33". Empty is the default,
// with which `make test` runs.
type Versions struct {
	Kubernetes string `json:"kubernetes"`
	Containerd string `json:"containerd"`
}

// defaultVersions returns the versions in the go.mod files of tools/.
func defaultVersions() Versions {
	return Versions{Kubernetes: minorOf(kubernetesVersion), Containerd: minorOf(containerdVersion)}
}

// debianContainerd is the version of containerd that Debian 12 has. Its package is
// unpacked, not installed.
const debianContainerd = "1.6"

// orDefault fills in what is not chosen.
func (v Versions) orDefault() Versions {
	d := defaultVersions()
	if v.Kubernetes == "" {
		v.Kubernetes = d.Kubernetes
	}
	if v.Containerd == "" {
		v.Containerd = d.Containerd
	}
	return v
}

// minorOf returns "1.33" of "v1.33.13".
func minorOf(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// KubernetesSince reports whether the lab's Kubernetes is this minor version or later.
func (v Versions) KubernetesSince(first string) bool { return since(v.orDefault().Kubernetes, first) }

// ContainerdSince reports whether the lab's containerd is this minor version or later.
func (v Versions) ContainerdSince(first string) bool { return since(v.orDefault().Containerd, first) }

// since reports whether a minor version is this one or later.
func since(version, first string) bool {
	number := func(s string) (n [2]int) {
		for i, part := range strings.SplitN(s, ".", 2) {
			n[i], _ = strconv.Atoi(part)
		}
		return n
	}
	a, b := number(version), number(first)
	return slices.Compare(a[:], b[:]) >= 0
}

// moduleFile is a module file below tools/ that requires one version of a program.
type moduleFile struct {
	dir, name string // "tools/k8s", "1.33.mod"; without a name go.mod
	module    string // "k8s.io/kubernetes"
	version   string // of that module: "v1.33.13"
}

// findModuleFile finds the module file of a minor version. Its error names those that exist.
func findModuleFile(src, module, minor, dir string) (moduleFile, error) {
	m := moduleFile{dir: dir, name: minor + ".mod", module: module}
	b, err := os.ReadFile(filepath.Join(src, dir, m.name))
	if err != nil {
		return m, err
	}
	for lines := bufio.NewScanner(strings.NewReader(string(b))); lines.Scan(); {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "require "))
		if len(f) >= 2 && f[0] == module {
			m.version = f[1]
			return m, nil
		}
	}
	return m, fmt.Errorf("%s/%s does not require %s", dir, m.name, module)
}

// kubernetesDir and containerdDirs have the module files of the versions.
const kubernetesDir = "tools/k8s"

func containerdDirs() []string { return []string{"tools/readers/v1", "tools/readers/v2"} }

// check returns an error that names the versions there are, if one of v is not among them.
func (v Versions) check(src string) error {
	for _, part := range []struct {
		name, chosen string
		known        []string
		dirs         []string
	}{
		{"Kubernetes", v.Kubernetes, []string{defaultVersions().Kubernetes}, []string{kubernetesDir}},
		{"containerd", v.Containerd, []string{defaultVersions().Containerd, debianContainerd}, containerdDirs()},
	} {
		known := part.known
		for _, dir := range part.dirs {
			files, err := filepath.Glob(filepath.Join(src, dir, "[0-9]*.mod"))
			if err != nil {
				return err
			}
			for _, f := range files {
				if name := strings.TrimSuffix(filepath.Base(f), ".mod"); strings.Count(name, ".") == 1 {
					known = append(known, name)
				}
			}
		}
		if slices.Sort(known); !slices.Contains(known, part.chosen) {
			return fmt.Errorf("%s %s: the lab has %s", part.name, part.chosen, strings.Join(slices.Compact(known), ", "))
		}
	}
	return nil
}

// dirs returns the directories below bin/ that come before it in the search path.
func (v Versions) dirs() []string {
	var dirs []string
	if d := defaultVersions(); v.Kubernetes != d.Kubernetes {
		dirs = append(dirs, kubernetesBin(v.Kubernetes))
	}
	if d := defaultVersions(); v.Containerd != d.Containerd {
		dirs = append(dirs, containerdBin(v.Containerd))
	}
	return dirs
}

func kubernetesBin(minor string) string { return "versions/kubernetes-" + minor }
func containerdBin(minor string) string { return "versions/containerd-" + minor }

// Containerd returns the path of the containerd of a minor version, which Build makes.
func (d Dir) Containerd(minor string) string {
	if minor == "" || minor == defaultVersions().Containerd {
		return d.Bin("containerd")
	}
	return d.Bin(containerdBin(minor) + "/containerd")
}

// Kubelet returns the path of the kubelet of a minor version, which Build makes.
func (d Dir) Kubelet(minor string) string {
	if minor == "" || minor == defaultVersions().Kubernetes {
		return d.Bin("kubelet")
	}
	return d.Bin(kubernetesBin(minor) + "/kubelet")
}

// program returns the path of a program of the running lab's versions.
func (d Dir) program(name string) string {
	for _, dir := range d.Versions().dirs() {
		if path := d.Bin(dir + "/" + name); exists(path) {
			return path
		}
	}
	return d.Bin(name)
}

// Versions returns those of the running lab. Up has recorded them.
func (d Dir) Versions() Versions {
	var v Versions
	if b, err := os.ReadFile(d.Run("versions.json")); err == nil {
		_ = json.Unmarshal(b, &v) // written by recordVersions
	}
	return v.orDefault()
}

// recordVersions records the versions of a lab that starts.
func recordVersions(d Dir, v Versions) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Run(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.Run("versions.json"), b, 0o644)
}

// kubernetesTarget returns the target of the version in a module file, or of the default.
func kubernetesTarget(file moduleFile) target {
	minor := minorOf(file.version)
	ldflags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		ldflags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=%[3]s",
			pkg, file.version, strings.TrimPrefix(minor, "1."))
	}
	return target{
		name: "kubernetes " + file.version + " and etcd", dir: file.dir, module: file.name, packages: []string{"./cmd/labkube"},
		ldflags: ldflags, binaries: []string{"labkube"},
		links:   []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"},
		sources: []string{"tools/k8s/cmd/labkube/*.go", "tools/k8s/rancher/*.go"},
	}
}

// containerdTarget returns the target of the version in a module file, or of the default.
func containerdTarget(file moduleFile) target {
	return target{
		name: "containerd " + file.version, dir: file.dir, module: file.name, tags: "no_btrfs no_devmapper no_zfs",
		ldflags: "-s -w -X " + file.module + "/version.Version=" + file.version,
		packages: []string{
			file.module + "/cmd/containerd", file.module + "/cmd/containerd-shim-runc-v2", file.module + "/cmd/ctr",
		},
		binaries: []string{"containerd", "containerd-shim-runc-v2", "ctr"},
	}
}

// versionTargets returns the targets of Kubernetes and containerd in versions v.
func versionTargets(src string, v Versions) ([]target, error) {
	const kubernetes, containerd = "k8s.io/kubernetes", "github.com/containerd/containerd"
	defaults := defaultVersions()
	var all []target
	if v.Containerd == defaults.Containerd {
		all = append(all, containerdTarget(moduleFile{"tools/containerd", "", containerd + "/v2", containerdVersion}))
	} else if v.Containerd != debianContainerd {
		module, dir := containerd, containerdDirs()[0]
		if since(v.Containerd, "2.0") {
			module, dir = containerd+"/v2", containerdDirs()[1]
		}
		file, err := findModuleFile(src, module, v.Containerd, dir)
		if err != nil {
			return nil, err
		}
		t := containerdTarget(file)
		t.out = containerdBin(v.Containerd)
		all = append(all, t)
	}
	if v.Kubernetes == defaults.Kubernetes {
		return append(all, kubernetesTarget(moduleFile{kubernetesDir, "", kubernetes, kubernetesVersion})), nil
	}
	file, err := findModuleFile(src, kubernetes, v.Kubernetes, kubernetesDir)
	if err != nil {
		return nil, err
	}
	t := kubernetesTarget(file)
	t.out = kubernetesBin(v.Kubernetes)
	return append(all, t), nil
}

// UnpackDebianContainerd gets containerd 1.6 from Debian 12's package, once.
func UnpackDebianContainerd(ctx context.Context, d Dir) error {
	final := d.Bin(containerdBin(debianContainerd))
	if exists(filepath.Join(final, "containerd")) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(final), ".debian")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// Without the option, apt downloads as a user who may not write here.
	const get = "apt-get -qq -o APT::Sandbox::User=root download 'containerd=" + debianContainerd + ".*'"
	cmd := exec.CommandContext(ctx, "sh", "-c", "("+get+" || { apt-get -qq update && "+get+"; }) && dpkg -x containerd_*.deb .")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("containerd %s, which Debian 12 has: %w\n%s", debianContainerd, err, out)
	}
	return os.Rename(filepath.Join(tmp, "usr/bin"), final)
}

//go:embed config/containerd-v2.toml
var containerdConfigV2 string

// containerdConfigOf returns config.toml for a version of containerd: format 3 since 2.0.
func containerdConfigOf(version string) string {
	switch {
	case !since(version, "2.0"):
		return containerdConfigV2
	case !since(version, "2.1"):
		return strings.Replace(containerdConfig, `bin_dirs = ["/usr/lib/cni"]`, `bin_dir = "/usr/lib/cni"`, 1)
	}
	return containerdConfig
}

// providersConfigOf returns the kubelet's credential providers for a version of Kubernetes.
// The last two take a token of the pod's ServiceAccount, which kubelets do since 1.34; an
// older one refuses the file (tokenAttributes.cacheType is unknown to it).
func providersConfigOf(version string) string {
	if !since(version, "1.34") {
		config, _, _ := strings.Cut(providersConfig, "- name: lab-token-provider\n")
		return config
	}
	return providersConfig
}
