//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/lab"
)

// rancherNode is a node of k3s or RKE2.
type rancherNode struct {
	name       string
	unit       string // the service that runs containerd and the kubelet
	registries string // registries.yaml
	certs      string // the directory that the service generates from it
	dropIns    string // the directory with the kubelet's settings
	from       string // what names the socket
}

func rancherNodes() []rancherNode {
	of := func(name, from string) rancherNode {
		return rancherNode{
			name: "node-" + name, unit: name + "-agent", from: from, registries: "/etc/rancher/" + name + "/registries.yaml",
			certs:   "/var/lib/rancher/" + name + "/agent/etc/containerd/certs.d",
			dropIns: "/var/lib/rancher/" + name + "/agent/etc/kubelet.conf.d",
		}
	}
	return []rancherNode{
		of(lab.K3s, "the default of k3s"),
		of(lab.RKE2, "containerRuntimeEndpoint of the kubelet's configuration"),
	}
}

const (
	rancherSocket = "/run/k3s/containerd/containerd.sock"
	otherCA       = "/etc/rancher/other-ca.crt" // signed badca.lab
)

// Nodes of other layouts and address families get right verdicts, with the manifests as
// they are. They run beside each other.
func TestOtherNodes(t *testing.T) {
	if *providers && *secrets {
		suite.agentsWith(t, runProviders)
	}
	for _, n := range rancherNodes() {
		t.Run(n.name, func(t *testing.T) {
			skipWithoutSecrets(t)
			t.Parallel()
			n.testLayout(t)
		})
	}
	t.Run("IPv6Only", func(t *testing.T) {
		t.Parallel()
		testIPv6Only(t)
	})
	t.Run("BothFamilies", func(t *testing.T) {
		t.Parallel()
		testBothFamilies(t)
	})
}

// testLayout tests that the agent finds the runtime, that the verdicts are those of other
// nodes, and that the fixes name what the node's files are generated from. Applied as
// printed, they help.
func (n rancherNode) testLayout(t *testing.T) {
	suite.addNode(t, n.name)
	t.Run("runtime", n.testRuntime)
	t.Run("verdicts", n.testVerdicts)
	t.Run("faults", n.testFaults)
	t.Run("fixes", n.testFixes)
	t.Run("providers", n.testProviders)
	t.Run("no-runtime", n.testNoRuntime)
}

// testRuntime tests that the log and the report say which runtime the agent uses and why,
// and that a second one, on the usual socket, changes nothing.
func (n rancherNode) testRuntime(t *testing.T) {
	check := func() {
		t.Helper()
		agent := suite.agentPod(t, n.name)
		want := `"socket":"` + rancherSocket + `","from":"` + n.from + `"`
		if log := suite.agentLog(t, agent.Name); strings.Count(log, `"container runtime"`) != 1 || !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
		_, r, ok := suite.waitReport(t, n.name, time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
			return r.Time.After(agent.CreationTimestamp.Time) && r.Runtime.Outcome == "pass"
		})
		if !ok || r.Runtime.Evidence["socket"] != rancherSocket || r.Runtime.Evidence["from"] != n.from {
			t.Errorf("the report says of the runtime: %+v", r.Runtime)
		}
		if got, want := r.Disk.Evidence["evictionFrom"], n.dropIns; got != want {
			t.Errorf("the thresholds of eviction are from %q, want %q", got, want)
		}
	}
	check()
	n.startSecondRuntime(t)
	suite.restartAgent(t, n.name)
	check()
}

// startSecondRuntime runs a containerd on the usual socket until the test ends, as Docker
// does.
func (n rancherNode) startSecondRuntime(t *testing.T) {
	t.Helper()
	const dir, socket = "/run/second", "/run/containerd/containerd.sock"
	cmd := exec.Command(suite.Dir().Bin("containerd"), "--address", socket, "--root", dir+"/root", "--state", dir+"/state")
	if err := suite.Start(n.name, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := suite.RemoveFile(n.name, socket); err != nil {
			t.Error(err)
		}
	})
	if !suite.eventually(t, 30*time.Second, func(ctx context.Context) bool {
		_, err := suite.Exec(ctx, n.name, "ctr", "--address", socket, "version")
		return err == nil
	}) {
		t.Fatal("the second runtime does not start")
	}
}

