package opinions

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

// told is a store, and what it told.
type told struct {
	*Store
	hosts      []string
	wanted     []nodefacts.Wanted
	preflights []nodefacts.Pod
}

func newTold() *told {
	out := &told{}
	out.Store = New(Config{
		Log:          slog.New(slog.DiscardHandler),
		OnOpinions:   func(hosts, images []string) { out.hosts = slices.Concat(out.hosts, hosts, images) },
		OnWanted:     func(w []nodefacts.Wanted) { out.wanted = w },
		OnPreflights: func(p []nodefacts.Pod) { out.preflights = p },
	})
	return out
}

// says passes an answer, and returns the hosts of which it says something else.
func (s *told) says(t *testing.T, text string) []string {
	t.Helper()
	s.hosts = nil
	if err := s.Replace([]any{&corev1.ConfigMap{Data: map[string]string{nodefacts.AnswersKey: text}}}, ""); err != nil {
		t.Fatal(err)
	}
	slices.Sort(s.hosts)
	return s.hosts
}

func encoded(t *testing.T, a nodefacts.Answers) string {
	t.Helper()
	text, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStore(t *testing.T) {
	s, now := newTold(), time.Now()
	a := nodefacts.Opinion{Host: "a", Asked: 1, Reached: 1, Which: []string{"n"}, Oldest: nodefacts.StampOf(now)}
	b := nodefacts.Opinion{Host: "b", Asked: 0}
	text := encoded(t, nodefacts.Answers{Opinions: []nodefacts.Opinion{a, b}, Checks: []nodefacts.Wanted{{Host: "c", Since: 5}}})
	if got := s.says(t, text); strings.Join(got, " ") != "a b" || len(s.wanted) != 1 {
		t.Errorf("%q, %v", got, s.wanted)
	}
	if checks, _ := s.Checks([]string{"a", "b", "c"}, "", now); len(checks) != 2 || checks[0].Outcome != report.Pass || checks[1].Outcome != report.Skipped {
		t.Errorf("%+v", checks)
	}
	_, same := s.Checks([]string{"a"}, "", now)
	a.Oldest++
	if got := s.says(t, encoded(t, nodefacts.Answers{Opinions: []nodefacts.Opinion{a, b}})); len(got) != 0 || len(s.wanted) != 0 {
		t.Errorf("the age alone is news: %q, %v", got, s.wanted)
	}
	if _, again := s.Checks([]string{"a"}, "", now); again != same || same == "" {
		t.Errorf("%q, %q", again, same)
	}
	if checks, _ := s.Checks([]string{"a"}, "", now.Add(maxAge+time.Minute)); len(checks) != 0 {
		t.Errorf("an old opinion counts: %+v", checks)
	}
	s.Forget("a")
	if checks, _ := s.Checks([]string{"a"}, "", now); len(checks) != 0 {
		t.Errorf("it counts although the node reaches the host again: %+v", checks)
	}
	if got := s.says(t, "nonsense"); strings.Join(got, " ") != "b" {
		t.Errorf("what cannot be read says something of %q", got)
	}
	s.says(t, text)
	s.hosts = nil
	if err := s.Delete(nil); err != nil || len(s.hosts) != 2 || len(s.wanted) != 0 {
		t.Errorf("%v, %q, %v", err, s.hosts, s.wanted)
	}
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	c := Check(nodefacts.Opinion{
		Host: "r.example", Asked: 5, Reached: 2, Failed: 3, How: []string{"ConnectionTimeout", "HostNotFound"}, Which: []string{"n1", "n2"},
		Failing: []string{"n3"}, Addresses: []string{"192.0.2.7"}, SetsApart: []string{"subnet 10.1.2.0/24"}, Oldest: nodefacts.StampOf(now.Add(-time.Minute)),
	}, now)
	if c.ID != "elsewhere/r.example" || c.Kind != report.KindElsewhere || c.Elsewhere() {
		t.Errorf("%+v", c)
	}
	const want = "2 of 5 other nodes get through to r.example: n1, n2; those that fail are set apart by subnet 10.1.2.0/24"
	if c.Summary != want {
		t.Errorf("%s", c.Summary)
	}
	for k, v := range map[string]string{
		"asked": "5", "reached": "2", "failed": "3", "how": "ConnectionTimeout, HostNotFound", "which": "n1, n2", "failing": "n3", "addresses": "192.0.2.7",
		"setsApart": "subnet 10.1.2.0/24", "ageMs": "60000",
	} {
		if c.Evidence[k] != v {
			t.Errorf("%s is %q, want %q", k, c.Evidence[k], v)
		}
	}
}

// What others found of an image is a check of that image alone.
func TestImages(t *testing.T) {
	s, now := newTold(), time.Now()
	i := nodefacts.Sighting{
		Image: "r.example/app:2", Found: []string{"r.example"}, Which: []string{"b", "c"}, Around: true, Oldest: nodefacts.StampOf(now),
	}
	if got := s.says(t, encoded(t, nodefacts.Answers{Images: []nodefacts.Sighting{i}})); strings.Join(got, " ") != i.Image {
		t.Errorf("news of %q", got)
	}
	checks, same := s.Checks(nil, i.Image, now)
	if len(checks) != 1 || checks[0].ID != report.IDImageElsewhere || checks[0].Evidence[report.KeyFoundAt] != "r.example" || same == "" {
		t.Errorf("%+v, %q", checks, same)
	}
	if checks, _ := s.Checks(nil, "r.example/app:3", now); len(checks) != 0 {
		t.Errorf("of another image: %+v", checks)
	}
	i.Oldest++
	if got := s.says(t, encoded(t, nodefacts.Answers{Images: []nodefacts.Sighting{i}})); len(got) != 0 {
		t.Errorf("the age alone is news: %q", got)
	}
	if got := s.says(t, ""); strings.Join(got, " ") != i.Image {
		t.Errorf("news of %q", got)
	}
	if checks, _ := s.Checks(nil, i.Image, now); len(checks) != 0 {
		t.Errorf("it was taken back: %+v", checks)
	}
}
