//go:build hollow

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/agent/opinions"
	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/agent/sweep"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// hollow is an agent whose probes are scripted. All that speaks to the API server is the
// agent's own code: publisher, sweeper, the watches of its pods and of the fleet's answers.
type hollow struct {
	node  string
	zone  string
	scene *scene
	rest  *rest.Config
	stop  func()

	kube      *kube.Client
	publisher *publish.Publisher
	sweeper   *sweep.Sweeper
	others    *opinions.Store

	mu    sync.Mutex
	stuck string // image that a pod of this node waits for; empty: none
	told  report.Verdict
}

// scene is what the probes of all hollow agents find.
type scene struct {
	healthy, dead map[string][]report.Check // by host
	node          []report.Check            // runtime and disk
	fault         atomic.Pointer[fault]
	published     atomic.Int64 // reports written
	failed        atomic.Int64 // writes that failed
	sent          meter        // of all agents
}

// fault is a registry that some nodes do not reach.
type fault struct{ host, zone string } // of this zone; empty: of all

func (f *fault) hits(zone, host string) bool {
	return f != nil && f.host == host && (f.zone == "" || f.zone == zone)
}

// ReportWritten and PublishFailed implement publish.Metrics.
func (s *scene) ReportWritten(time.Time) { s.published.Add(1) }
func (s *scene) PublishFailed()          { s.failed.Add(1) }

// hostsOf is how many registries each node pulls from.
const hostsOf = 10

func registryName(i int) string { return fmt.Sprintf("registry-%d.example.com", i) }

// newScene reads what probes of real registries found, and gives it the names of these.
func newScene() (*scene, error) {
	s := &scene{healthy: map[string][]report.Check{}, dead: map[string][]report.Check{}}
	for file, into := range map[string]map[string][]report.Check{"tag-missing": s.healthy, "black-hole": s.dead} {
		text, err := os.ReadFile("../diagnosis/testdata/matrix/" + file + ".json")
		if err != nil {
			return nil, err
		}
		var found struct{ Checks []report.Check }
		if err := json.Unmarshal(text, &found); err != nil {
			return nil, err
		}
		for i := range hostsOf {
			renamed := strings.ReplaceAll(string(text), report.Find(found.Checks, report.IDReference).Evidence[report.KeyDomain], registryName(i))
			var r struct{ Checks []report.Check }
			if err := json.Unmarshal([]byte(renamed), &r); err != nil {
				return nil, err
			}
			into[registryName(i)] = r.Checks
		}
		s.node = found.Checks
	}
	return s, nil
}

// ofSurvey are the kinds of checks that a sweep makes.
var ofSurvey = []report.Kind{report.KindDNS, report.KindDial, report.KindTLS, report.KindClock, report.KindRegistry}

// survey is the agent's sweep: what the script says, after the time that it takes.
func (h *hollow) survey(ctx context.Context, want examine.SurveyRequest) (found examine.SurveyResult) {
	found.Traits = report.NodeTraits{Proxy: report.None, CA: "0123456789ab"}
	took := 20 * time.Millisecond
	for _, host := range slices.Sorted(maps.Keys(want.Domains)) {
		checks := h.scene.healthy[host]
		if h.scene.fault.Load().hits(h.zone, host) {
			checks, took = h.scene.dead[host], 2500*time.Millisecond // the time limit of a dial
		}
		o := examine.Observation{Host: host, Roles: want.Domains[host]}
		for _, c := range checks {
			if slices.Contains(ofSurvey, c.Kind) && c.ID != "runtime/ca" {
				o.Checks = append(o.Checks, c)
			}
		}
		found.Observations = append(found.Observations, o)
	}
	select {
	case <-ctx.Done():
	case <-time.After(took):
	}
	for i := range found.Observations {
		found.Observations[i].At = time.Now()
	}
	return found
}

