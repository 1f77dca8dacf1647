//go:build hollow

package fleet

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/report"
)

var (
	sizes  = flag.String("nodes", "100,1000,5000", "sizes of the fleet, separated by commas")
	steady = flag.Duration("steady", time.Minute, "how long the steady state is measured")
	states = flag.String("states", "", "measure only states whose name matches this regular expression")
)

// farm is a cluster of hollow nodes, and a fleet in a process of its own.
type farm struct {
	*world
	scene  *scene
	core   typedcorev1.CoreV1Interface
	agents []*hollow
	fleet  atomic.Pointer[os.Process]
	spent  atomic.Int64 // CPU time of fleets that have ended, in ns
	bytes  meter        // of the fleet
	rows   *tabwriter.Writer
}

// BenchmarkFleet prints what fleets of several sizes cost.
func BenchmarkFleet(b *testing.B) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // of all agents
	var table bytes.Buffer
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "nodes\tstate\tseconds\twrites/s\tof reports\tat most\tKB/s into etcd\tMB into etcd\tKB/s to the fleet\tfleet RSS MiB\tanonymous\tcores\tverdict\tlast node")
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) { newFarm(b, n, rows).run() })
	}
	_ = rows.Flush()
	fmt.Println("\n" + table.String())
}

// newFarm starts an API server with nodes, their agents' pods and tokens.
func newFarm(b *testing.B, n int, rows *tabwriter.Writer) *farm {
	f := &farm{world: newWorld(b), rows: rows}
	var err error
	f.scene, err = newScene()
	f.check(err)
	f.core, err = typedcorev1.NewForConfig(f.rest(adminToken, -1))
	f.check(err)
	f.agents = make([]*hollow, n)
	f.each(16, func(i int) error { f.agents[i], err = f.newAgent(i); return err })
	return f
}

func (f *farm) rest(token string, qps float32) *rest.Config {
	return &rest.Config{Host: f.url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: qps, WarningHandler: rest.NoWarnings{}}
}

// each calls do for every agent, so many at a time.
func (f *farm) each(width int, do func(i int) error) {
	var all sync.WaitGroup
	var next, failed atomic.Int64
	for range width {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(f.agents); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failed.Add(1)
					f.t.Log(err)
				}
			}
		})
	}
	if all.Wait(); failed.Load() > 0 {
		f.t.Fatalf("%d of %d agents failed", failed.Load(), len(f.agents))
	}
}

const zones = 3

func zone(i int) string { return fmt.Sprint("zone-", i%zones) }

