//go:build matrix

package matrix

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
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
	// never has what the verdict must not be, as "FAULT CAUSE CONFIDENCE" with
	// alternatives as in want: for situations in which several answers are honest.
	never []string
	// neverFix has texts that must not be in the fix.
	neverFix []string
	// wouldDecide: a verdict that is not confirmed must have wouldDecide.
	wouldDecide bool
	// also returns further problems of the verdict.
	also func(*scene, diagnosis) []string
	// kind is the kind of wrong answer that the row is about, see kinds.
	kind kind
}

// kind is a kind of wrong answer.
type kind int

const (
	other kind = iota
	rivals
	unseen
	requests
	foreignText
	logins
	fixLines
	clouds
	detours
	mistypedNames
)

var kinds = map[kind]string{
	other:       "one fault, one answer",
	rivals:      "another fault looks the same",
	unseen:      "a step was not seen",
	requests:    "the runtime sends other requests",
	foreignText: "a server's text is not the runtime's",
	logins:      "a login goes where the runtime does not send it",
	fixLines:    "a fix is a command that works",
	clouds:      "each registry refuses differently",
	detours:     "proxy and mirror",

	mistypedNames: "a name is mistyped, or not",
}

// want is the expected verdict. Because has checks that must be among the deciding
// ones, with placeholders like {host} for random values. Fault, cause and confidence may
// have alternatives ("likely|undetermined"); "*" is any.
type want struct {
	Fault      string   `json:"fault"`
	Cause      string   `json:"cause"`
	Confidence string   `json:"confidence"`
	Because    []string `json:"because"`
	fixText    string   // a part of the fix, with placeholders
}

// bounds returns a want. Its fix may have any text.
func bounds(fault, cause, confidence string, because ...string) want {
	return want{fault, cause, confidence, because, ""}
}

// runtimeResult is the expected result of containerd's own pull.
type runtimeResult struct {
	code  codes.Code // OK: it pulls the image
	text  string     // a regular expression that the message matches
	hangs bool       // it has not finished after hangTime

	anyCode bool // of a failure
	any     bool // whether it fails does not matter
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
	known := map[string]bool{}
	for _, r := range rows() {
		if known[r.name] {
			t.Fatalf("two rows are called %s", r.name)
		}
		known[r.name] = true
	}
	for _, marks := range []map[string]string{verdictTodos, fixTodos, loginTodos} {
		for name := range marks {
			if !known[name] {
				t.Errorf("todo_test.go has a mark for %s, which is no row", name)
			}
		}
	}
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows() {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r, reasons, skip := r.beside(*version)
				if skip {
					defer count.add(r, t, false)
					t.Skip(strings.Join(reasons, "; "))
				}
				if len(reasons) > 0 {
					t.Log(strings.Join(reasons, "; "))
				}
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
	mu                                sync.Mutex
	rows, misleading, failed, retried int
	todos                             map[kind]int // rows whose verdict is to do
	badFixes, badLogins               map[kind]int // rows whose fix, or whose logins, are to do
	byKind                            map[kind]int
	notes                             []string
	slowest                           time.Duration // longest time of a verdict
	slowestRow                        string
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
	if c.todos == nil {
		c.todos, c.badFixes, c.badLogins, c.byKind = map[kind]int{}, map[kind]int{}, map[kind]int{}, map[kind]int{}
	}
	c.rows++
	c.byKind[r.kind]++
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
		return
	case t.Skipped() && len(r.todos()) == 0:
		c.notes = append(c.notes, fmt.Sprintf("  skipped: %s\n", r.name))
	}
	for what, todo := range r.todos() {
		c.notes = append(c.notes, fmt.Sprintf("  to do: %s: %s: %s\n", r.name, what, todo))
		switch what {
		case "verdict":
			c.todos[r.kind]++
		case "fix":
			c.badFixes[r.kind]++
		case "logins":
			c.badLogins[r.kind]++
		}
	}
}