// testVerdicts tests the verdicts of TestVerdicts.
func (n rancherNode) testVerdicts(t *testing.T) {
	ns := suite.namespace(t)
	suite.createFaults(t, n.name, ns)
	for _, f := range faults {
		want := f.want
		switch cause := strings.Fields(want)[1]; cause {
		case "ConnectionRefused", "ConnectionTimeout", "HostNotFound": // other nodes say more about it, or not yet
			want = "* " + cause + " *"
		}
		d := suite.waitVerdict(t, n.name, ns+"/"+f.name, want, 3*time.Minute)
		if strings.Contains(d.Verdict.Fix, "hosts.toml") {
			t.Errorf("%s: the fix names a file that %s will overwrite: %s", f.name, n.unit, d.Verdict.Fix)
		}
	}
}

// testFaults tests faults of the node itself.
func (n rancherNode) testFaults(t *testing.T) {
	for _, tt := range []struct{ fault, image, want, fix string }{
		{"resolver-dead", "registry.lab/app:2", "node-infrastructure ResolverUnreachable *", ""},
		{"ca-missing", "registry.lab/app:2", "node-infrastructure CertificateUntrusted confirmed", n.registries},
		{"disk-full", "registry.lab/big:1", "node-infrastructure DiskFull *", ""},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			ns := suite.namespace(t)
			suite.inject(t, n.name, tt.fault)
			p := suite.pod(t, podOptions{Node: n.name, Namespace: ns, Name: "waits", Image: tt.image, Policy: corev1.PullAlways})
			// On a full disk the pod does not get as far as its image.
			now := "now"
			suite.annotate(t, p, &now)
			d := suite.waitVerdict(t, n.name, ns+"/waits", tt.want, 2*time.Minute)
			if !strings.Contains(d.Verdict.Fix, tt.fix) {
				t.Errorf("the fix does not name %s: %s", tt.fix, d.Verdict.Fix)
			}
		})
	}
}

// rancherFix is a pull that fails, and what the fix leaves to who applies it: the content
// of registries.yaml.
type rancherFix struct {
	name, image string
	before      string // registries.yaml when the service was started; empty: none
	unread      string // registries.yaml that was written since
	hosts       string // a hosts.toml that someone wrote into the generated directory
	want        string // fault cause confidence
	after       string // registries.yaml with which it works; empty: as it is
}

func rancherFixes() []rancherFix {
	const trusts = "configs: {badca.lab: {tls: {ca_file: " + otherCA + "}}}"
	login := func(password string) string {
		return "configs: {auth.lab: {auth: {username: " + lab.User + ", password: " + password + "}}}"
	}
	return []rancherFix{
		{name: "ca", image: "badca.lab/app:1", want: "node-infrastructure CertificateUntrusted confirmed", after: trusts},
		{name: "unread", image: "badca.lab/app:1", unread: trusts, want: "node-infrastructure CertificateUntrusted confirmed"},
		{
			name: "by-hand", image: "badca.lab/app:1", hosts: "server = \"https://badca.lab\"\nca = [\"" + otherCA + "\n",
			want: "node-infrastructure RuntimeConfigInvalid *", after: trusts,
		},
		{
			name: "plain-http", image: "plain.lab/app:1", want: "node-infrastructure PlainHTTPRegistry confirmed",
			after: "mirrors: {plain.lab: {endpoint: ['http://plain.lab:443']}}",
		},
		{
			name: "login", image: "auth.lab/app:1", before: login("hunter2-canary"), want: "* CredentialsRejected confirmed",
			after: login(lab.Password),
		},
	}
}

