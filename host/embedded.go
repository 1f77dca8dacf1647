package host

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// This file is about kubelets that are part of another program: k3s, and kubelite of
// microk8s. Their flags are not on the command line of that program.

// isKubelet reports whether a process of this name is, or has in it, a kubelet.
func isKubelet(comm string) bool { return comm == "kubelet" || comm == "kubelite" || isK3s(comm) }

// isK3s reports whether a process of this name is the part of k3s that has the kubelet
// (k3s-io/k3s, cmd/k3s/main.go).
func isK3s(comm string) bool { return comm == "k3s-server" || comm == "k3s-agent" }

// k3sDefaults is the drop-in that k3s writes when it has started, before its kubelet reads it
// (pkg/daemons/agent/agent_linux.go).
const k3sDefaults = "00-k3s-defaults.conf"

// microk8sFlags is the file that kubelite reads the kubelet's flags from.
const microk8sFlags = "/var/snap/microk8s/current/args/kubelet"

// snapVariables are those that the file has in it (canonical/microk8s,
// microk8s-resources/default-args/kubelet).
var snapVariables = strings.NewReplacer(
	"${SNAP_COMMON}", "/var/snap/microk8s/common", "$SNAP_COMMON", "/var/snap/microk8s/common",
	"${SNAP_DATA}", "/var/snap/microk8s/current", "$SNAP_DATA", "/var/snap/microk8s/current",
	"${SNAP}", "/snap/microk8s/current", "$SNAP", "/snap/microk8s/current",
)

// KubeletArgs returns the command line of the kubelet process p, and the directory at
// which its relative paths start. Of a kubelet in another program it is the one that the
// program's files amount to.
func (p *Process) KubeletArgs(root Files) (args []string, dir string, err error) {
	switch comm := p.comm(); {
	case comm == "kubelite":
		args, err = microk8sArgs(root)
	case isK3s(comm):
		var settings k3sSettings
		if settings, err = readK3s(root, p.Service()); err == nil {
			args, err = settings.kubeletArgs(root)
		}
	default:
		args, err = p.Cmdline()
	}
	if err != nil {
		return nil, "", err
	}
	dir, err = p.Dir()
	return args, dir, err
}

func microk8sArgs(root Files) ([]string, error) {
	text, err := root.ReadFile(microk8sFlags)
	if err != nil {
		return nil, err
	}
	flags := snapVariables.Replace(strings.Join(joinLines(string(text)), " "))
	return append([]string{"kubelet"}, splitWords(flags)...), nil
}

// k3sSettings are the settings of k3s that concern its kubelet.
type k3sSettings struct {
	DataDir        string     `json:"data-dir"`
	Endpoint       string     `json:"container-runtime-endpoint"`
	Docker         bool       `json:"docker"`
	ProviderBinDir string     `json:"image-credential-provider-bin-dir"`
	ProviderConfig string     `json:"image-credential-provider-config"`
	KubeletArg     stringList `json:"kubelet-arg"`
	MoreKubeletArg stringList `json:"kubelet-arg+"` // a later file adds to an earlier one
}

// stringList is a YAML list, or a single value.
type stringList []string

func (l *stringList) UnmarshalJSON(text []byte) error {
	var one string
	if yaml.Unmarshal(text, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return yaml.Unmarshal(text, (*[]string)(l))
}

// errHiddenFlags is that k3s was not started by a service whose files can be read.
var errHiddenFlags = errors.New("k3s hides its flags, and it has no service whose files have them")

// readK3s reads the settings of k3s: its configuration files, and the flags that its
// service starts it with, which override these. Its own command line is hidden
// (pkg/cli/server, SetProcTitle).
func readK3s(root Files, service string) (s k3sSettings, err error) {
	names, err := Glob(root, "/etc/rancher/k3s/config.yaml.d/*.yaml")
	if err != nil {
		return s, err
	}
	for _, name := range append([]string{"/etc/rancher/k3s/config.yaml"}, names...) {
		text, err := root.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.MoreKubeletArg = nil
		if err == nil {
			err = yaml.Unmarshal(text, &s)
		}
		if err != nil {
			return s, errors.New(name + " cannot be read")
		}
		s.KubeletArg = append(s.KubeletArg, s.MoreKubeletArg...)
	}
	command := execStart(root, service)
	if command == nil {
		return s, errHiddenFlags
	}
	flags := ParseFlags(command, "data-dir", "container-runtime-endpoint",
		"image-credential-provider-bin-dir", "image-credential-provider-config", "kubelet-arg")
	for flag, value := range map[string]*string{
		"data-dir": &s.DataDir, "container-runtime-endpoint": &s.Endpoint,
		"image-credential-provider-bin-dir": &s.ProviderBinDir, "image-credential-provider-config": &s.ProviderConfig,
	} {
		if given, ok := flags.Last(flag); ok {
			*value = given
		}
	}
	for _, word := range command {
		s.Docker = s.Docker || word == "--docker" || word == "--docker=true"
	}
	s.KubeletArg = append(s.KubeletArg, flags["kubelet-arg"]...)
	return s, nil
}

// execStart returns the command line in the files of a service; nil if there is none.
func execStart(root Files, service string) (command []string) {
	if service == "" {
		return nil
	}
	u := &Unit{Name: service}
	for _, dir := range unitDirs {
		text, ok := u.read(root, path.Join(dir, service))
		if !ok {
			continue
		}
		set := parseUnit(text)
		for _, file := range u.dropIns(root, unitDropIns(service), unitDirs) {
			if text, ok := u.read(root, file); ok {
				set = append(set, parseUnit(text)...)
			}
		}
		for _, a := range set {
			if a.Key == "ExecStart" {
				command = splitWords(a.Value) // an empty one resets it
			}
		}
		return command
	}
	return nil
}

// kubeletArgs returns the command line that k3s gives its kubelet, as far as it is read
// here (pkg/daemons/agent/agent_linux.go, pkg/cli/cmds/agent.go).
func (s k3sSettings) kubeletArgs(root Files) ([]string, error) {
	dropIns := path.Join(cmp.Or(s.DataDir, "/var/lib/rancher/k3s"), "agent/etc/kubelet.conf.d")
	args := []string{"kubelet"}
	switch entries, err := root.ReadDir(dropIns); {
	case err == nil && len(entries) > 0:
		args = append(args, "--config-dir="+dropIns)
	case err == nil || errors.Is(err, fs.ErrNotExist): // before 1.32
		args = append(args, "--eviction-hard=imagefs.available<5%,nodefs.available<5%")
	default:
		return nil, err
	}
	bin := cmp.Or(s.ProviderBinDir, "/var/lib/rancher/credentialprovider/bin")
	config := cmp.Or(s.ProviderConfig, "/var/lib/rancher/credentialprovider/config.yaml")
	_, binErr := root.ReadDir(bin)
	_, configErr := root.ReadFile(config)
	if binErr == nil && configErr == nil { // k3s leaves the flags out otherwise
		args = append(args, "--image-credential-provider-bin-dir="+bin, "--image-credential-provider-config="+config)
	} else if err := cmp.Or(binErr, configErr); errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	for _, arg := range s.KubeletArg {
		args = append(args, "--"+strings.TrimPrefix(arg, "--"))
	}
	return args, nil
}
