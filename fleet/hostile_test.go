package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// statements are all versions of the fleet's ConfigMap.
type statements struct {
	mu  sync.Mutex
	all []compare.Result
}

// listen collects what the fleet says from now on.
func (w *world) listen() *statements {
	w.t.Helper()
	core, err := typedcorev1.NewForConfig(&rest.Config{Host: w.url, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	w.check(err)
	watch, err := core.ConfigMaps("pullprobe").Watch(w.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + Name})
	w.check(err)
	w.t.Cleanup(watch.Stop)
	s := &statements{}
	go func() {
		for e := range watch.ResultChan() {
			cm, ok := e.Object.(*corev1.ConfigMap)
			var r compare.Result
			if ok && json.Unmarshal([]byte(cm.Data[resultKey]), &r) == nil {
				s.mu.Lock()
				s.all = append(s.all, r)
				s.mu.Unlock()
			}
		}
	}()
	return s
}

// never checks that no finding was ever so.
func (s *statements) never(t *testing.T, what string, wrong func(compare.Finding) bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		t.Error("the fleet has said nothing")
	}
	for _, r := range s.all {
		for _, f := range r.Findings {
			if wrong(f) {
				t.Fatalf("the fleet has said %s:\n%s", what, f.Text())
			}
		}
	}
}

// count returns how many versions there were.
func (s *statements) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// TestHostileReports checks that reports which are corrupt, too large, of a newer version or
// false never make the fleet blame a registry, and that it heals when they are right again.
func TestHostileReports(t *testing.T) {
	w := newWorld(t)
	nodes := []string{"a", "b", "c", "fleet", "evil"}
	for i, n := range nodes {
		w.node(n, fmt.Sprint("zone-", i))
		w.says(n, sees(""))
	}
	w.replica("one")
	healthy := func(silent int) {
		t.Helper()
		w.until("all is well", func() bool {
			r, ok := w.result()
			return ok && r.Nodes == len(nodes) && r.Silent.Count == silent && len(r.Findings) == 0 && r.Hosts[0].Through == len(nodes)-silent
		})
	}
	healthy(0)
	heard := w.listen()

	valid := func(change func(*nodefacts.Facts)) string {
		f := sees("")
		f.Version, f.At = nodefacts.Version, nodefacts.StampOf(time.Now())
		change(&f)
		text, err := json.Marshal(f) // Encode keeps the limits
		w.check(err)
		return string(text)
	}
	for name, facts := range map[string]string{
		"corrupt":             `{"v":1,"at":17`,
		"another type":        `[1,2,3]`,
		"a future version":    valid(func(f *nodefacts.Facts) { f.Version = 99 }),
		"no time":             valid(func(f *nodefacts.Facts) { f.At = 0 }),
		"oversized":           valid(func(f *nodefacts.Facts) { f.Asks = many("host-%d.example", 2000) }),
		"deep":                strings.Repeat(`{"hosts":[`, 500),
		"nothing but garbage": strings.Repeat("\x01\xff\x00", 300),
	} {
		t.Run(name, func(t *testing.T) {
			w.writes("evil", strings.ToValidUTF8(strings.ReplaceAll(facts, "\x00", ""), "?"))
			healthy(1)
		})
	}
	w.says("evil", sees(""))
	healthy(0)

	lies := map[string]func(*nodefacts.Facts){
		"all registries are down": func(f *nodefacts.Facts) {
			f.Hosts = nil
			for _, h := range append(many("other-%d.example", 20), registry) {
				f.Hosts = append(f.Hosts, sees(report.ConnectionTimeout).Hosts[0])
				f.Hosts[len(f.Hosts)-1].Name = h
			}
			f.Asks = many("other-%d.example", 8)
		},
		"the registry has been down for days": func(f *nodefacts.Facts) {
			f.Hosts = sees(report.RegistryUnavailable).Hosts
			f.Hosts[0].Since -= 7 * 24 * 3600
		},
		"in the future": func(f *nodefacts.Facts) {
			f.Hosts = sees(report.ConnectionRefused).Hosts
			f.Hosts[0].Checked += 3600
		},
		"images that exist are missing": func(f *nodefacts.Facts) {
			f.Images = []nodefacts.Image{{
				Name: registry + "/app:1", Cause: report.TagNotFound, Fault: report.FaultConfig, Confidence: report.Confirmed,
				Checked: nodefacts.StampOf(time.Now()), Host: registry, Missing: []string{registry},
			}}
		},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			f := sees("")
			lie(&f)
			w.says("evil", f)
			for _, n := range nodes[1:4] {
				w.says(n, sees("")) // as nodes that are asked
			}
			after := sees("") // what follows the lie
			after.Hosts = append(after.Hosts, sees(report.HostNotFound).Hosts[0])
			after.Hosts[1].Name = "marker.example"
			w.says("a", after)
			var r compare.Result
			w.until("the fleet has compared it", func() bool {
				r, _ = w.result()
				return slices.ContainsFunc(r.Findings, func(x compare.Finding) bool { return x.Name == "marker.example" })
			})
			for _, x := range r.Findings {
				if x.Name != "marker.example" && (x.Failing.Count > 1 || x.Failing.First[0] != "evil") {
					t.Errorf("it is said of other nodes:\n%s", x.Text())
				}
			}
			w.says("evil", sees(""))
			w.says("a", sees(""))
			healthy(0)
		})
	}
	heard.never(t, "what one node alone claims", func(f compare.Finding) bool {
		// A registry may well answer one node with an error: that is likely at most.
		return f.Confidence == report.Confirmed || f.Fault == report.FaultRegistry && f.Rule != "answers-some"
	})
	if got := w.must("-n", "pullprobe", "get", "cm", "pullprobe--fleet", "-o", `jsonpath={.metadata.ownerReferences[0].name}`); got != "fleet" {
		t.Errorf("the report of the node named fleet belongs to %q", got)
	}
}

