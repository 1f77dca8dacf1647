package examine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/redact"
)

// probed is what the probes of the registries found.
type probed struct {
	checks   []report.Check
	redactor redact.Redactor // knows the secrets that were used and those that were received
}

// probe checks every registry host that the runtime would contact for the image.
func (e *Examiner) probe(ctx context.Context, s Subject, known gathered) probed {
	secrets := secretList{image: s.Image}
	target := registry.Target{
		Image:          s.Image,
		Credentials:    slices.Concat(known.credentials.Matched, known.credentials.Runtime),
		Platform:       e.Platform,
		Refusals:       e.rejections(s),
		Runtime:        known.runtime.Evidence[report.KeyName],
		RuntimeVersion: known.runtime.Evidence[report.KeyVersion],
		EveryLayer:     e.everyLayer(s),
		Secret:         secrets.add,
		Neighbors:      func() []string { return s.repositoriesOf(known.ref.Domain) },
	}
	if e.Known != nil {
		target.Known = func(host string) (report.Check, time.Duration, bool) { return e.Known(host, s.After) }
	}
	checks := registry.Probe(ctx, known.node.Prober, known.ref, target)
	e.retry.note(known.ref.Domain, checks)
	suggested, used := e.suggest(ctx, s, known, checks, target)
	found := probed{checks: checks, redactor: redactorFor(slices.Concat(known.credentials.Used, used)).With(secrets.list...)}
	found.add(suggested)
	return found
}

// everyLayer reports whether the probes must ask for each layer: there is no test pull, and
// the kubelet is not pulling.
func (e *Examiner) everyLayer(s Subject) bool {
	off := e.Puller == nil || !e.Node.policy().TestPull
	return s.NoPull == "" && (off || !s.Failing)
}

// add appends a check that was made.
func (p *probed) add(c report.Check) {
	if c.ID != "" {
		p.checks = append(p.checks, c)
	}
}

// size returns the compressed size of the image in bytes; 0 if it is unknown.
func (p probed) size() int64 { return p.imageBytes(report.KeySize) }

// need returns the bytes that the image needs on disk; 0 if that is unknown.
func (p probed) need() int64 { return p.imageBytes(report.KeyNeed) }

// needBeside returns the bytes that the image certainly needs beside an image of the same
// repository that is on the node, by the check "local/HOST": it may share its layers.
func (p probed) needBeside(local report.Check) int64 {
	need, size := p.need(), p.size()
	shared, _ := strconv.ParseInt(local.Evidence[report.KeySameRepository], 10, 64) // absent: none
	if size <= 0 || shared <= 0 {
		return need
	}
	return int64(float64(need) * float64(max(size-shared, 0)) / float64(size))
}

// imageBytes returns a number of bytes that the checks found of the image.
func (p probed) imageBytes(key string) int64 {
	for _, c := range p.checks {
		if n, err := strconv.ParseInt(c.Evidence[key], 10, 64); err == nil && c.Kind == report.KindImage && n > 0 {
			return n
		}
	}
	return 0
}

// hosts returns the hosts whose manifest was checked.
func (p probed) hosts() []string {
	var out []string
	for _, c := range p.checks {
		if c.Kind == report.KindManifest {
			out = append(out, strings.TrimPrefix(c.ID, report.ManifestID("")))
		}
	}
	return out
}

// available reports whether a registry returned the manifest.
func (p probed) available() bool {
	return slices.ContainsFunc(p.checks, func(c report.Check) bool {
		return c.Kind == report.KindManifest && c.Outcome == report.Pass
	})
}

// unreachable reports whether no registry returned the manifest and a host could
// not be reached.
func (p probed) unreachable() bool {
	return !p.available() && slices.ContainsFunc(p.checks, func(c report.Check) bool {
		return c.Outcome == report.Fail && (c.Kind == report.KindDNS || c.Kind == report.KindDial)
	})
}

// secretList collects the secrets that the probes send and receive. Probes of
// several hosts add to it at a time.
type secretList struct {
	image string // its name must stay readable

	mu   sync.Mutex
	list []string
}

func (s *secretList) add(secret string) {
	if strings.Contains(s.image, secret) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, secret)
}

// redactorFor returns a redactor that knows these credentials.
func redactorFor(in []credentials.Credential) redact.Redactor {
	r := redact.New()
	for _, c := range in {
		r = r.WithLogin(c.Username, c.Password).With(c.IdentityToken)
	}
	return r
}

// controlCheck makes [Examiner.Control] at most once: when its result is needed,
// or when the probes have had their head start, if that is earlier.
type controlCheck struct {
	result func() report.Check // makes the check or waits for it
	cancel context.CancelFunc
	ahead  sync.WaitGroup
}

// startControl starts a control check with a delay; nil: there is none. Usually the
// probes have ended before it. If not, they may have met a host that does not answer:
// then the check is needed and should be done when they end.
func startControl(ctx context.Context, control func(context.Context, string) report.Check, domain string) *controlCheck {
	ctx, cancel := context.WithCancel(ctx)
	c := &controlCheck{cancel: cancel}
	c.result = sync.OnceValue(func() (check report.Check) {
		if control != nil {
			check = control(ctx, domain)
		}
		return check
	})
	delay := time.NewTimer(headStart)
	c.ahead.Go(func() {
		defer delay.Stop()
		select {
		case <-delay.C:
			c.result()
		case <-ctx.Done():
		}
	})
	return c
}

// stop cancels the check and waits for its end.
func (c *controlCheck) stop() {
	c.cancel()
	c.ahead.Wait()
}
