package fleet

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/fleet/placement"
	"github.com/pullprobe/pullprobe/report"
)

// cluster is what the fleet knows of the nodes: those that exist, and what they say.
type cluster struct {
	mu      sync.Mutex
	nodes   map[string]member    // by name
	reports map[string]statement // by name of the ConfigMap
}

// member is a node that exists.
type member struct {
	uid    string
	traits compare.Traits

	labels   map[string]string
	taints   []corev1.Taint
	cordoned bool
}

// statement is what one node says.
type statement struct {
	facts   *nodefacts.Facts // nil: they cannot be read
	problem string           // why not
	key     string           // equal for facts that differ only in times and figures
	written time.Time        // by the API server's clock; zero: not known
}

func newCluster() *cluster {
	return &cluster{nodes: map[string]member{}, reports: map[string]statement{}}
}

func (c *cluster) setNode(name string, m member) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.nodes[name]
	c.nodes[name] = m
	if !known || old.uid != m.uid || len(old.traits) != len(m.traits) {
		return true
	}
	for k, v := range m.traits {
		if old.traits[k] != v {
			return true
		}
	}
	return false
}

func (c *cluster) removeNode(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, name)
}

// setReport takes over what a ConfigMap has as facts. It reports whether that says anything
// else than times.
func (c *cluster) setReport(name, facts string, written time.Time) (s statement, changed bool) {
	s.written = written
	if f, err := nodefacts.Decode(facts); err != nil {
		s.problem, s.key = err.Error(), err.Error()
	} else {
		s.facts, s.key = &f, f.StateKey()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := c.reports[name]
	c.reports[name] = s
	return s, !known || old.key != s.key
}

func (c *cluster) removeReport(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reports, name)
}

// maxAge is how long an observation counts if its node does not say: two sweeps at the
// interval that is the default.
const maxAge = 10 * time.Minute

// silentAfter is how much later than it says an agent may write before it is silent.
const silentAfter = 2 * time.Minute

// silent reports whether nothing has come from the node for too long: its agent does not
// run, or does not reach the API server.
func (s statement) silent(now time.Time) bool {
	if s.facts == nil {
		return true
	}
	fresh := max(maxAge, min(time.Duration(s.facts.Fresh)*time.Second, time.Hour))
	return now.Sub(s.last()) > fresh+silentAfter
}

// last returns when the node wrote last.
func (s statement) last() time.Time {
	if s.written.IsZero() {
		return s.facts.At.Time()
	}
	return s.written
}

// input returns what is compared, and when the oldest report that counts was written; zero:
// there is none. Only Nodes that exist count, each with the report of its own name: an agent
// can write no other.
func (c *cluster) input(now time.Time) (in compare.Input, oldest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in = compare.Input{Now: now, MaxAge: maxAge, Nodes: make([]compare.Node, 0, len(c.nodes))}
	for name, m := range c.nodes {
		n := compare.Node{Name: name, Traits: m.traits}
		if s := c.reports[report.ConfigMapName(name, m.uid)]; !s.silent(now) {
			n.Facts = s.facts
			if at := s.last(); oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
		in.Nodes = append(in.Nodes, n)
	}
	return in, oldest
}

// places returns the nodes as the scheduler sees them, with their kinds. Of those that exist, the
// agents report of which in has facts.
func (c *cluster) places(in compare.Input) []placement.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]placement.Node, 0, len(in.Nodes))
	for _, n := range in.Nodes {
		m := c.nodes[n.Name]
		out = append(out, placement.Node{
			Name: n.Name, Labels: m.labels, Taints: m.taints, Cordoned: m.cordoned, Reports: n.Facts != nil,
			Arch: n.Traits[compare.TraitArch], Pool: n.Traits[compare.TraitPool], Zone: n.Traits[compare.TraitZone],
		})
	}
	return out
}

// uid returns the UID of a Node.
func (c *cluster) uid(node string) (uid string, exists bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, exists := c.nodes[node]
	return m.uid, exists
}