// start runs the agent until stop is called. It takes over the report of an earlier one.
func (h *hollow) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	log, live := slog.New(slog.NewTextHandler(io.Discard, nil)), config.NewLive(config.Defaults())
	var err error
	if h.kube, err = kube.ForConfig(h.rest, "pullprobe-agent/hollow", ""); err != nil {
		cancel()
		return err
	}
	h.publisher = publish.New(publish.Config{Kube: h.kube, Log: log, Node: h.node, Namespace: "pullprobe", Settings: live, Metrics: h.scene})
	var images []string
	for i := range hostsOf {
		images = append(images, registryName(i)+"/app:1")
	}
	h.sweeper = sweep.New(sweep.Config{
		Survey: h.survey, Images: func() []string { return images }, Settings: live.Get, Log: log,
		Conditions: func(ctx context.Context) []report.Condition { c, _ := h.kube.NodeConditions(ctx, h.node); return c },
		Opinions:   func(host string) []report.Check { c, _ := h.others.Checks([]string{host}, time.Now()); return c },
		OnSweep: func(r report.Sweep, awaited bool) {
			for _, x := range r.Registries {
				if x.State == report.Reachable {
					h.others.Forget(x.Host)
				}
			}
			h.publisher.Recheck()
			if awaited {
				h.publisher.ForceWrite()
			}
		},
		Emit: func(e sweep.NodeEvent) {
			now := time.Now()
			h.publisher.EnqueueEvent(kube.Event{
				Name: fmt.Sprintf("%s.%x", h.node, now.UnixNano()), Namespace: "default", Node: true, Warning: e.Warning,
				Reason: e.Reason, Message: e.Message + "\nFix: " + e.Fix, First: now, Time: now, Count: 1,
			})
		},
	})
	h.others = opinions.New(opinions.Config{Log: log, OnOpinions: func([]string) { h.sweeper.SweepSoon(); h.diagnose() }, OnWanted: h.sweeper.CheckFor})
	var all sync.WaitGroup
	h.stop = func() { cancel(); all.Wait() }
	own := pods.NewStore(pods.StoreConfig{Namespace: "pullprobe", Enqueue: func(apitypes.UID) {}})
	all.Go(func() {
		var before struct{ Sweep *report.Sweep }
		if text, err := h.publisher.CurrentReport(ctx); err == nil && json.Unmarshal([]byte(text), &before) == nil {
			h.sweeper.Restore(before.Sweep)
		}
		own.Run(ctx, h.kube.Pods(h.node, func() {}))
	})
	all.Go(func() { h.sweeper.Run(ctx, own.Synced()) })
	all.Go(func() { h.publisher.Run(ctx, own.Synced(), h.snapshot) })
	all.Go(func() {
		select {
		case <-ctx.Done():
		case <-own.Synced():
			uid, _ := h.kube.NodeUID(ctx, h.node)
			h.others.Run(ctx, h.kube.ConfigMap("pullprobe", report.AnswersName(h.node, string(uid)), func() {}))
		}
	})
	return nil
}

// wait has a pod of this node wait for an image of a host, or for none.
func (h *hollow) wait(host string) {
	h.mu.Lock()
	h.stuck = host
	h.mu.Unlock()
	h.diagnose()
	if host != "" {
		h.sweeper.LearnFrom(h.scene.dead[host])
	}
}

// diagnose draws the verdict on the pod that waits, and has it published if it has changed.
func (h *hollow) diagnose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var v report.Verdict
	if h.stuck != "" {
		v = diagnosis.Diagnose(h.checks())
	}
	if v.Fault == h.told.Fault && v.Cause == h.told.Cause && v.Confidence == h.told.Confidence {
		return
	}
	h.told = v
	if now := time.Now(); h.stuck != "" {
		h.publisher.EnqueueEvent(kube.Event{
			Name: "web." + h.node, Namespace: "default", Pod: "web", UID: "1", Container: "app", Warning: true, Reason: "ImagePullDiagnosed",
			Message: string(v.Fault) + " / " + string(v.Cause) + ": " + v.Summary + "\nFix: " + v.Fix, First: now, Time: now, Count: 1,
		})
	}
	h.publisher.MarkDirty()
}

// checks returns the checks of the pod that waits. h.mu is held.
func (h *hollow) checks() []report.Check {
	elsewhere, _ := h.others.Checks([]string{h.stuck}, time.Now())
	return slices.Concat(h.scene.dead[h.stuck], elsewhere)
}

func (h *hollow) snapshot() report.NodeReport {
	now := time.Now().UTC().Truncate(time.Second)
	r := report.NodeReport{
		Schema: report.Schema, Node: h.node, Agent: "hollow", Time: now, Fault: report.FaultNone, Cause: report.Healthy, Sweep: h.sweeper.Last(),
		Runtime: report.Find(h.scene.node, "runtime"), Disk: report.Find(h.scene.node, "disk"),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stuck != "" {
		d := report.Diagnosis{Image: h.stuck + "/app:1", Pod: "default/web", UID: "1", Container: "app", Time: now, Checks: h.checks()}
		d.Verdict = diagnosis.Diagnose(d.Checks)
		r.Diagnoses, r.Stuck, r.Fault, r.Cause = publish.Group([]publish.Waiting{{Diagnosis: d}}), 1, d.Verdict.Fault, d.Verdict.Cause
		r.Faults.Add(r.Fault)
	}
	return r
}

// refined reports whether the agent knows what other nodes see of a host.
func (h *hollow) refined(host string) bool {
	checks, _ := h.others.Checks([]string{host}, time.Now())
	return len(checks) > 0 && checks[0].Outcome == report.Pass
}

// meter counts bytes of connections.
type meter struct{ in, out atomic.Int64 }

// dial connects, and counts.
func (m *meter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return meteredConn{c, m}, nil
}

type meteredConn struct {
	net.Conn
	*meter
}

func (c meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

// forward passes connections on to an address, and counts.
func (m *meter) forward(l net.Listener, to string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			up, err := m.dial(context.Background(), "tcp", to)
			if err != nil {
				return
			}
			defer up.Close()
			go func() { _, _ = io.Copy(up, c); up.Close() }()
			_, _ = io.Copy(c, up)
		}()
	}
}
