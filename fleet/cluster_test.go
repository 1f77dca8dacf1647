package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// world is a real kube-apiserver with the manifests, and no nodes.
type world struct {
	t     testing.TB
	bin   string
	dir   string
	url   string
	etcd  string // its address
	admin *kube.Client
}

const adminToken = "test-administrator"

// newWorld starts etcd and kube-apiserver, which are beside the program that
// PULLPROBE_KUBE_APISERVER names, or on PATH, and applies the manifests.
func newWorld(t testing.TB) *world {
	t.Helper()
	program := os.Getenv("PULLPROBE_KUBE_APISERVER")
	if program == "" {
		program, _ = exec.LookPath("kube-apiserver")
	}
	w := &world{t: t, bin: filepath.Dir(program), dir: t.TempDir()}
	for _, name := range []string{"etcd", "kubectl", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(w.bin, name)); err != nil || testing.Short() {
			t.Skipf("no %s: name kube-apiserver with PULLPROBE_KUBE_APISERVER, or put all on PATH", name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.check(err)
	der, err := x509.MarshalECPrivateKey(key)
	w.check(err)
	keyFile, tokens := filepath.Join(w.dir, "sa.key"), filepath.Join(w.dir, "tokens.csv")
	w.check(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	w.check(os.WriteFile(tokens, []byte(adminToken+",admin,admin,system:masters\n"), 0o600))
	client, peer, secure := w.freePort(), w.freePort(), w.freePort()
	w.start("etcd", "--data-dir="+w.dir+"/etcd", "--unsafe-no-fsync", "--log-level=warn", "--listen-client-urls=http://"+client,
		"--advertise-client-urls=http://"+client, "--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer,
		"--initial-cluster=default=http://"+peer)
	host, port, _ := net.SplitHostPort(secure)
	w.etcd = "http://" + client
	w.url = "https://" + secure
	w.start("kube-apiserver", "--etcd-servers=http://"+client, "--bind-address="+host, "--secure-port="+port, "--cert-dir="+w.dir,
		"--service-account-issuer=https://test", "--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile,
		"--token-auth-file="+tokens, "--authorization-mode=Node,RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.96.0.0/24", "--advertise-address=127.0.0.1", "--profiling=false", "--allow-privileged=true")
	w.until("the API server is ready", func() bool {
		out, err := w.kubectl("get", "--raw=/readyz")
		return err == nil && out == "ok"
	})
	w.must("apply", "-k", "../manifests")
	w.admin = w.client(adminToken)
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends.
func (w *world) start(name string, args ...string) {
	w.t.Helper()
	log, err := os.Create(filepath.Join(w.dir, name+".log"))
	w.check(err)
	c := exec.Command(filepath.Join(w.bin, name), args...)
	c.Stdout, c.Stderr = log, log
	w.check(c.Start())
	w.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait(); log.Close() })
}

func (w *world) kubeconfig(token string) string {
	name := filepath.Join(w.dir, token[len(token)-8:]+".kubeconfig")
	w.check(os.WriteFile(name, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: %q}}]}`, w.url, token), 0o600))
	return name
}

func (w *world) kubectl(args ...string) (string, error) { return w.kubectlAs(adminToken, "", args...) }

func (w *world) kubectlAs(token, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(w.t.Context(), filepath.Join(w.bin, "kubectl"), append([]string{"--kubeconfig=" + w.kubeconfig(token), "--cache-dir=" + w.dir}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	return string(out) + errs.String(), err
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	out, err := w.kubectl(args...)
	if err != nil {
		w.t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (w *world) client(token string) *kube.Client {
	k, err := kube.New(w.kubeconfig(token), "test", "")
	w.check(err)
	return k
}

// until polls for a condition that cannot be watched.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// node creates a Node in a zone.
func (w *world) node(name, zone string) {
	w.t.Helper()
	out, err := w.kubectlAs(adminToken, fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q,"labels":{"topology.kubernetes.io/zone":%q}}}`, name, zone), "create", "-f", "-")
	if err != nil {
		w.t.Fatal(out)
	}
}

// says writes the report of a node as its agent does.
func (w *world) says(node string, f nodefacts.Facts) {
	w.t.Helper()
	f.Version, f.At, f.Fresh = nodefacts.Version, nodefacts.StampOf(time.Now()), 900
	text, err := f.Encode()
	w.check(err)
	w.writes(node, text)
}

func (w *world) writes(node, facts string) {
	w.t.Helper()
	_, err := w.admin.Apply(w.t.Context(), kube.ConfigMap{
		Name: report.ConfigMapName(node, ""), Namespace: "pullprobe", Labels: map[string]string{report.LabelReport: ""},
		Annotations: map[string]string{nodefacts.Annotation: facts}, Data: map[string]string{report.SummaryKey: "s"},
		Node: node, NodeUID: types.UID(w.must("get", "node", node, "-o", "jsonpath={.metadata.uid}")),
	})
	w.check(err)
}