func (n rancherNode) testFixes(t *testing.T) {
	ca, err := os.ReadFile(suite.Dir().PKI("other-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	suite.writeNodeFile(t, n.name, otherCA, string(ca))
	for _, f := range rancherFixes() {
		t.Run(f.name, func(t *testing.T) { n.testFix(t, f) })
	}
}

var restartCommand = regexp.MustCompile(`systemctl restart (\S+)\.service`)

// testFix breaks a pull, and then does what the fix says and no more.
func (n rancherNode) testFix(t *testing.T, f rancherFix) {
	restart := func(unit string) {
		t.Helper()
		if err := suite.RestartService(context.WithoutCancel(t.Context()), n.name, unit); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { restart(n.unit) })
	if f.before != "" {
		suite.writeNodeFile(t, n.name, n.registries, f.before)
		restart(n.unit)
	}
	if f.unread != "" {
		suite.writeNodeFile(t, n.name, n.registries, f.unread)
	}
	if f.hosts != "" {
		host, _, _ := strings.Cut(f.image, "/")
		suite.writeNodeFile(t, n.name, n.certs+"/"+host+"/hosts.toml", f.hosts)
	}
	_ = suite.RemoveImage(t.Context(), n.name, f.image) // of another fix
	ns := suite.namespace(t)
	suite.pod(t, podOptions{Node: n.name, Namespace: ns, Name: f.name, Image: f.image})
	d := suite.waitVerdict(t, n.name, ns+"/"+f.name, f.want, time.Minute)

	unit := restartCommand.FindStringSubmatch(d.Verdict.Fix)
	if !strings.Contains(d.Verdict.Fix, n.registries) || unit == nil || unit[1] != n.unit || strings.Contains(d.Verdict.Fix, "hosts.toml") {
		t.Fatalf("the fix does not name %s and the restart of %s: %s", n.registries, n.unit, d.Verdict.Fix)
	}
	if unread := strings.Contains(d.Verdict.Fix, n.registries+" changed after"); unread != (f.unread != "") {
		t.Errorf("the file was changed and not read: %v; the fix: %s", f.unread != "", d.Verdict.Fix)
	}
	if f.after != "" {
		suite.writeNodeFile(t, n.name, n.registries, f.after)
	}
	restart(unit[1])
	suite.waitRunning(t, ns, f.name)
}

// testProviders tests that the credential providers of the embedded kubelet are known, where
// nothing names them but their default place.
func (n rancherNode) testProviders(t *testing.T) {
	if !*providers {
		t.Skip("the agents cannot run credential providers")
	}
	for _, tt := range []struct {
		mode string
		credentialCase
		want string
	}{
		{"works", credentialCase{name: "works-" + n.unit, repo: "provider", wantTried: goodUser, wantPulled: true}, ""},
		{"nothing", credentialCase{name: "nothing-" + n.unit, repo: "provider", wantTried: "anonymous", wantCause: "CredentialsMissing"},
			"* CredentialsMissing confirmed"},
		{"exit", credentialCase{name: "exit-" + n.unit, repo: "provider", wantTried: "anonymous", wantCause: providerFailedCause},
			"* " + providerFailedCause + " *"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			suite.writeNodeFile(t, n.name, lab.ProviderMode, tt.mode)
			ns := suite.namespace(t)
			suite.runCase(t, n.name, ns, tt.credentialCase, nil)
			if tt.want != "" {
				suite.pod(t, podOptions{Node: n.name, Namespace: ns, Name: "waits", Image: "auth.lab/provider/" + tt.name + ":1"})
				suite.waitVerdict(t, n.name, ns+"/waits", tt.want, time.Minute)
			}
		})
	}
}

// testNoRuntime tests that /readyz says what to set while there is no socket, the report what
// was looked for, and that the agent is ready again without a restart when there is one.
func (n rancherNode) testNoRuntime(t *testing.T) {
	before := suite.agentPod(t, n.name)
	start := func() {
		if err := suite.StartService(context.WithoutCancel(t.Context()), n.name, n.unit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(start)
	if err := suite.StopService(t.Context(), n.name, n.unit); err != nil {
		t.Fatal(err)
	}
	if err := suite.RemoveFile(n.name, rancherSocket); err != nil {
		t.Fatal(err)
	}
	answers := func(want int, texts ...string) {
		t.Helper()
		var status int
		var text string
		if !suite.eventually(t, time.Minute, func(ctx context.Context) bool {
			status, text = suite.health(ctx, n.name, "/readyz")
			return status == want
		}) {
			t.Fatalf("/readyz answers %d %q, want %d", status, text, want)
		}
		for _, part := range texts {
			if !strings.Contains(text, part) {
				t.Errorf("/readyz answers %q, without %q", text, part)
			}
		}
	}
	looked := []string{"no container runtime was found", rancherSocket, "--runtime-endpoint"}
	answers(http.StatusServiceUnavailable, looked...)
	suite.examineAgain(t, n.name)
	_, r, ok := suite.waitReport(t, n.name, 2*time.Minute, func(_ *corev1.ConfigMap, r nodeReport) bool {
		return r.Runtime.Outcome != "pass" && strings.Contains(r.Runtime.Summary, looked[0])
	})
	if !ok || !strings.Contains(r.Runtime.Summary, rancherSocket) {
		t.Errorf("the report says of the runtime: %+v", r.Runtime)
	}
	start()
	answers(http.StatusOK)
	if err := suite.WaitNode(t.Context(), n.name); err != nil {
		t.Fatal(err)
	}
	now := suite.agentPod(t, n.name)
	restarts := func(p corev1.Pod) (n int32) {
		for _, s := range p.Status.ContainerStatuses {
			n += s.RestartCount
		}
		return n
	}
	if now.UID != before.UID || restarts(now) != restarts(before) {
		t.Errorf("the agent was restarted: %+v", now.Status.ContainerStatuses)
	}
}