// newAgent creates a Node as a cloud has it, with the images that a kubelet lists, and an agent's pod there.
func (f *farm) newAgent(i int) (*hollow, error) {
	ctx, name := f.t.Context(), fmt.Sprintf("ip-10-%d-%d-%d.ec2.internal", i%zones, i/zones/200, i/zones%200+10)
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"topology.kubernetes.io/zone": zone(i), "topology.kubernetes.io/region": "region-1", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
			"eks.amazonaws.com/nodegroup": fmt.Sprint("pool-", i/zones%4), "node.kubernetes.io/instance-type": "m6i.xlarge", "kubernetes.io/hostname": name,
		}},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: "amd64", OSImage: "Ubuntu 24.04.2 LTS", KernelVersion: "6.8.0-1029-aws", ContainerRuntimeVersion: "containerd://2.4.2",
				KubeletVersion: fmt.Sprint("v1.36.", i%2+2), OperatingSystem: "linux",
			},
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.%d.%d.%d", i%zones, i/zones/200, i/zones%200+10)}},
		},
	}
	for j := range 50 { // as many as a kubelet lists
		image := fmt.Sprintf("%s/team-%d/service-%d", registryName(j%hostsOf), j%7, j)
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("%s@sha256:%064x", image, j), image + ":v1.2.3"}, SizeBytes: 1 << 27})
	}
	if _, err := f.core.Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	pod, err := f.core.Pods("pullprobe").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-" + name},
		Spec:       corev1.PodSpec{NodeName: name, ServiceAccountName: "pullprobe", Containers: []corev1.Container{{Name: "agent", Image: "pullprobe"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	token, err := f.core.ServiceAccounts("pullprobe").CreateToken(ctx, "pullprobe", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	h := &hollow{node: name, zone: zone(i), scene: f.scene, rest: f.rest(token.Status.Token, 0)}
	h.rest.Dial = f.scene.sent.dial // a connection for each agent
	return h, nil
}

// run measures one size.
func (f *farm) run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	start := time.Now()
	f.each(32, func(i int) error { // as many at a time as this machine takes
		h := f.agents[i]
		if err := h.start(ctx); err != nil {
			return err
		}
		for h.publisher.LastPublished().IsZero() {
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	})
	defer f.each(64, func(i int) error { f.agents[i].stop(); return nil })
	f.within(5*time.Minute, "every agent has written", func() bool { return f.scene.published.Load() >= int64(2*len(f.agents)) })
	f.t.Logf("%d agents have written %d reports after %v", len(f.agents), f.scene.published.Load(), time.Since(start).Round(time.Second))
	f.size()

	f.startFleet()
	m := f.measure()
	f.shown(m, func(r compare.Result) bool {
		return r.Nodes == len(f.agents) && r.Silent.Count == 0 && len(r.Findings) == 0
	})
	f.t.Logf("the fleet's first list: %.1f MB, after %v", float64(f.bytes.in.Load())/1e6, m.verdict.Round(time.Millisecond))
	m.row("first list")
	time.Sleep(10 * time.Second)

	f.state("steady", func(what string) {
		m := f.measure()
		time.Sleep(*steady)
		m.row(what)
	})
	f.state("steady, and kubelets write their Nodes", func(what string) {
		m := f.measure()
		f.kubelets(*steady)
		m.row(what)
	})
	f.state("rolling restart, a tenth every 15 s", func(what string) { f.restart(ctx, what) })
	f.state("one registry, everywhere", func(what string) { f.outage(what, fault{host: registryName(3)}, false) })
	f.state("one registry, one zone", func(what string) { f.outage(what, fault{host: registryName(5), zone: zone(1)}, false) })
	f.state("one registry, everywhere, a pod waits on each node", func(what string) { f.outage(what, fault{host: registryName(7)}, true) })
}

// state measures a state if it is wanted.
func (f *farm) state(name string, measure func(what string)) {
	if ok, err := regexp.MatchString(*states, name); err != nil {
		f.t.Fatal(err)
	} else if ok {
		measure(name)
	}
}

// restart replaces all agents, a tenth of them at a time.
func (f *farm) restart(ctx context.Context, what string) {
	m := f.measure()
	for tenth := range 10 {
		at := time.Now()
		f.each(64, func(i int) error {
			if i%10 != tenth {
				return nil
			}
			f.agents[i].stop()
			return f.agents[i].start(ctx)
		})
		time.Sleep(time.Until(at.Add(15 * time.Second)))
	}
	m.row(what)
	f.settled(m)
}

// outage has a registry fail for nodes that all notice at once, and end.
func (f *farm) outage(what string, x fault, stuck bool) {
	m := f.measure()
	f.scene.fault.Store(&x)
	f.each(len(f.agents), func(i int) error {
		switch h := f.agents[i]; {
		case !x.hits(h.zone, x.host):
		case stuck:
			h.wait(x.host)
		default:
			h.sweeper.SweepNow()
		}
		return nil
	})
	f.shown(m, func(r compare.Result) bool {
		for _, c := range r.Findings {
			if c.Name == x.host && (x.zone == "" && c.Fault == report.FaultRegistry || x.zone != "" && c.Fault == report.FaultNode && len(c.SetsApart) > 0) {
				return true
			}
		}
		return false
	})
	f.within(4*time.Minute, "every node that asks has an answer", func() bool {
		for _, h := range f.agents {
			if x.hits(h.zone, x.host) && !h.refined(x.host) {
				return false
			}
		}
		return true
	})
	m.last = time.Since(m.at)
	f.settled(m)
	m.row(what)
	m = f.measure()
	f.scene.fault.Store(nil)
	f.each(len(f.agents), func(i int) error {
		if stuck {
			f.agents[i].wait("")
		}
		f.agents[i].sweeper.SweepNow()
		return nil
	})
	f.shown(m, func(r compare.Result) bool { return len(r.Findings) == 0 })
	f.settled(m)
	m.row(what + ": it ends")
}

// kubelets writes the status of every Node once in five minutes, as kubelets do.
func (f *farm) kubelets(d time.Duration) {
	each := 5 * time.Minute / time.Duration(len(f.agents))
	end := time.Now().Add(d)
	for i := 0; time.Now().Before(end); i++ {
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
		_, err := f.core.Nodes().PatchStatus(f.t.Context(), f.agents[i%len(f.agents)].node, []byte(patch))
		f.check(err)
		time.Sleep(each)
	}
}

// size prints how large a report is.
func (f *farm) size() {
	cm, err := f.core.ConfigMaps("pullprobe").Get(f.t.Context(), report.ConfigMapName(f.agents[0].node, ""), metav1.GetOptions{})
	f.check(err)
	facts, data := len(cm.Annotations["pullprobe.dev/facts"]), 0
	for _, v := range cm.Data {
		data += len(v)
	}
	f.t.Logf("a healthy report: %d bytes of data, %d of facts, %d in all", data, facts, cm.Size())
}

// startFleet runs the program, with its own ServiceAccount, behind a port that counts bytes.
func (f *farm) startFleet() {
	program := filepath.Join(f.dir, "pullprobe-fleet")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./cmd/pullprobe-fleet").CombinedOutput(); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.check(err)
	f.t.Cleanup(func() { l.Close() })
	direct := f.url
	go f.bytes.forward(l, strings.TrimPrefix(direct, "https://"))
	token := f.token()
	f.url = "https://" + l.Addr().String()
	config := f.kubeconfig(token)
	f.url = direct
	log, err := os.Create(filepath.Join(f.dir, "fleet.log"))
	f.check(err)
	start := func() *exec.Cmd {
		c := exec.Command(program, "--namespace=pullprobe", "--identity=bench", "--health-addr=", "--kubeconfig="+config)
		c.Env, c.Stderr = append(os.Environ(), "GOMEMLIMIT=160MiB"), log
		f.check(c.Start())
		f.fleet.Store(c.Process)
		return c
	}
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func(c *exec.Cmd) { // as the kubelet does
		defer close(ended)
		for {
			_ = c.Wait()
			f.spent.Add(int64(c.ProcessState.UserTime() + c.ProcessState.SystemTime()))
			if stopped.Load() {
				return
			}
			fmt.Println("the fleet has ended, and is started again")
			time.Sleep(time.Second)
			c = start()
		}
	}(start())
	f.t.Cleanup(func() {
		stopped.Store(true)
		_ = f.fleet.Load().Kill()
		<-ended
		text, _ := os.ReadFile(log.Name())
		f.t.Logf("the end of the fleet's log:\n%s", text[max(0, len(text)-2000):])
	})
}

// measurement is what a state of the farm costs, from when it begins.
type measurement struct {
	f       *farm
	at      time.Time
	before  figures
	most    int64 // writes within one second
	verdict time.Duration
	last    time.Duration
	stop    chan struct{}
}

// figures are counters.
type figures struct {
	puts, putBytes, fleetBytes, reports int64
	cpu                                 time.Duration
}

func (f *farm) measure() *measurement {
	m := &measurement{f: f, at: time.Now(), before: f.figures(), stop: make(chan struct{})}
	go func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for before := m.before.puts; ; {
			select {
			case <-m.stop:
				return
			case <-second.C:
				now := f.figures().puts
				m.most, before = max(m.most, now-before), now
			}
		}
	}()
	return m
}

// row ends the measurement and prints it.
func (m *measurement) row(state string) {
	close(m.stop)
	now, took := m.f.figures(), time.Since(m.at).Seconds()
	rss, anonymous := memory(m.f.fleet.Load().Pid)
	rate := func(n int64) float64 { return float64(n) / took }
	line := fmt.Sprintf("%d\t%s\t%.0f\t%.1f\t%.1f\t%d\t%.0f\t%.1f\t%.0f\t%.0f\t%.0f\t%.3f\t%s\t%s", len(m.f.agents), state, took,
		rate(now.puts-m.before.puts), rate(now.reports-m.before.reports), m.most, rate(now.putBytes-m.before.putBytes)/1e3, float64(now.putBytes-m.before.putBytes)/1e6,
		rate(now.fleetBytes-m.before.fleetBytes)/1e3, rss, anonymous, (now.cpu-m.before.cpu).Seconds()/took, seconds(m.verdict), seconds(m.last))
	fmt.Fprintln(m.f.rows, line)
	fmt.Println(strings.ReplaceAll(line, "\t", "  "))
}

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func (f *farm) figures() (out figures) {
	resp, err := http.Get(f.etcd + "/metrics")
	if err != nil {
		return out
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	value := func(name string) int64 {
		if _, rest, ok := strings.Cut(string(text), "\n"+name+" "); ok {
			line, _, _ := strings.Cut(rest, "\n")
			v, _ := strconv.ParseFloat(line, 64)
			return int64(v)
		}
		return 0
	}
	out.puts, out.putBytes = value("etcd_mvcc_put_total"), value("etcd_debugging_mvcc_total_put_size_in_bytes")
	out.fleetBytes, out.reports = f.bytes.in.Load(), f.scene.published.Load()
	if p := f.fleet.Load(); p != nil {
		out.cpu = cpu(p.Pid) + time.Duration(f.spent.Load())
	}
	return out
}

// memory returns the resident and the anonymous memory of a process, in MiB.
func memory(pid int) (rss, anonymous float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for name, v := range map[string]*float64{"VmRSS:": &rss, "RssAnon:": &anonymous} {
		if _, rest, ok := strings.Cut(string(text), name); ok {
			_, _ = fmt.Sscan(rest, v)
			*v /= 1024
		}
	}
	return rss, anonymous
}

// cpu returns the CPU time of a process. A tick is 10 ms.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// shown waits until the fleet's ConfigMap shows something, and notes when it did.
func (f *farm) shown(m *measurement, ok func(compare.Result) bool) {
	var r compare.Result
	if f.within(2*time.Minute, "the fleet shows it", func() bool {
		var known bool
		r, known = f.result()
		return known && ok(r)
	}) {
		m.verdict = time.Since(m.at)
		return
	}
	for _, x := range r.Findings {
		fmt.Println(x.Text())
	}
}

// settled waits until nothing is written but heartbeats.
func (f *farm) settled(*measurement) {
	quiet := int64(max(5, len(f.agents)/100))
	f.within(4*time.Minute, "writes have ended", func() bool {
		before := f.figures().puts
		time.Sleep(3 * time.Second)
		return f.figures().puts-before <= 3*quiet
	})
}

// within polls; what does not happen is printed, and the benchmark goes on.
func (f *farm) within(limit time.Duration, what string, ok func() bool) bool {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(250 * time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Printf("not within %v: %s\n", limit, what)
			return false
		}
	}
	return true
}