const registry = "registry.example"

// sees returns the facts of a node that reaches the registry, or fails with a cause.
func sees(cause report.Cause) nodefacts.Facts {
	now := nodefacts.StampOf(time.Now())
	h := nodefacts.Host{Name: registry, State: report.Reachable, Since: now - 3600, Checked: now}
	f := nodefacts.Facts{Control: report.Pass}
	if cause != "" {
		h.State, h.Cause, h.Since = report.Unreachable, cause, now-5
		f.Asks = []string{registry}
	}
	f.Hosts = []nodefacts.Host{h}
	return f
}

// token returns a token of the fleet's ServiceAccount.
func (w *world) token() string { return w.must("-n", "pullprobe", "create", "token", Name) }

// replica runs a replica until the returned function is called, or the test ends.
func (w *world) replica(name string) (stop func() error) {
	w.t.Helper()
	o, err := Parse([]string{"--namespace=pullprobe", "--identity=" + name, "--health-addr=", "--kubeconfig=" + w.kubeconfig(w.token())}, func(string) string { return "" }, new(bytes.Buffer))
	w.check(err)
	f, err := New(o, slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("replica", name))
	w.check(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	var result error
	done := false
	stop = func() error {
		if cancel(); !done {
			result, done = <-ended, true
		}
		return result
	}
	w.t.Cleanup(func() { _ = stop() })
	return stop
}

// result returns what the fleet's ConfigMap says.
func (w *world) result() (r compare.Result, ok bool) {
	text, err := w.admin.ConfigMapData(w.t.Context(), "pullprobe", Name, resultKey)
	if err != nil || text == "" {
		return r, false
	}
	w.check(json.Unmarshal([]byte(text), &r))
	return r, true
}

// shows waits until the fleet has one finding, by this rule, of which all nodes have said
// their part.
func (w *world) shows(rule string, failing, through int) (f compare.Finding) {
	w.t.Helper()
	w.until("the finding "+rule, func() bool {
		r, ok := w.result()
		if !ok || len(r.Findings) != 1 {
			return false
		}
		f = r.Findings[0]
		return f.Rule == rule && f.Failing.Count == failing && f.Through.Count == through
	})
	return f
}

// TestFleet checks what the fleet says of real reports, with its own ServiceAccount.
func TestFleet(t *testing.T) {
	w := newWorld(t)
	for i, n := range []string{"a", "b", "c", "d"} {
		w.node(n, fmt.Sprint("zone-", i/2))
		w.says(n, sees(""))
	}
	stop := w.replica("one")
	w.until("all is well", func() bool {
		r, ok := w.result()
		return ok && r.Nodes == 4 && r.Silent.Count == 0 && len(r.Hosts) == 1 && r.Hosts[0].Through == 4 && len(r.Findings) == 0
	})
	if got := w.must("-n", "pullprobe", "get", "cm", "-l", labelFleet, "-o", `jsonpath={.items[*].metadata.labels.pullprobe\.dev/cause}`); got != "Healthy" {
		t.Errorf("the label cause is %q", got)
	}

	t.Run("what sets the failing nodes apart", func(t *testing.T) {
		w.says("a", sees(report.ConnectionTimeout))
		w.says("b", sees(report.ConnectionTimeout))
		w.says("c", sees(""))
		w.says("d", sees(""))
		f := w.shows("these-nodes", 2, 2)
		if f.Confidence != report.Likely || f.Fault != report.FaultNode || len(f.SetsApart) != 1 || f.SetsApart[0].Trait != compare.TraitZone || f.SetsApart[0].Value != "zone-0" {
			t.Errorf("%s", f.Text())
		}
		text, err := w.admin.ConfigMapData(t.Context(), "pullprobe", Name, report.SummaryKey)
		if err != nil || !strings.Contains(text, "set apart by  zone zone-0") {
			t.Errorf("%v\n%s", err, text)
		}
	})
	t.Run("a report that cannot be read", func(t *testing.T) {
		w.writes("d", `{"v":1,"at":`)
		w.until("it counts as silent", func() bool { r, _ := w.result(); return r.Silent.Count == 1 && r.Silent.First[0] == "d" })
		w.says("d", sees(""))
		w.until("it counts again", func() bool { r, _ := w.result(); return r.Silent.Count == 0 })
	})
	t.Run("its ConfigMap is deleted", func(t *testing.T) {
		w.must("-n", "pullprobe", "delete", "cm", Name)
		w.says("d", sees(report.ConnectionTimeout)) // else it is noticed within half a minute
		w.until("it is there again", func() bool {
			r, ok := w.result()
			return ok && len(r.Findings) == 1 && r.Findings[0].Failing.Count == 3
		})
	})
	t.Run("a node that goes", func(t *testing.T) {
		w.must("delete", "node", "d", "--wait=false")
		w.until("it does not count", func() bool { r, _ := w.result(); return r.Nodes == 3 })
	})
	t.Run("another replica takes over", func(t *testing.T) {
		second := w.replica("two")
		if err := stop(); err != nil {
			t.Error(err)
		}
		w.says("a", sees(""))
		w.says("b", sees(""))
		w.until("all is well again", func() bool { r, _ := w.result(); return len(r.Findings) == 0 && r.Nodes == 3 })
		if got := w.must("-n", "pullprobe", "get", "lease", Name, "-o", "jsonpath={.spec.holderIdentity}"); got != "two" {
			t.Errorf("%q leads", got)
		}
		if err := second(); err != nil {
			t.Error(err)
		}
	})
}

// TestFleetRights checks what the fleet's token may do and may not do.
func TestFleetRights(t *testing.T) {
	w := newWorld(t)
	w.node("a", "z")
	token := w.token()
	k := w.client(token)
	own := func(name string) kube.ConfigMap {
		return kube.ConfigMap{Name: name, Namespace: "pullprobe", Data: map[string]string{report.SummaryKey: "s"}}
	}
	w.until("the policies are active", func() bool {
		_, err := k.Apply(t.Context(), own("probe"))
		return err != nil
	})
	if _, err := k.Apply(t.Context(), own(Name)); err != nil {
		t.Errorf("its own ConfigMap: %v", err)
	}
	large := own(Name)
	large.Data[resultKey] = strings.Repeat("x", maxResult+1)
	foreign := own(Name)
	foreign.Data["script.sh"] = "x"
	owned := own(Name)
	owned.Node, owned.NodeUID = "a", types.UID(w.must("get", "node", "a", "-o", "jsonpath={.metadata.uid}"))
	annotated := own(Name)
	annotated.Annotations = map[string]string{nodefacts.Annotation: "{}"}
	labelled := own(Name)
	labelled.Labels = map[string]string{report.LabelReport: ""}
	for _, tt := range []struct {
		what    string
		cm      kube.ConfigMap
		message string
	}{
		{"the report of a node", own("pullprobe-a"), "and no other"},
		{"a ConfigMap of another name", own("settings"), "and no other"},
		{"the API server's own", own("kube-root-ca.crt"), "and no other"},
		{"too large", large, "at most 128 KiB"},
		{"with a foreign key", foreign, "and no others"},
		{"owned by a node", owned, "and the fleet's own ConfigMap to no object"},
		{"with facts", annotated, "no annotations"},
		{"as a report", labelled, "its own labels"},
	} {
		if _, err := k.Apply(t.Context(), tt.cm); err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: not refused with %q: %v", tt.what, tt.message, err)
		}
	}
	for _, args := range [][]string{
		{"-n", "default", "run", "x", "--image=x"},
		{"-n", "default", "get", "pod", "x"},
		{"-n", "default", "get", "events"},
		{"get", "secrets", "-A"},
		{"-n", "pullprobe", "get", "daemonset"},
		{"-n", "pullprobe", "delete", "cm", Name},
		{"-n", "pullprobe", "delete", "lease", Name},
		{"-n", "default", "get", "cm"},
		{"get", "node", "a"},
		{"label", "node", "a", "x=y"},
		{"-n", "pullprobe", "create", "token", "pullprobe"},
	} {
		if out, err := w.kubectlAs(token, "", args...); err == nil || !strings.Contains(out, "Forbidden") && !strings.Contains(out, "forbidden") {
			t.Errorf("kubectl %q is not refused: %v %s", args, err, out)
		}
	}
	// The agents write no ConfigMap of the fleet.
	agent := w.must("-n", "pullprobe", "create", "token", "pullprobe")
	if _, err := w.client(agent).Apply(t.Context(), own(Name)); err == nil {
		t.Error("an agent's token may write the fleet's ConfigMap")
	}
	var refused error
	if _, refused = w.client(agent).Apply(t.Context(), own("second-opinion-a")); refused == nil || errors.Is(refused, context.Canceled) {
		t.Errorf("an agent's token may forge an answer: %v", refused)
	}
}

