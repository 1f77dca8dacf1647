//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/lab"
)

var samples = flag.Int("samples", 5, "pods for each fault that fails fast, in BenchmarkVerdict")

// Time budgets of a verdict, and the times from which they count.
const (
	fastBudget      = 100 * time.Millisecond // median over all faults that fail fast
	blackHoleBudget = 5 * time.Second        // each black hole
	gracePeriod     = 10 * time.Second       // how long the agent allows for creating a container
	runtimeTimeout  = 65 * time.Second       // how long the benchmark waits for the runtime's own failure
	// podPause is slightly more than the agent's minimum time between two writes. The
	// benchmark measures single stuck pods, not a burst.
	podPause = 600 * time.Millisecond
)

// stuckPull is a kind of stuck pod that BenchmarkVerdict measures.
type stuckPull struct {
	name      string
	image     string // every pull has its own tag, so that pulls share nothing
	user      string // see faults
	secret    string
	nodeFault string     // injected into node-a meanwhile
	reinject  bool       // inject it again for each pod
	push      *lab.Image // pushed for each pull; nil: nothing is pushed
	blackHole bool       // nothing fails before the agent's grace period ends
}

// stuckPulls returns the kinds of stuck pods. Black-hole hosts come first, so that the
// runtime's own timeout runs while the others are measured. disk-full is injected again
// for each pod: a failed pull leaves data that fills the disk, and then the next pod gets
// no sandbox.
func stuckPulls() []stuckPull {
	blackHoles := []stuckPull{
		{name: "tls-hangs", image: "rawhang.lab/app:1", blackHole: true},
		{name: "server-hangs", image: "hang.lab/app:1", blackHole: true},
	}
	var fast []stuckPull
	for _, f := range faults {
		p := stuckPull{name: f.name, image: f.image, user: f.user, secret: f.secret}
		switch f.name {
		case "black-hole":
			p.blackHole = true
			blackHoles = append(blackHoles, p)
			continue
		case "platform":
			p.push = &lab.Image{Platform: "linux/arm64", Index: true}
		}
		fast = append(fast, p)
	}
	return slices.Concat(blackHoles, fast, []stuckPull{
		{name: "disk-full", image: "registry.lab/app:1", nodeFault: "disk-full", reinject: true, push: &lab.Image{Size: 4 << 20}},
		{name: "resolver-servfail", image: "registry.lab/app:1", nodeFault: "resolver-servfail"},
		{name: "resolver-dead", image: "registry.lab/app:1", nodeFault: "resolver-dead", blackHole: true},
	})
}

// tableRow is one row of the table.
type tableRow struct {
	stuckPull
	samples []sample
	runtime func() string // waits for the runtime's own failure
	chain   string
	err     error
}

// sample is the measurement of one pod.
type sample struct {
	verdict       diagnosis
	took          time.Duration // since a verdict was due
	kubeletFailed bool          // due because the kubelet failed, not because the grace period ended
}

func (m *tableRow) took() []time.Duration {
	var all []time.Duration
	for _, s := range m.samples {
		all = append(all, s.took)
	}
	return all
}

// BenchmarkVerdict measures real stuck pods, one at a time, and prints one table. It
// shows how long the agent takes from the watch event to the ConfigMap, as both arrive
// here. For comparison it shows how long the runtime takes to fail the same pull, and
// how long the necessary round trips take. The watch event is the one with the kubelet's
// failure. If the kubelet has not failed by the end of the agent's grace period, the time
// counts from that end.
//
// It prints whether the budgets are kept and asserts nothing about time. Run it with
// -benchtime 1x; -samples sets the number of pods.
func BenchmarkVerdict(b *testing.B) {
	ns := suite.namespace(b)
	run := "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	var table []*tableRow
	for _, p := range stuckPulls() {
		b.Run(p.name, func(b *testing.B) {
			m := &tableRow{stuckPull: p, runtime: func() string { return "-" }, chain: "-"}
			table = append(table, m)
			m.err = errors.New("ended early, see above") // unless measure returns
			for b.Loop() {
				m.err = suite.measure(b, ns, run, m)
			}
			if m.err != nil {
				b.Error(m.err)
			}
			b.ReportMetric(0, "ns/op") // meaningless here
			b.ReportMetric(millis(median(m.took())), "verdict-ms")
		})
	}
	// Other stuck pods keep the agent busy too, which affects the column SLOWEST.
	_, r, _ := suite.waitReport(b, nodeA, 5*time.Second, func(*corev1.ConfigMap, nodeReport) bool { return true })
	printTable(os.Stdout, table, r.Stuck)
}

