package host

import (
	"strconv"
	"strings"
)

// AlphaGate reports whether an alpha feature is switched on in the kubelet process p: by
// its flag, its configuration files, or AllAlpha in one of them. An alpha feature is off
// otherwise. The files are read as they are now.
func (p *Process) AlphaGate(name string) (bool, error) {
	root, err := p.Root()
	if err != nil {
		return false, err
	}
	defer root.Close()
	args, dir, err := p.KubeletArgs(root)
	if err != nil {
		return false, err
	}
	return alphaGate(root, args, dir, name)
}

// alphaGate is AlphaGate for a command line. A flag overrides the same gate in a file
// (cmd/kubelet/app/server.go, kubeletConfigFlagPrecedence).
func alphaGate(root Files, args []string, cwd, name string) (bool, error) {
	flags := parseEvictionFlags(args, cwd)
	config, _, _, err := readKubeletConfig(root, flags.config, flags.configDir)
	if err != nil {
		return false, err
	}
	gates := config.FeatureGates
	if gates == nil {
		gates = map[string]bool{}
	}
	for _, list := range ParseFlags(args, "feature-gates")["feature-gates"] {
		for pair := range strings.SplitSeq(list, ",") {
			key, value, _ := strings.Cut(pair, "=")
			if on, err := strconv.ParseBool(strings.TrimSpace(value)); err == nil {
				gates[strings.TrimSpace(key)] = on
			}
		}
	}
	if on, set := gates[name]; set {
		return on, nil
	}
	return gates["AllAlpha"], nil
}