// answers returns what the fleet says to a node.
func (w *world) answers(node string) nodefacts.Answers {
	w.t.Helper()
	text, err := w.admin.ConfigMapData(w.t.Context(), "pullprobe", report.AnswersName(node, ""), nodefacts.AnswersKey)
	if apierrors.IsNotFound(err) {
		return nodefacts.Answers{}
	}
	w.check(err)
	a, err := nodefacts.DecodeAnswers(text)
	w.check(err)
	return a
}

// TestSecondOpinion checks that a node that does not reach a host gets what the others see,
// and that these are asked to check it if they have not since.
func TestSecondOpinion(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		w.node(n, "zone-"+n)
		w.says(n, sees(""))
	}
	stop := w.replica("one")
	w.until("all is well", func() bool { r, ok := w.result(); return ok && r.Nodes == 4 && r.Silent.Count == 0 })
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // stamps have seconds: what was checked is older than what follows
	failing := sees(report.ConnectionTimeout)
	failing.Hosts[0].Since = failing.Hosts[0].Checked
	w.says("a", failing)
	var wanted nodefacts.Stamp
	for _, n := range []string{"b", "c", "d"} {
		w.until("node "+n+" is asked", func() bool { a := w.answers(n); return len(a.Checks) == 1 && a.Checks[0].Host == registry })
		wanted = w.answers(n).Checks[0].Since
	}
	if now := nodefacts.StampOf(time.Now()); wanted > now+1 || wanted < now-60 {
		t.Errorf("a check is wanted that is newer than %v", wanted.Time())
	}
	w.until("the time that is wanted", func() bool { return nodefacts.StampOf(time.Now()) >= wanted })
	w.says("b", sees(""))
	w.says("c", sees(report.ConnectionTimeout))
	w.says("d", sees(""))
	var o nodefacts.Opinion
	w.until("the answer", func() bool {
		a := w.answers("a")
		if len(a.Opinions) == 1 {
			o = a.Opinions[0]
		}
		return o.Asked == 3
	})
	if o.Reached != 2 || o.Failed != 1 || fmt.Sprint(o.How, o.Which, o.Failing) != "[ConnectionTimeout] [b d] [c]" || o.Oldest == 0 {
		t.Errorf("%+v", o)
	}
	// Another leader says the same, and takes back what is no longer asked.
	w.check(stop())
	w.replica("two")
	for _, n := range []string{"a", "c"} {
		w.says(n, sees(""))
	}
	for _, n := range []string{"a", "b", "c", "d"} {
		w.until("nothing is left to say to "+n, func() bool { a := w.answers(n); return len(a.Opinions)+len(a.Checks) == 0 })
	}
}

