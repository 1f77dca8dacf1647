package rancher

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Where k3s and RKE2 expect credential providers (pkg/cli/cmds/agent.go).
const (
	providersFile  = "/var/lib/rancher/credentialprovider/config.yaml"
	providerBinDir = "/var/lib/rancher/credentialprovider/bin"
)

// kubeletDefaults returns the settings that k3s writes for its kubelet
// (pkg/daemons/agent/agent.go, defaultKubeletConfig).
func (p program) kubeletDefaults() map[string]any {
	type m = map[string]any
	return m{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": m{
			"anonymous": m{"enabled": false},
			"webhook":   m{"enabled": true, "cacheTTL": "2m0s"},
			"x509":      m{"clientCAFile": p.data("agent/client-ca.crt")},
		},
		"authorization": m{
			"mode": "Webhook", "webhook": m{"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
		},
		"cgroupDriver":                     "cgroupfs",
		"clusterDomain":                    "cluster.local",
		"containerRuntimeEndpoint":         "unix://" + socket,
		"cpuManagerReconcilePeriod":        "10s",
		"evictionHard":                     m{"imagefs.available": "5%", "nodefs.available": "5%"},
		"evictionMinimumReclaim":           m{"imagefs.available": "10%", "nodefs.available": "10%"},
		"evictionPressureTransitionPeriod": "5m0s",
		"failSwapOn":                       false,
		"fileCheckFrequency":               "20s",
		"healthzBindAddress":               "127.0.0.1",
		"httpCheckFrequency":               "20s",
		"imageMinimumGCAge":                "2m0s",
		"nodeStatusReportFrequency":        "5m0s",
		"nodeStatusUpdateFrequency":        "10s",
		"resolvConf":                       "/etc/resolv.conf",
		"runtimeRequestTimeout":            "2m0s",
		"serializeImagePulls":              false,
		"staticPodPath":                    p.data("agent/pod-manifests"),
		"streamingConnectionIdleTimeout":   "4h0m0s",
		"syncFrequency":                    "1m0s",
		"tlsCertFile":                      p.data("agent/serving-kubelet.crt"),
		"tlsPrivateKeyFile":                p.data("agent/serving-kubelet.key"),
		"volumeStatsAggPeriod":             "1m0s",
	}
}

// writeKubeletDefaults writes the first drop-in of the kubelet's configuration directory.
func (p program) writeKubeletDefaults() error {
	text, err := yaml.Marshal(p.kubeletDefaults())
	if err != nil {
		return err
	}
	for _, dir := range []string{p.data("agent/pod-manifests"), p.data("agent/etc/kubelet.conf.d")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(p.data("agent/etc/kubelet.conf.d"), "00-"+p.name+"-defaults.conf"), text, 0o600)
}

// kubeletArgs returns the kubelet's arguments. A flag in the settings replaces one of k3s
// (pkg/daemons/agent/agent_linux.go, kubeletArgsAndConfig; pkg/util/args.go, GetArgs).
func (p program) kubeletArgs(s settings) []string {
	args := map[string]string{
		"config-dir":        p.data("agent/etc/kubelet.conf.d"),
		"hostname-override": s.NodeName,
		"kubeconfig":        p.data("agent/kubelet.kubeconfig"),
		"node-ip":           s.NodeIP,
		"node-labels":       strings.Join(s.NodeLabel, ","),
		"read-only-port":    "0",
	}
	if isDir(providerBinDir) && isFile(providersFile) {
		args["image-credential-provider-bin-dir"] = providerBinDir
		args["image-credential-provider-config"] = providersFile
	}
	for _, arg := range s.KubeletArg {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		args[name] = value
	}
	var sorted []string
	for name, value := range args {
		sorted = append(sorted, "--"+name+"="+value)
	}
	slices.Sort(sorted)
	return append(slices.Clone(p.extraKubeletArgs), sorted...)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}