// measure makes the pods of one table row and measures them.
func (c *cluster) measure(b *testing.B, ns, run string, m *tableRow) error {
	n := *samples
	if m.blackHole {
		n = 1
	}
	var login *runtimeapi.AuthConfig
	secret := m.secret
	server, _, _ := strings.Cut(m.image, "/")
	if user, password, ok := strings.Cut(m.user, ":"); ok {
		secret = "login-" + m.name
		login = &runtimeapi.AuthConfig{Username: user, Password: password}
		c.loginSecret(b, ns, secret, server, user, password)
	}
	if m.nodeFault != "" {
		c.inject(b, nodeA, m.nodeFault)
	}
	made := 0
	image := func() (string, error) {
		made++
		name := m.image[:strings.LastIndexByte(m.image, ':')] + fmt.Sprintf(":%s-%s-%d", run, m.name, made)
		if m.push == nil {
			return name, nil
		}
		spec := *m.push
		spec.Refs = []string{name}
		_, err := c.PushImage(b.Context(), spec)
		return name, err
	}

	if err := c.measureRuntime(b, m, n, image, login); err != nil {
		return err
	}
	if !m.blackHole {
		took, step, err := c.measureBareChain(b, n, image)
		if err != nil {
			return err
		}
		m.chain = fmt.Sprintf("%6.1f to %s", millis(took), step)
		b.ReportMetric(millis(took), "chain-ms")
	}

	w, err := c.stopwatch(b, ns, nodeA)
	if err != nil {
		return err
	}
	defer w.stop()
	for i := range n {
		name, err := image()
		if err != nil {
			return err
		}
		if m.reinject {
			if err := errors.Join(c.Lift(b.Context(), nodeA, m.nodeFault), c.Inject(b.Context(), nodeA, m.nodeFault)); err != nil {
				return err
			}
		}
		p := c.pod(b, podOptions{Node: nodeA, Namespace: ns, Name: fmt.Sprintf("%s-%d", m.name, i), Image: name, Secret: secret})
		s, err := w.waitVerdict(b.Context(), p)
		now := int64(0)
		if err := c.api.CoreV1().Pods(ns).Delete(b.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		m.samples = append(m.samples, s)
		if first := m.samples[0].verdict; testing.Verbose() && s.verdict.String() != first.String() {
			b.Logf("verdict differs from %s:\n%s", first, s.verdict.explain())
		}
		if err := w.waitGone(b.Context(), p); err != nil {
			return err
		}
		time.Sleep(podPause)
	}
	if m.blackHole && m.nodeFault != "" {
		m.runtime() // the runtime must fail before the fault is lifted
	}
	return nil
}

// measureRuntime measures how long the node's runtime takes to fail such pulls. The pull
// from a black hole continues in the background.
func (c *cluster) measureRuntime(b *testing.B, m *tableRow, n int, image func() (string, error), login *runtimeapi.AuthConfig) error {
	var took []time.Duration
	for range n {
		name, err := image()
		if err != nil {
			return err
		}
		if m.blackHole {
			done := make(chan lab.Pull, 1)
			ctx, cancel := context.WithTimeout(context.Background(), runtimeTimeout)
			go func() {
				defer cancel()
				done <- c.Pull(ctx, nodeA, name, login)
			}()
			var own *lab.Pull
			m.runtime = func() string {
				if own == nil {
					p := <-done
					own = &p
				}
				if own.Code == codes.DeadlineExceeded && own.Took >= runtimeTimeout {
					return ">65 s"
				}
				return fmt.Sprintf("%8.1f", millis(own.Took))
			}
			continue
		}
		own := c.Pull(b.Context(), nodeA, name, login)
		if own.Code == codes.OK {
			return fmt.Errorf("the runtime pulls %s", name)
		}
		took = append(took, own.Took)
	}
	if !m.blackHole {
		m.runtime = func() string { return fmt.Sprintf("%8.1f", millis(median(took))) }
		b.ReportMetric(millis(median(took)), "runtime-ms")
	}
	return nil
}

// stopwatch watches the pods of one namespace and the report of one node.
type stopwatch struct {
	pods, reports watch.Interface
}

func (c *cluster) stopwatch(t testing.TB, ns, node string) (*stopwatch, error) {
	pods, err := c.api.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	reports, err := c.api.CoreV1().ConfigMaps(agentNamespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", "pullprobe-"+node).String(),
	})
	if err != nil {
		pods.Stop()
		return nil, err
	}
	return &stopwatch{pods, reports}, nil
}

