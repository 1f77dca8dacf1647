// Package opinions holds what the fleet says to this node: what other nodes see of the hosts
// that it does not reach, which hosts to check for others, and which pods ask for a preflight.
// Without a fleet it is empty.
package opinions

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Store holds the last answers. A reflector feeds it.
type Store struct {
	cfg Config

	mu      sync.Mutex
	byHost  map[string]nodefacts.Opinion
	byImage map[string]nodefacts.Sighting
}

// Config is what a store needs.
type Config struct {
	Log *slog.Logger
	// OnOpinions is called with the hosts and the images of which others say something else.
	OnOpinions func(hosts, images []string)
	// OnWanted is called with all hosts that others want to be checked, and since when.
	OnWanted func([]nodefacts.Wanted)
	// OnPreflights is called with all pods that ask whether this node could pull their images.
	OnPreflights func([]nodefacts.Pod)
}

// New returns an empty store.
func New(c Config) *Store { return &Store{cfg: c, byHost: map[string]nodefacts.Opinion{}} }

// Run watches the one ConfigMap of this node until ctx ends.
func (s *Store) Run(ctx context.Context, lw *cache.ListWatch) {
	cache.NewReflectorWithOptions(lw, &corev1.ConfigMap{}, s, cache.ReflectorOptions{
		Name:    "answers to this node",
		Backoff: &backoff.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: time.Minute},
	}).RunWithContext(ctx)
}

// Add, Update, Delete, Replace and Resync implement cache.ReflectorStore.
func (s *Store) Add(obj any) error { return s.Update(obj) }

func (s *Store) Update(obj any) error {
	if cm, ok := obj.(*corev1.ConfigMap); ok {
		s.set(cm.Data[nodefacts.AnswersKey])
	}
	return nil
}

func (s *Store) Delete(any) error {
	s.set("")
	return nil
}

func (s *Store) Replace(list []any, _ string) error {
	if len(list) == 0 {
		s.set("")
	}
	for _, obj := range list {
		_ = s.Update(obj)
	}
	return nil
}

func (s *Store) Resync() error { return nil }

// set replaces the answers.
func (s *Store) set(text string) {
	a, err := nodefacts.DecodeAnswers(text)
	if err != nil {
		s.cfg.Log.Warn("the fleet's answers cannot be read", "reason", err)
	}
	s.mu.Lock()
	old := s.byHost
	s.byHost = map[string]nodefacts.Opinion{}
	var changed []string
	for _, o := range a.Opinions {
		s.byHost[o.Host] = o
		if before, known := old[o.Host]; !known || key(before) != key(o) {
			changed = append(changed, o.Host)
		}
		delete(old, o.Host)
	}
	for host := range old {
		changed = append(changed, host)
	}
	images := s.setImages(a.Images)
	s.mu.Unlock()
	if len(changed)+len(images) > 0 {
		s.cfg.OnOpinions(changed, images)
	}
	s.cfg.OnWanted(a.Checks)
	s.cfg.OnPreflights(a.Preflights)
}

// setImages replaces what others found of images, and returns those of which they say
// something else. s.mu is held.
func (s *Store) setImages(list []nodefacts.Sighting) []string {
	old := s.byImage
	s.byImage = map[string]nodefacts.Sighting{}
	var changed []string
	for _, i := range list {
		s.byImage[i.Image] = i
		if before, known := old[i.Image]; !known || imageKey(before) != imageKey(i) {
			changed = append(changed, i.Image)
		}
		delete(old, i.Image)
	}
	for image := range old {
		changed = append(changed, image)
	}
	return changed
}

// Forget removes the opinion on a host that this node reaches again: if it fails once more,
// that is another failure.
func (s *Store) Forget(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byHost, host)
}

// maxAge is how old an opinion may be. The fleet renews it while the node asks.
const maxAge = 30 * time.Minute