func (c *tally) String() string {
	slices.Sort(c.notes)
	out := strings.Join(c.notes, "") + fmt.Sprintf("%-55s %6s %6s %6s %6s\n", "kind", "rows", "to do", "fixes", "logins")
	line := func(name string, rows, todos, fixes, logins int) {
		out += fmt.Sprintf("%-55s %6d %6d %6d %6d\n", name, rows, todos, fixes, logins)
	}
	var todos, fixes, logins int
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		line(kinds[k], c.byKind[k], c.todos[k], c.badFixes[k], c.badLogins[k])
		todos, fixes, logins = todos+c.todos[k], fixes+c.badFixes[k], logins+c.badLogins[k]
	}
	line("all", c.rows, todos, fixes, logins)
	return out + fmt.Sprintf("%d rows, %d with a misleading message; %d failed, %d needed a second try\nslowest verdict: %v (%s)\n",
		c.rows, c.misleading, c.failed, c.retried, c.slowest.Round(time.Millisecond), c.slowestRow)
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
		wrong := o.wrong(r)
		if len(wrong) > 0 && try < maxTries {
			t.Log("trying again, after:\n" + strings.Join(wrong, "\n") + "\n" + o.String())
			continue
		}
		if len(wrong) > 0 {
			t.Error(strings.Join(wrong, "\n") + "\n" + o.String())
			return try > 1
		}
		s.save(r, o)
		switch {
		case len(r.todos()) > 0:
			t.Skipf("to do: %v\n%s", r.todos(), o)
		case testing.Verbose():
			t.Log(o)
		}
		return try > 1
	}
}

// todos returns the row's marks, by what they are about. A marked row still runs. It fails
// when it is as it should be, so that the mark is removed.
func (r row) todos() map[string]string {
	out := map[string]string{}
	for what, todo := range map[string]string{"verdict": verdictTodos[r.name], "fix": fixTodos[r.name], "logins": loginTodos[r.name]} {
		if todo != "" {
			out[what] = todo
		}
	}
	return out
}

// outcome is the result of one run of a row.
type outcome struct {
	wanted      string
	pulled      pulled
	diagnosis   diagnosis
	problems    []string // a precondition of the row does not hold
	differences []string // the product's verdict is not the expected one
	fixes       []string // its fix does not work
	logins      []string // it gave a login away
}

// wrong returns what is not as the row and its todos expect.
func (o outcome) wrong(r row) []string {
	out := slices.Clone(o.problems)
	todos := r.todos()
	for what, found := range map[string][]string{"verdict": o.differences, "fix": o.fixes, "logins": o.logins} {
		switch {
		case todos[what] == "":
			for _, f := range found {
				out = append(out, what+": "+f)
			}
		case len(found) == 0:
			out = append(out, what+": as it should be: remove the row's todo: "+todos[what])
		}
	}
	return out
}

func (o outcome) String() string {
	return fmt.Sprintf("want: %s\n%s\nruntime: %s after %v: %s\n%s  fix: %s\n",
		o.wanted, strings.Join(slices.Concat(o.problems, o.differences, o.fixes, o.logins), "\n"),
		o.pulled.code, o.pulled.took.Round(time.Millisecond), o.pulled.message, o.diagnosis, o.diagnosis.Verdict.Fix)
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
	o.differences = append(o.differences, r.forbidden(o.diagnosis.Verdict)...)
	if r.also != nil {
		o.differences = append(o.differences, r.also(s, o.diagnosis)...)
	}
	o.wanted = kinds[r.kind] + ": " + strings.Join([]string{r.want.Fault, r.want.Cause, r.want.Confidence}, " ") + "; never: " +
		strings.Join(append(slices.Clone(r.never), r.neverFix...), "; ")
	if r.misleads != "" {
		o.wanted += "; misleads: " + r.misleads
	}
	s.tryHosts(sub, sub.image)
	o.fixes = s.applyFix(sub, o.diagnosis.Verdict)

	sub.fix()
	s.log.fixed = true
	image := cmp.Or(sub.fixedImage, sub.image)
	// containerd may still wait, for example for a lookup without an answer: the row
	// continues when containerd has seen the fix.
	eventually(s.t, "the fixed image", func() error {
		if p := s.pull(sub, image, 30*time.Second); p.code != codes.OK {
			return fmt.Errorf("%v: %s", p.code, p.message)
		}
		return nil
	})
	sub.machine.remove(s.t, image)
	for _, h := range s.hosts {
		h.takeCost()
	}
	twin := s.check(sub, image)
	if v := twin.Verdict; v.Cause != "Healthy" || v.Confidence != "confirmed" && !sub.withoutPull() {
		o.problems = append(o.problems, "after the fix it is not Healthy: "+twin.String())
	}
	o.problems = append(o.problems, s.costProblems()...)
	o.fixes = append(o.fixes, s.applySecret(sub, o.diagnosis.Verdict, image)...)
	s.tryHosts(sub, image)
	o.logins = s.log.loginProblems()
	return o
}

