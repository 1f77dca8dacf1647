//go:build matrix

package matrix

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// row is one fault.
type row struct {
	name string
	// misleads is what the runtime's message suggests, if that is not the fault.
	misleads string
	setup    func(*scene) *subject
	runtime  runtimeResult
	want     want
	// todo is the rule that the product lacks. The row still runs, and reports when
	// the product has the rule.
	todo string
}

// want is the expected verdict. Because has checks that must be among the deciding
// ones, with placeholders like {host} for random values.
type want struct {
	Fault      string   `json:"fault"`
	Cause      string   `json:"cause"`
	Confidence string   `json:"confidence"`
	Because    []string `json:"because"`
	fixText    string   // a part of the fix, with placeholders
}

// runtimeResult is the expected result of containerd's own pull.
type runtimeResult struct {
	code  codes.Code // OK: it pulls the image
	text  string     // a regular expression that the message matches
	hangs bool       // it has not finished after hangTime
}

const hangTime = 7 * time.Second

func fails(text string) runtimeResult { return runtimeResult{code: codes.Unknown, text: text} }
func failsWith(code codes.Code, text string) runtimeResult {
	return runtimeResult{code: code, text: text}
}
func passes() runtimeResult { return runtimeResult{} }
func hangs() runtimeResult  { return runtimeResult{hangs: true} }

// Limits of what one diagnosis may request from the registries, without test pull.
const (
	maxBytes     = 64 << 10
	maxManifests = 2
)

func TestMatrix(t *testing.T) {
	w := newWorld(t)
	var err error
	w.product, err = filepath.Abs(*product)
	must(t, err)
	if _, err := os.Stat(w.product); err != nil {
		t.Fatalf("%v: build it first, or set -pullprobe", err)
	}
	var count tally
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				again := false
				defer func() { count.add(r, t, again) }()
				again = r.run(t, w, &count)
			})
		}
	})
	fmt.Print(&count)
}

// tally counts the results of the rows.
type tally struct {
	mu                                      sync.Mutex
	rows, misleading, failed, todo, retried int
	notes                                   []string
	slowest                                 time.Duration // longest time of a verdict
	slowestRow                              string
}

func (c *tally) addVerdictTime(row string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d > c.slowest {
		c.slowest, c.slowestRow = d, row
	}
}

func (c *tally) add(r row, t *testing.T, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows++
	if r.misleads != "" {
		c.misleading++
	}
	if again {
		c.retried++
		c.notes = append(c.notes, fmt.Sprintf("  second try: %s\n", r.name))
	}
	switch {
	case t.Failed():
		c.failed++
	case t.Skipped():
		c.todo++
		c.notes = append(c.notes, fmt.Sprintf("  to do: %s: %s\n", r.name, r.todo))
	case r.todo != "":
		c.notes = append(c.notes, fmt.Sprintf("  done: %s: remove its todo\n", r.name))
	}
}

func (c *tally) String() string {
	slices.Sort(c.notes)
	return fmt.Sprintf("%s%d rows, %d with a misleading message; %d failed, %d wait for a rule, %d needed a second try\n"+
		"slowest verdict: %v (%s)\n",
		strings.Join(c.notes, ""), c.rows, c.misleading, c.failed, c.todo, c.retried, c.slowest.Round(time.Millisecond), c.slowestRow)
}

// maxTries is how often a row may run. On a busy machine a handshake on loopback can take
// seconds and exceed any deadline. Rows that pass only the second time are counted and
// shown.
const maxTries = 2

// run runs the row, and reports whether it needed more than one try.
func (r row) run(t *testing.T, w *world, count *tally) (again bool) {
	for try := 1; ; try++ {
		s := &scene{t: t, w: w}
		o := r.runOnce(s)
		count.addVerdictTime(r.name, s.slowest)
		wrong := len(o.problems) > 0 || len(o.differences) > 0 && r.todo == ""
		if wrong && try < maxTries {
			t.Log("trying again, after:\n" + o.String())
			continue
		}
		switch {
		case wrong:
			t.Error(o)
		case len(o.differences) > 0:
			s.save(r, o.diagnosis)
			t.Skipf("to do: %s\n%s", r.todo, o)
		default:
			s.save(r, o.diagnosis)
			if testing.Verbose() {
				t.Log(o)
			}
		}
		return try > 1
	}
}

// outcome is the result of one run of a row.
type outcome struct {
	pulled      pulled
	diagnosis   diagnosis
	problems    []string // a precondition of the row does not hold
	differences []string // the product's verdict is not the expected one
}

func (o outcome) String() string {
	return fmt.Sprintf("%s\n%s\nruntime: %s after %v: %s\n%s", strings.Join(o.problems, "\n"), strings.Join(o.differences, "\n"),
		o.pulled.code, o.pulled.took.Round(time.Millisecond), o.pulled.message, o.diagnosis)
}