// Checks returns what other nodes see of these hosts and found of an image, as checks, and a
// text that is equal while they say the same.
func (s *Store) Checks(hosts []string, image string, now time.Time) (checks []report.Check, same string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, host := range hosts {
		o, ok := s.byHost[host]
		if !ok || o.Asked > 0 && now.Sub(o.Oldest.Time()) > maxAge {
			continue
		}
		checks = append(checks, Check(o, now))
		same += key(o) + "\n"
	}
	if i, ok := s.byImage[image]; ok && image != "" && now.Sub(i.Oldest.Time()) <= maxAge {
		checks = append(checks, imageCheck(i, now))
		same += imageKey(i) + "\n"
	}
	return checks, same
}

func imageKey(i nodefacts.Sighting) string {
	i.Oldest = 0
	return fmt.Sprintf("%+v", i)
}

// imageCheck returns what other nodes found of an image as a check of the node that does not
// find it.
func imageCheck(i nodefacts.Sighting, now time.Time) report.Check {
	c := report.Check{
		ID: report.IDImageElsewhere, Kind: report.KindElsewhere, Target: i.Image, Outcome: report.Pass,
		Summary: readable.Abbreviate(slices.Clone(i.Which)) + " found " + i.Image + " at " + strings.Join(i.Found, ", "),
		Evidence: map[string]string{
			report.KeyFoundAt: strings.Join(i.Found, ", "),
			report.KeyWhich:   strings.Join(i.Which, ", "),
			report.KeyAgeMs:   strconv.FormatInt(max(now.Sub(i.Oldest.Time()), 0).Milliseconds(), 10),
		},
	}
	if i.Around {
		c.Evidence[report.KeyAround] = report.True
	}
	return c
}

// key returns a text that is equal for opinions that differ only in times.
func key(o nodefacts.Opinion) string {
	o.Oldest = 0
	return fmt.Sprintf("%+v", o)
}

// Check returns an opinion as a check of the node that asked.
func Check(o nodefacts.Opinion, now time.Time) report.Check {
	c := report.Check{ID: report.OpinionID(o.Host), Kind: report.KindElsewhere, Host: o.Host, Outcome: report.Pass}
	if o.Asked == 0 {
		c.Outcome, c.Summary = report.Skipped, "no other node has checked "+o.Host+" since it fails here"
		return c
	}
	c.Evidence = map[string]string{}
	for k, v := range map[string]string{
		report.KeyAsked:       strconv.Itoa(o.Asked),
		report.KeyReached:     strconv.Itoa(o.Reached),
		report.KeyFailed:      strconv.Itoa(o.Failed),
		report.KeyHow:         strings.Join(o.How, ", "),
		report.KeyWhich:       strings.Join(o.Which, ", "),
		report.KeyFailing:     strings.Join(o.Failing, ", "),
		report.KeyAddresses:   strings.Join(o.Addresses, ", "),
		report.KeySetsApart:   strings.Join(o.SetsApart, ", "),
		report.KeyRivals:      strings.Join(o.Rivals, "; "),
		report.KeySeesAnother: strings.Join(o.SeesAnother, ", "),
		report.KeyAgeMs:       strconv.FormatInt(max(now.Sub(o.Oldest.Time()), 0).Milliseconds(), 10),
	} {
		if v != "" {
			c.Evidence[k] = v
		}
	}
	c.Summary = fmt.Sprintf("%d of %d other nodes get through to %s", o.Reached, o.Asked, o.Host)
	if len(o.Which) > 0 {
		c.Summary += ": " + readable.Abbreviate(slices.Clone(o.Which))
	}
	if len(o.SetsApart) > 0 {
		c.Summary += "; those that fail are set apart by " + strings.Join(o.SetsApart, ", ")
	}
	if len(o.SeesAnother) > 0 {
		c.Summary += ", which see another " + strings.Join(o.SeesAnother, " and ")
	}
	return c
}