func (w *stopwatch) stop() {
	w.pods.Stop()
	w.reports.Stop()
}

var errWatchEnded = errors.New("a watch ended")

// waitVerdict waits until the report has a verdict on the pod.
func (w *stopwatch) waitVerdict(ctx context.Context, pod *corev1.Pod) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, gracePeriod+30*time.Second)
	defer cancel()
	var due time.Time
	setDue := func(t time.Time, failed bool) {
		if due.IsZero() || t.Before(due) {
			due, s.kubeletFailed = t, failed
		}
	}
	for {
		select {
		case e := <-w.pods.ResultChan():
			now := time.Now()
			p, ok := e.Object.(*corev1.Pod)
			switch {
			case !ok:
				return s, errWatchEnded
			case p.UID != pod.UID:
				continue
			case pullFailed(p):
				setDue(now, true)
			}
			if p.Status.StartTime != nil {
				setDue(p.Status.StartTime.Add(gracePeriod), false)
			}
		case e := <-w.reports.ResultChan():
			now := time.Now()
			cm, ok := e.Object.(*corev1.ConfigMap)
			if !ok {
				return s, errWatchEnded
			}
			r, err := reportOf(cm)
			if err != nil {
				return s, err
			}
			for _, d := range r.Diagnoses {
				if d.Pod != pod.Namespace+"/"+pod.Name {
					continue
				}
				if due.IsZero() || now.Before(due) {
					return s, fmt.Errorf("%s: a verdict (%s) before it was due", pod.Name, d)
				}
				s.verdict, s.took = d, now.Sub(due)
				return s, nil
			}
		case <-ctx.Done():
			return s, fmt.Errorf("%s: no verdict %v after it was due", pod.Name, time.Since(due).Round(time.Second))
		}
	}
}

// waitGone waits until the report no longer has the pod.
func (w *stopwatch) waitGone(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		select {
		case e := <-w.pods.ResultChan():
			if _, ok := e.Object.(*corev1.Pod); !ok {
				return errWatchEnded
			}
		case e := <-w.reports.ResultChan():
			cm, ok := e.Object.(*corev1.ConfigMap)
			if !ok {
				return errWatchEnded
			}
			r, err := reportOf(cm)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(r.Diagnoses, func(d diagnosis) bool { return d.Pod == pod.Namespace+"/"+pod.Name }) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%s was deleted and is still in the report", pod.Name)
		}
	}
}

// pullFailed reports whether the kubelet reports that it cannot pull an image.
func pullFailed(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating"
	})
}

// measureBareChain measures the round trips to a registry alone, from the node's network
// with the node's resolver and trust store. It returns the median of n chains and the last
// step that they reach.
func (c *cluster) measureBareChain(b *testing.B, n int, image func() (string, error)) (time.Duration, string, error) {
	conf, err := c.ReadFile(nodeA, "/etc/resolv.conf")
	if err != nil {
		return 0, "", err
	}
	resolv, err := dns.ClientConfigFromReader(bytes.NewReader(conf))
	if err != nil {
		return 0, "", err
	}
	trusted, err := c.ReadFile(nodeA, "/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return 0, "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	var took []time.Duration
	var step string
	for range n {
		name, err := image()
		if err != nil {
			return 0, "", err
		}
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		began := time.Now()
		step, err = c.roundTrips(ctx, net.JoinHostPort(resolv.Servers[0], "53"), roots, name)
		took = append(took, time.Since(began))
		cancel()
		if err != nil {
			return 0, "", err
		}
	}
	return median(took), step, nil
}

// roundTrips goes from the name of an image's host to its manifest, as far as it can, and
// returns the last step. An error is a failure of the test itself.
func (c *cluster) roundTrips(ctx context.Context, resolver string, roots *x509.CertPool, image string) (step string, err error) {
	host, rest, _ := strings.Cut(image, "/")
	colon := strings.LastIndexByte(rest, ':')

	conn, err := c.Dial(ctx, nodeA, "udp", resolver)
	if err != nil {
		return "DNS", err
	}
	defer conn.Close()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(host), dns.TypeA)
	answer, _, err := new(dns.Client).ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn})
	if err != nil {
		return "DNS", err
	}
	var addr string
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			addr = net.JoinHostPort(a.A.String(), "443")
		}
	}
	if addr == "" {
		return "DNS", nil
	}

	tcp, err := c.Dial(ctx, nodeA, "tcp", addr)
	if err != nil {
		return "dial", nil
	}
	defer tcp.Close()
	secure := tls.Client(tcp, &tls.Config{ServerName: host, RootCAs: roots})
	if err := secure.HandshakeContext(ctx); err != nil {
		return "TLS", nil
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://"+host+"/v2/"+rest[:colon]+"/manifests/"+rest[colon+1:], nil)
	if err != nil {
		return "HEAD", err
	}
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json")
	if err := req.Write(secure); err != nil {
		return "HEAD", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(secure), req)
	if err != nil {
		return "HEAD", err
	}
	resp.Body.Close()
	return "HEAD", nil
}