func (r row) runOnce(s *scene) outcome {
	sub := r.setup(s)
	if sub.machine == nil {
		sub.machine = s.w.common
	}
	if len(s.hosts) > 0 {
		s.setPlaceholder("host", s.hosts[0].String())
		s.setPlaceholder("addr", s.hosts[0].addrPort(0))
	}
	s.setPlaceholder("resolver1", resolver1+":53")
	s.setPlaceholder("resolver2", resolver2+":53")

	var o outcome
	o.diagnosis, o.pulled = r.diagnoseAndPull(s, sub)
	o.problems = r.runtime.differences(o.pulled)
	o.differences = append(r.want.differences(s, o.diagnosis.Verdict), s.costProblems()...)

	sub.fix()
	image := cmp.Or(sub.fixedImage, sub.image)
	// containerd may still wait, for example for a lookup without an answer: the row
	// continues when containerd has seen the fix.
	eventually(s.t, "the fixed image", func() error {
		if p := sub.machine.pull(s.t.Context(), image, sub.auth, 30*time.Second); p.code != codes.OK {
			return fmt.Errorf("%v: %s", p.code, p.message)
		}
		return nil
	})
	sub.machine.remove(s.t, image)
	for _, h := range s.hosts {
		h.takeCost()
	}
	twin := s.check(sub, image)
	if v := twin.Verdict; v.Cause != "Healthy" || v.Confidence != "confirmed" {
		o.problems = append(o.problems, "after the fix it is not Healthy: "+twin.String())
	}
	o.problems = append(o.problems, s.costProblems()...)
	return o
}

// diagnoseAndPull runs the product and containerd's own pull. If containerd hangs, both
// run in parallel; otherwise containerd is first, as in reality.
func (r row) diagnoseAndPull(s *scene, sub *subject) (diagnosis, pulled) {
	if r.runtime.hangs {
		done := make(chan pulled)
		go func() { done <- sub.machine.pull(s.t.Context(), sub.image, sub.auth, hangTime) }()
		d := s.check(sub, sub.image)
		return d, <-done
	}
	var d diagnosis
	if s.productFirst {
		d = s.check(sub, sub.image)
	}
	real := sub.machine.pull(s.t.Context(), sub.image, sub.auth, 40*time.Second)
	if real.code == codes.OK {
		sub.machine.remove(s.t, sub.image)
	}
	if !s.productFirst {
		d = s.check(sub, sub.image)
	}
	return d, real
}

func (c runtimeResult) differences(p pulled) []string {
	switch {
	case c.hangs && (p.code != codes.DeadlineExceeded || p.took < hangTime):
		return []string{"containerd does not hang: " + p.message}
	case c.hangs:
		return nil
	case p.code != c.code:
		return []string{"containerd's code is " + p.code.String() + ", want " + c.code.String() + ": " + p.message}
	case !regexp.MustCompile(c.text).MatchString(p.message):
		return []string{"containerd's message does not match " + c.text + ": " + p.message}
	}
	return nil
}

func (w want) differences(s *scene, v verdict) []string {
	var out []string
	if v.Fault != w.Fault || v.Cause != w.Cause || v.Confidence != w.Confidence {
		out = append(out, "got "+v.Fault+" "+v.Cause+" "+v.Confidence+", want "+w.Fault+" "+w.Cause+" "+w.Confidence)
	}
	for _, id := range w.Because {
		if !slices.Contains(v.Because, s.expand(id)) {
			out = append(out, "because lacks "+s.expand(id)+": "+strings.Join(v.Because, ", "))
		}
	}
	if fix := s.expand(w.fixText); !strings.Contains(v.Fix, fix) {
		out = append(out, "fix lacks "+fix+": "+v.Fix)
	}
	return out
}

// costProblems returns the limits that the product exceeded, and resets the counts.
func (s *scene) costProblems() []string {
	var all cost
	for _, h := range s.hosts {
		c := h.takeCost()
		all.bytes += c.bytes
		all.manifests += c.manifests
	}
	var out []string
	if all.bytes > maxBytes {
		out = append(out, fmt.Sprintf("the product received %d bytes from the registries, more than %d", all.bytes, maxBytes))
	}
	if all.manifests > maxManifests {
		out = append(out, fmt.Sprintf("the product received %d manifests, more than %d", all.manifests, maxManifests))
	}
	return out
}

// save records the checks, one a line, so that unit tests can replay the verdict without a
// lab.
func (s *scene) save(r row, d diagnosis) {
	if *record == "" {
		return
	}
	w := r.want
	w.Because = nil
	for _, id := range r.want.Because {
		w.Because = append(w.Because, s.expand(id))
	}
	ours := regexp.MustCompile(`/?` + regexp.QuoteMeta(strings.TrimPrefix(s.w.dir, "/")) + `/[a-z]+[0-9]+`)
	text := func(v any) string {
		b, err := json.Marshal(v)
		must(s.t, err)
		return ours.ReplaceAllString(string(b), "") // paths as on the machine
	}
	var checks []string
	for _, c := range d.Checks {
		checks = append(checks, text(c))
	}
	out := fmt.Sprintf("{\"row\":%s,\n\"misleads\":%s,\n\"todo\":%s,\n\"want\":%s,\n\"checks\":[\n%s\n]}\n",
		text(r.name), text(r.misleads), text(r.todo), text(w), strings.Join(checks, ",\n"))
	must(s.t, os.MkdirAll(*record, 0o755))
	must(s.t, os.WriteFile(filepath.Join(*record, r.name+".json"), []byte(out), 0o644))
}