// TestUnscheduled checks what is told about pods that have no node.
func TestUnscheduled(t *testing.T) {
	w := newWorld(t)
	w.node("a", "z")
	w.says("a", sees(""))
	pod := func(name, more string) {
		out, err := w.kubectlAs(adminToken, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{%s"containers":[{"name":"c","image":"r.example/x"}]}}`, name, more),
			"-n", "default", "create", "-f", "-")
		if err != nil {
			t.Fatal(out)
		}
	}
	event := func(name string) string {
		return w.must("-n", "default", "get", "events", "--field-selector=reason=Unscheduled,involvedObject.name="+name, "-o", "jsonpath={.items[*].message}")
	}
	w.replica("one")
	pod("web", "")
	pod("gated", `"schedulingGates":[{"name":"example.com/wait"}],`)
	pod("placed", `"nodeName":"a",`)
	w.must("-n", "default", "patch", "pod", "web", "--subresource=status", "-p",
		`{"status":{"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/1 nodes are available: 1 Insufficient cpu. preemption: none."}]}}`)
	for _, name := range []string{"web", "gated", "placed"} {
		w.must("-n", "default", "annotate", "pod", name, "probe=now")
	}
	w.until("the Event on web", func() bool {
		return strings.Contains(event("web"), "1 of 1 nodes: too little free cpu for the pod's request. More: kubectl -n default describe pod web")
	})
	w.until("the Event on gated", func() bool { return strings.Contains(event("gated"), "scheduling gates are removed: example.com/wait") })
	if got := event("placed"); got != "" {
		t.Errorf("a pod that has a node: %s", got)
	}
	unscheduled := func() string {
		text, err := w.admin.ConfigMapData(t.Context(), "pullprobe", Name, resultKey)
		var d document
		if err != nil || json.Unmarshal([]byte(text), &d) != nil {
			return ""
		}
		names := ""
		for _, p := range d.Unscheduled {
			names += p.Pod + " "
		}
		return names
	}
	w.until("both in fleet.json", func() bool {
		s := unscheduled()
		return strings.Contains(s, "default/web") && strings.Contains(s, "default/gated")
	})
	w.must("-n", "default", "delete", "pod", "web", "--force", "--grace-period=0")
	w.must("-n", "default", "annotate", "pod", "gated", "probe=again", "--overwrite")
	w.until("the pod that is gone is no longer there", func() bool { return unscheduled() == "default/gated " })
}