// printTable writes the table. others is the number of other stuck pods on the node.
func printTable(out io.Writer, table []*tableRow, others int) {
	fmt.Fprintf(out, "\nTime to verdict on %s, in milliseconds: %d pods for each fault that fails fast, one for each black hole.\n",
		nodeA, *samples)
	fmt.Fprintf(out, "Other stuck pods on the node: %d.\n\n", others)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tVERDICT\tEVENT TO CONFIGMAP\tSLOWEST\tRUNTIME ALONE\tBARE CHAIN\tNOTE")
	var fast []time.Duration
	var slowest time.Duration
	for _, m := range table {
		took := m.took()
		if len(took) == 0 {
			fmt.Fprintf(w, "%s\tno verdict\t-\t-\t%s\t%s\t%v\n", m.name, m.runtime(), m.chain, m.err)
			continue
		}
		if m.blackHole {
			slowest = max(slowest, slices.Max(took))
		} else {
			fast = append(fast, took...)
		}
		fmt.Fprintf(w, "%s\t%s\t%8.1f\t%8.1f\t%s\t%s\t%s\n",
			m.name, m.samples[0].verdict, millis(median(took)), millis(slices.Max(took)), m.runtime(), m.chain, m.note())
	}
	w.Flush()
	if len(fast) > 0 {
		fmt.Fprintf(out, "\nFaults that fail fast: median of %d pods %.1f ms, slowest %.1f ms. Budget of the median: %d ms%s.\n",
			len(fast), millis(median(fast)), millis(slices.Max(fast)), fastBudget.Milliseconds(), overBudget(median(fast), fastBudget))
	}
	if slowest > 0 {
		fmt.Fprintf(out, "Black holes: slowest %.1f s after the grace period of %v. Budget: %v%s.\n",
			slowest.Seconds(), gracePeriod, blackHoleBudget, overBudget(slowest, blackHoleBudget))
	}
}

// note returns the remarks on a row.
func (m *tableRow) note() string {
	n := len(m.samples)
	var notes []string
	if m.blackHole {
		slowest := slices.Max(m.took())
		notes = append(notes, fmt.Sprintf("%.1f s after the grace period%s", slowest.Seconds(), overBudget(slowest, blackHoleBudget)))
	}
	others := map[string]int{}
	unfinished, pulled := 0, 0
	for _, s := range m.samples {
		if s.verdict.String() != m.samples[0].verdict.String() {
			others[s.verdict.String()]++
		}
		if !s.kubeletFailed && !m.blackHole {
			unfinished++
		}
		if outcome, _, _ := s.verdict.check("pull"); outcome == "fail" || outcome == "pass" {
			pulled++
		}
	}
	for _, v := range slices.Sorted(maps.Keys(others)) {
		notes = append(notes, fmt.Sprintf("%d of %d: %s", others[v], n, v))
	}
	if unfinished > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d: the kubelet had not failed when the grace period ended", unfinished, n))
	}
	if pulled < n && !m.blackHole {
		notes = append(notes, fmt.Sprintf("%d of %d without a test pull", n-pulled, n))
	}
	if m.err != nil {
		notes = append(notes, m.err.Error())
	}
	return strings.Join(notes, "; ")
}

func overBudget(got, budget time.Duration) string {
	if got > budget {
		return " OVER BUDGET"
	}
	return ""
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