func many(format string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

// wire passes connections on to the API server until it is cut.
type wire struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (w *world) wire() *wire {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	w.t.Cleanup(func() { l.Close() })
	x := &wire{Listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", strings.TrimPrefix(w.url, "https://"))
			if err != nil {
				c.Close()
				continue
			}
			x.mu.Lock()
			x.conns = append(x.conns, c, up)
			x.mu.Unlock()
			go func() { _, _ = io.Copy(up, c); up.Close() }()
			go func() { _, _ = io.Copy(c, up); c.Close() }()
		}
	}()
	return x
}

// cut ends all connections. What was not read yet is lost.
func (x *wire) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	x.conns = nil
}

// process runs a replica as a process of its own, which reaches the API server over a wire.
func (w *world) process(program, name string) (*exec.Cmd, *wire) {
	w.t.Helper()
	x := w.wire()
	config := filepath.Join(w.t.TempDir(), "kubeconfig")
	w.check(os.WriteFile(config, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: %q}}]}`, "https://"+x.Addr().String(), w.token()), 0o600))
	log := &bytes.Buffer{}
	c := exec.Command(program, "--namespace=pullprobe", "--identity="+name, "--health-addr=", "--kubeconfig="+config)
	c.Stdout, c.Stderr = log, log
	w.check(c.Start())
	w.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait(); w.t.Logf("%s:\n%s", name, log) })
	return c, x
}

// TestPausedLeader checks that a leader that is paused for longer than its Lease lasts does not
// write what it knew before, and that another one has taken over meanwhile.
func TestPausedLeader(t *testing.T) {
	w := newWorld(t)
	program := filepath.Join(w.dir, "pullprobe-fleet")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/pullprobe-fleet").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, n := range []string{"a", "b", "c", "d"} {
		w.node(n, fmt.Sprint("zone-", i/2))
		w.says(n, sees(report.ConnectionTimeout))
	}
	holder := func() string {
		return w.must("-n", "pullprobe", "get", "lease", Name, "-o", "jsonpath={.spec.holderIdentity}")
	}
	one, wire := w.process(program, "one")
	w.shows("down-for-all", 4, 0)
	w.check(one.Process.Signal(syscall.SIGSTOP))
	wire.cut()
	paused := time.Now()
	two, _ := w.process(program, "two")
	w.until("the other one leads", func() bool { return holder() == "two" })
	for _, n := range []string{"a", "b", "c", "d"} {
		w.says(n, sees(""))
	}
	w.until("all is well", func() bool { r, ok := w.result(); return ok && len(r.Findings) == 0 && r.Silent.Count == 0 })
	time.Sleep(time.Until(paused.Add(unasked + time.Second))) // it compares the nodes as soon as it goes on
	heard := w.listen()
	w.check(one.Process.Signal(syscall.SIGCONT))
	ended := make(chan error, 1)
	go func() { ended <- one.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the replica that was paused ends without an error, so that nobody sees why it is started again")
		}
	case <-time.After(time.Minute):
		t.Fatal("the replica that was paused still runs")
	}
	// It starts again, as one that waits.
	w.process(program, "one")
	w.says("a", sees(report.ConnectionTimeout))
	for _, n := range []string{"b", "c", "d"} {
		w.says(n, sees(""))
	}
	w.shows("these-nodes", 1, 3)
	heard.never(t, "what was so before the pause", func(f compare.Finding) bool { return f.Rule == "down-for-all" })
	if got := holder(); got != "two" {
		t.Errorf("%q leads", got)
	}

	t.Run("killed, and the Lease deleted", func(t *testing.T) {
		w.check(two.Process.Signal(os.Kill))
		w.must("-n", "pullprobe", "delete", "cm", Name)
		w.must("-n", "pullprobe", "delete", "lease", Name)
		f := w.shows("these-nodes", 1, 3)
		if f.Failing.First[0] != "a" || holder() != "one" {
			t.Errorf("%s leads: %s", holder(), f.Text())
		}
	})
}

// TestDoubledFleet checks that of two replicas that start together one writes.
func TestDoubledFleet(t *testing.T) {
	w := newWorld(t)
	for i, n := range []string{"a", "b", "c", "d"} {
		w.node(n, fmt.Sprint("zone-", i/2))
		w.says(n, sees(report.ConnectionTimeout))
	}
	heard := w.listen()
	w.replica("one")
	w.replica("two")
	w.shows("down-for-all", 4, 0)
	time.Sleep(3 * time.Second) // both would have written
	if n := heard.count(); n > 2 {
		t.Errorf("%d versions of a ConfigMap about which nothing has changed", n)
	}
}
