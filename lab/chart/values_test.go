package chart

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func examples(t *testing.T) []string {
	t.Helper()
	files := value(filepath.Glob(chartDir + "/examples/*.yaml"))(t)
	if len(files) < 7 {
		t.Fatalf("examples: %q", files)
	}
	return files
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, file := range append(examples(t), chartDir+"/values.yaml") {
		must(t, "helm", "lint", "--strict", "--quiet", chartDir, "--values="+file)
	}
}

// TestWrongValues checks that a wrong value is refused, and named.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"--set=colour=red", "additional properties 'colour' not allowed"},
		{"--set=metrics.enable=true", "at '/metrics': additional properties 'enable' not allowed"},
		{"--set=configuration.settings.sweepInterval=5m", "at '/configuration/settings': additional properties 'sweepInterval' not allowed"},
		{"--set=configuration.settings.sweep-interval=5", "at '/configuration/settings/sweep-interval'"},
		{"--set=configuration.settings.sweep-interval=soon", "'soon' does not match pattern"},
		{"--set=configuration.settings.deny=a.example", "at '/configuration/settings/deny': got string, want array"},
		{"--set=options.node-name=a", "at '/options': additional properties 'node-name' not allowed"},
		{"--set=image.digest=v1", "at '/image/digest': 'v1' does not match pattern"},
		{"--set=configuration.settings.ascii=true", "configuration.settings has no effect: set configuration.enabled=true"},
		{"--set=podMonitor.enabled=true", "podMonitor and scrapeConfig need metrics.enabled=true"},
		{"--set=podMonitor.enabled=true,scrapeConfig.enabled=true,metrics.enabled=true", "enable one of them"},
		{"--set=podMonitor.enabled=true,metrics.enabled=true,options.metrics-auth=false", "remove metrics-auth from options"},
		{"--kube-version=1.29.4", "admissionPolicy needs Kubernetes 1.30, this is v1.29.4: set admissionPolicy.enabled=false"},
		{"--kube-version=1.29.4 --set=admissionPolicy.enabled=false,fleet.enabled=false,hardened.enabled=true", "hardened needs Kubernetes 1.30"},
		{"--kube-version=1.29.4 --set=admissionPolicy.enabled=false,fleet.enabled=false,configuration.enabled=true", "configuration needs Kubernetes 1.30"},
		{"--kube-version=1.35.2 --set=readAsNode.enabled=true", "readAsNode needs Kubernetes 1.36"},
		{
			"--kube-version=1.35.2 --set=credentialProviders.enabled=true,credentialProviderTokens.enabled=true",
			"credentialProviderTokens needs Kubernetes 1.36",
		},
		{"--kube-version=1.36.0 --set=credentialProviderTokens.enabled=true", "credentialProviderTokens needs credentialProviders.enabled=true"},
	} {
		_, err := run(t, "helm", append([]string{"template", "pullprobe", chartDir}, strings.Fields(tt.args)...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
	for _, args := range []string{"--kube-version=v1.30.5-gke.1014003", "--kube-version=v1.36.1-eks-abcdef --set=readAsNode.enabled=true"} {
		must(t, "helm", append([]string{"template", "pullprobe", chartDir}, strings.Fields(args)...)...)
	}
}

// TestValues checks what values become.
func TestValues(t *testing.T) {
	t.Parallel()
	const daemonSet = "DaemonSet pullprobe/pullprobe"
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, tt := range []struct{ values, object, want string }{
		{"image: {tag: v9}", daemonSet, "image: ghcr.io/pullprobe/pullprobe:v9\n"},
		{"image: {tag: v9, digest: '" + digest + "'}", daemonSet, "image: ghcr.io/pullprobe/pullprobe:v9@" + digest + "\n"},
		{"imagePullSecrets: [{name: regcred}]", "ServiceAccount pullprobe/pullprobe", "imagePullSecrets:\n- name: regcred\n"},
		{"options: {log-level: debug, workers: 8, metrics-auth: false}", daemonSet, "name: PULLPROBE_WORKERS\n          value: \"8\"\n"},
		{"options: {metrics-auth: false}", daemonSet, "name: PULLPROBE_METRICS_AUTH\n          value: \"false\"\n"},
		{
			"configuration: {enabled: true, settings: {test-pull-max-bytes: 2147483648}}", "ConfigMap pullprobe/pullprobe-config",
			"\n    test-pull-max-bytes: 2147483648\n",
		},
		{
			`configuration: {enabled: true, settings: {deny: ["*.corp.example", 10.0.0.0/8], ascii: true, sweep-interval: 2m}}`,
			"ConfigMap pullprobe/pullprobe-config", "\n    ascii: true\n    deny: [\"*.corp.example\",\"10.0.0.0/8\"]\n    sweep-interval: 2m\n",
		},
		{"priorityClassQuota: 50", "ResourceQuota pullprobe/pullprobe", "pods: \"50\"\n"},
		{"hardened: {enabled: true, seLinuxType: spc_t}", daemonSet, "seLinuxOptions:\n            type: spc_t\n"},
		{"containerd: {socketDirectory: /run/k3s/containerd}", daemonSet, "path: /run/k3s/containerd\n"},
		{"credentialProviders: {enabled: true, memoryLimit: 512Mi}", daemonSet, "memory: 512Mi\n"},
		{
			`dashboard: {enabled: true, labels: {dashboards: "yes"}, annotations: {grafana_folder: Nodes}}`,
			"ConfigMap pullprobe/grafana-dashboard-pullprobe", "annotations:\n    grafana_folder: Nodes\n",
		},
		{"podMonitor: {enabled: true, labels: {release: p}}\nmetrics: {enabled: true}", "PodMonitor pullprobe/pullprobe", "release: p\n"},
	} {
		o := template(t, tt.values)[tt.object]
		if o == nil {
			t.Errorf("%s: no %s", tt.values, tt.object)
			continue
		}
		if text := string(value(yaml.Marshal(o.Object))(t)); !strings.Contains(text, tt.want) {
			t.Errorf("%s: no %q in\n%s", tt.values, tt.want, text)
		}
	}
}