// diagnoseAndPull runs the product and containerd's own pull. If containerd hangs, both
// run in parallel; otherwise containerd is first, as in reality.
func (r row) diagnoseAndPull(s *scene, sub *subject) (diagnosis, pulled) {
	if r.runtime.hangs {
		done := make(chan pulled)
		go func() { done <- s.pull(sub, sub.image, hangTime) }()
		d := s.check(sub, sub.image)
		return d, <-done
	}
	var d diagnosis
	if s.productFirst {
		d = s.check(sub, sub.image)
	}
	real := s.pull(sub, sub.image, 40*time.Second)
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
	case c.hangs || c.any:
		return nil
	case p.code != c.code && (!c.anyCode || p.code == codes.OK):
		return []string{"containerd's code is " + p.code.String() + ", want " + c.code.String() + ": " + p.message}
	case !regexp.MustCompile(c.text).MatchString(p.message):
		return []string{"containerd's message does not match " + c.text + ": " + p.message}
	}
	return nil
}

func (w want) differences(s *scene, v verdict) []string {
	var out []string
	if !oneOf(v.Fault, w.Fault) || !oneOf(v.Cause, w.Cause) || !oneOf(v.Confidence, w.Confidence) {
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

// oneOf reports whether s is among the alternatives.
func oneOf(s, alternatives string) bool {
	return alternatives == "*" || slices.Contains(strings.Split(alternatives, "|"), s)
}

// forbidden returns what the verdict must not say.
func (r row) forbidden(v verdict) []string {
	var out []string
	for _, n := range r.never {
		f := strings.Fields(n)
		if oneOf(v.Fault, f[0]) && oneOf(v.Cause, f[1]) && oneOf(v.Confidence, f[2]) {
			out = append(out, "got "+v.Fault+" "+v.Cause+" "+v.Confidence+", which must not be said: "+n)
		}
	}
	for _, text := range r.neverFix {
		if strings.Contains(v.Fix, text) {
			out = append(out, "the fix must not say "+text+": "+v.Fix)
		}
	}
	if r.wouldDecide && v.Confidence != "confirmed" && len(v.WouldDecide) == 0 {
		out = append(out, "the verdict has no wouldDecide")
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
func (s *scene) save(r row, o outcome) {
	if *record == "" || r.want.Cause == "*" && len(r.never) == 0 { // or the verdict does not matter
		return
	}
	d := o.diagnosis
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
	never := ""
	if len(r.never) > 0 {
		never = "\"never\":" + text(r.never) + ",\n"
	}
	out := fmt.Sprintf("{\"row\":%s,\n\"misleads\":%s,\n\"todo\":%s,\n\"want\":%s,\n%s\"checks\":[\n%s\n]}\n",
		text(r.name), text(r.misleads), text(verdictTodos[r.name]), text(w), never, strings.Join(checks, ",\n"))
	must(s.t, os.MkdirAll(*record, 0o755))
	must(s.t, os.WriteFile(filepath.Join(*record, r.name+".json"), []byte(out), 0o644))
}
