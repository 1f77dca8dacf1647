package agent

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/probes/registry"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// Examiner looks at one image from this node: it plans the checks, runs side
// by side what can run side by side, and brings back facts. It knows nothing
// of Kubernetes.
type Examiner struct {
	Runtime  *cri.Client // nil: no runtime endpoint is known
	Puller   *cri.Puller // nil: no test pulls; an agent's settings may forbid them, too
	Platform string      // os/arch[/variant]; empty: this machine's

	// OwnFiles takes resolver files, trust store and hosts.toml from this
	// process's file system, at Paths, instead of the runtime's.
	OwnFiles bool
	Paths    view.Paths
	DiskPath string // instead of the image file system that the runtime names
	Limits   connect.Limits
	// AllowLoopback permits registries on loopback addresses, which a tenant
	// of a cluster may not have probed.
	AllowLoopback bool

	// Providers runs the kubelet's credential providers; nil: they are not run.
	// An agent's settings must allow it, too.
	Providers *credentials.Runner
	// Refusals remembers rejected passwords; nil: nothing is remembered.
	Refusals *credentials.Refusals

	// Control looks whether this node reaches any host but that of a domain;
	// nil: no other host is known.
	Control func(ctx context.Context, domain string) report.Check
	// Known gives what a host answered to a sweep a moment ago, and how old that is,
	// if that was after a time; nil: there are no sweeps.
	Known func(host string, after time.Time) (report.Check, time.Duration, bool)

	live *live // the agent's settings; nil: there is no agent

	mu        sync.Mutex
	notBefore map[string]time.Time // by the registry's name, after a 429
	rates     rates
	disks     chore
	addresses addresses
	kubelet   *cri.Process // found before
}

// How long the parts of an examination may take.
const (
	// verdictIn is when a first answer must stand, whatever hangs.
	verdictIn = 4500 * time.Millisecond
	// secretsIn bounds the reading of all pull secrets: the checks need the rest.
	secretsIn = time.Second
	// headStart is what the checks get before the test pull starts beside
	// them: normally they are done by then, and its size cap can be known.
	headStart = time.Second
	// pullIn bounds a test pull whose way is clear.
	pullIn = 2 * time.Minute
	// runtimeIn bounds what is asked of the runtime before the checks begin: one
	// that hangs must leave them time.
	runtimeIn = 2 * time.Second
	// afterStop is how long a test pull that was stopped may take to say so.
	afterStop = 250 * time.Millisecond
	// turn is how long a test pull waits for another one: a large image must
	// not hold up the verdicts on all others, which have the kubelet's words.
	turn = 500 * time.Millisecond
)

// settings are those that hold now; without an agent the examiner's own fields
// decide.
func (e *Examiner) settings() Settings {
	if e.live == nil {
		return Settings{TestPull: true, CredentialProviders: true, CertificateDays: 14}
	}
	return e.live.get()
}

// Subject is what is examined.
type Subject struct {
	Image string
	// Secrets fetches the pull secrets of the pod.
	Secrets func(context.Context) []credentials.Found
	// Account fetches what the pod's ServiceAccount lists and the pod does not
	// carry; nil: there is no ServiceAccount.
	Account func(context.Context) *credentials.Account
	// Failing says that the pod's own pull fails on this node; without it
	// nothing is pulled, for the reason NoPull.
	Failing bool
	NoPull  string
	After   time.Time // what was seen before does not count: somebody asks anew
}

// Examination is what came of it. Its checks are redacted.
type Examination struct {
	Checks []report.Check
	Final  bool // false: the test pull still runs
	// Redactor knows the secrets that were used; whatever is added to the
	// checks goes through it.
	Redactor report.Redactor
}

// Examine makes all checks of one image. If the test pull takes longer than a
// first answer may, early gets an examination without it.
func (e *Examiner) Examine(ctx context.Context, s Subject, early func(Examination)) Examination {
	start := time.Now()
	refCheck, ref := reference.Parse(s.Image)
	if refCheck.Outcome == report.Fail {
		return Examination{Checks: report.NewRedactor().Checks([]report.Check{refCheck}), Final: true}
	}

	quick, cancel := context.WithDeadline(ctx, start.Add(verdictIn))
	defer cancel()
	var (
		wg      sync.WaitGroup
		runtime report.Check
		local   report.Check
		node    vantage
		disk    report.Check // whatever the image needs
		creds   credentials.Walked
	)
	wg.Go(func() {
		asking, stop := context.WithTimeout(quick, runtimeIn)
		defer stop()
		runtime = e.runtimeCheck(asking)
		local = e.localImages(asking, ref, runtime)
	})
	wg.Go(func() {
		node = e.look(quick)
		disk = e.diskCheck(node, 0)
	})
	wg.Go(func() {
		reading, stop := context.WithTimeout(quick, providersIn)
		defer stop()
		creds = e.credentialsFor(reading, ref.Domain+"/"+ref.Path, s)
	})
	wg.Wait()
	defer node.close()

	credsRpt := creds.Checks[0]
	if credsRpt.Evidence["fatal"] == "true" {
		s.Failing, s.NoPull = false, "the kubelet gives up on the pull secret before it asks the runtime"
	}
	if credsRpt.Outcome == report.Skipped {
		// What nobody in particular may pull says nothing of this pod.
		s.Failing, s.NoPull = false, "not all of the kubelet's credentials for this image are known, and a pull without them proves nothing"
	}
	redactor := redactorFor(creds.Used)
	build := func(ladder []report.Check, pull report.Check) []report.Check {
		checks := append([]report.Check{refCheck}, creds.Checks...)
		checks = append(checks, runtime)
		checks = append(checks, node.checks...)
		if need := imageFact(ladder, "need"); need > 0 && disk.Outcome == report.Pass {
			disk = e.diskCheck(node, need)
		}
		checks = append(checks, disk, local)
		checks = append(checks, ladder...)
		if pull.ID != "" {
			checks = append(checks, pull)
		}
		return redactor.Checks(checks)
	}

	var ladder []report.Check
	climbed := make(chan struct{})
	go func() {
		defer close(climbed)
		var told struct {
			sync.Mutex
			secrets []string
		}
		target := registry.Target{Image: s.Image, Credentials: slices.Concat(creds.Matched, creds.Runtime), Platform: e.Platform, Refusals: e.Refusals, Secret: func(secret string) {
			if strings.Contains(s.Image, secret) {
				return // nor does it take the image's name out of the report
			}
			told.Lock()
			defer told.Unlock()
			told.secrets = append(told.secrets, secret)
		}}
		target.Runtime, target.RuntimeVersion = runtime.Evidence["name"], runtime.Evidence["version"]
		if e.Known != nil {
			target.Known = func(host string) (report.Check, time.Duration, bool) { return e.Known(host, s.After) }
		}
		ladder = registry.Probe(quick, node.Prober, ref, target)
		redactor = redactor.With(told.secrets...)
		e.remember(ref.Domain, ladder)
	}()
	control := sync.OnceValue(func() (c report.Check) {
		if e.Control != nil {
			c = e.Control(quick, ref.Domain)
		}
		return c
	})
	aside := time.AfterFunc(headStart, func() { control() }) // beside the rest: this may be a black hole
	defer aside.Stop()
	ask := pullAsk{yields: true} // what takes so long may be blocked
	wait := time.NewTimer(headStart)
	defer wait.Stop()
	impatient := wait.C
	if len(node.Guard.Deny) > 0 {
		impatient = nil // the test pull must not go where the checks may not, and they have to find the way first
	}
	select {
	case <-climbed:
		ask = pullAsk{size: imageFact(ladder, "size")}
		if c, denied := guard.FirstDenied(ladder); denied {
			s.Failing, s.NoPull = false, "a test pull would go where pullprobe may not: "+c.Summary
		}
		creds.Matched = e.worthTrying(creds.Matched, hostsOf(ladder))
		if credsRpt.Evidence["matched"] != "" && len(creds.Matched) == 0 {
			s.Failing, s.NoPull = false, "the registry has just rejected every credential that applies, and a wrong password is not tried again"
		}
	case <-impatient:
	}

	pullCtx, cancelPull := context.WithTimeout(ctx, pullIn)
	defer cancelPull()
	pulled := make(chan report.Check, 1)
	go func() {
		pulled <- e.pull(pullCtx, s, ref, forRuntime(creds.Matched), ask, runtime)
	}()
	<-climbed
	if blockedOnTheWay(ladder) {
		if c := control(); c.ID != "" {
			ladder = append(ladder, c)
		}
	}
	clear := reachable(ladder)
	if !clear {
		// The way is blocked for the checks, so the test pull gets no longer
		// than they had.
		stop := context.AfterFunc(quick, cancelPull)
		defer stop()
	}
	stands := start.Add(verdictIn)
	if !clear {
		stands = stands.Add(afterStop)
	}
	waited := time.NewTimer(time.Until(stands))
	defer waited.Stop()
	var pull report.Check
	select {
	case pull = <-pulled:
	case <-waited.C:
		if early != nil {
			early(Examination{Checks: build(ladder, e.rates.estimate(stillPulling(), ref.Domain, imageFact(ladder, "size"))), Redactor: redactor})
		}
		pull = <-pulled
	}
	e.remember(ref.Domain, []report.Check{pull})
	e.rates.learn(ref.Domain, pull)
	if !s.Failing {
		pull = e.rates.estimate(pull, ref.Domain, imageFact(ladder, "size")) // of the kubelet's own
	}
	return Examination{Checks: build(ladder, pull), Final: true, Redactor: redactor}
}

func stillPulling() report.Check {
	return report.Check{ID: "pull", Kind: report.KindPull, Outcome: report.Unknown, Summary: "the test pull is still running"}
}

// runtimeCheck asks the runtime how it is.
func (e *Examiner) runtimeCheck(ctx context.Context) report.Check {
	ctx, cancel := context.WithTimeout(ctx, runtimeIn)
	defer cancel()
	if e.Runtime == nil {
		return report.Check{ID: "runtime", Kind: report.KindRuntime, Outcome: report.Skipped, Summary: "no runtime endpoint is known: name one with --runtime-endpoint"}
	}
	return e.Runtime.Status(ctx)
}

// localImages says which images of the same registry are already here: a node
// that pulled from a registry before could reach it.
func (e *Examiner) localImages(ctx context.Context, ref reference.Ref, runtime report.Check) report.Check {
	c := report.Check{ID: "local/" + ref.Domain, Kind: report.KindImage, Host: ref.Domain, Outcome: report.Skipped}
	if runtime.Outcome != report.Pass {
		c.Summary, c.BlockedBy = "the runtime could not be asked", "runtime"
		return c
	}
	start := time.Now()
	images, err := e.Runtime.Images(ctx)
	if err != nil {
		c.Outcome, c.Summary = report.Error, "the runtime did not list its images"
		return c
	}
	count, example := imagesFrom(images, ref.Domain)
	_, present, err := e.Runtime.ImageStatus(ctx, ref.String())
	c.Outcome = report.Pass
	c.Evidence = map[string]string{"count": strconv.Itoa(count), "present": strconv.FormatBool(err == nil && present)}
	c.Summary = localSummary(count, ref.Domain, example)
	if example != "" {
		c.Evidence["example"] = example
	}
	c.Duration = report.Millis(time.Since(start))
	return c
}

// pullAsk is what a test pull hangs on beside its subject.
type pullAsk struct {
	size   int64 // compressed; 0: not known
	yields bool  // it makes way for pulls with better prospects
}

// pull asks the runtime to pull, if the rules allow it.
func (e *Examiner) pull(ctx context.Context, s Subject, ref reference.Ref, auths []cri.Auth, ask pullAsk, runtime report.Check) report.Check {
	c := report.Check{ID: "pull", Kind: report.KindPull, Target: ref.String(), Outcome: report.Skipped}
	switch {
	case e.Puller == nil || !e.settings().TestPull:
		c.Summary = "test pulls are switched off"
		return c
	case !s.Failing:
		c.Summary = cmp.Or(s.NoPull, "nothing has failed to pull here, so nothing is pulled")
		c.Evidence = map[string]string{"skipped": "notFailing"}
		return c
	case runtime.Outcome != report.Pass:
		c.Summary, c.BlockedBy = "the runtime cannot pull now", "runtime"
		return c
	}
	return e.Puller.Pull(ctx, cri.PullRequest{
		Image: ref.String(), Auths: auths, Bytes: ask.size, Failing: s.Failing, NotBefore: e.notBeforeFor(ref.Domain),
		Wait: turn, Yields: ask.yields,
	})
}

// remember keeps what a 429 asked for.
func (e *Examiner) remember(domain string, ladder []report.Check) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range ladder {
		if c.Cause != report.RateLimited && c.Evidence["limited"] != "429" {
			continue
		}
		until := time.Now().Add(retryAfter(c.Evidence["retryAfter"], time.Now()))
		if e.notBefore == nil {
			e.notBefore = map[string]time.Time{}
		}
		// Tenants name the registries, so what has passed does not stay.
		maps.DeleteFunc(e.notBefore, func(_ string, at time.Time) bool { return time.Now().After(at) })
		if until.After(e.notBefore[domain]) {
			e.notBefore[domain] = until
		}
	}
}

// retryAfter reads a Retry-After header, seconds or a date (RFC 9110, 10.2.3):
// a minute if there is none, a day at most.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Minute
	if s, err := strconv.Atoi(header); err == nil && s > 0 {
		wait = time.Duration(min(s, 86400)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil && at.After(now) {
		wait = at.Sub(now)
	}
	return min(wait, 24*time.Hour)
}

func (e *Examiner) notBeforeFor(domain string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notBefore[domain]
}

// imageFact is a number of bytes that the ladder found of the image, 0 if it
// found none: its size as it is sent, or what it needs on disk.
func imageFact(ladder []report.Check, name string) int64 {
	for _, c := range ladder {
		if n, err := strconv.ParseInt(c.Evidence[name], 10, 64); err == nil && c.Kind == report.KindImage && n > 0 {
			return n
		}
	}
	return 0
}

// hostsOf are the hosts that were asked for the manifest.
func hostsOf(ladder []report.Check) []string {
	var out []string
	for _, c := range ladder {
		if c.Kind == report.KindManifest {
			out = append(out, strings.TrimPrefix(c.ID, "manifest/"))
		}
	}
	return out
}

// reachable reports whether some registry gave the manifest.
func reachable(ladder []report.Check) bool {
	for _, c := range ladder {
		if c.Kind == report.KindManifest && c.Outcome == report.Pass {
			return true
		}
	}
	return false
}

// blockedOnTheWay reports whether no registry gave the manifest and some host
// was not even reached.
func blockedOnTheWay(ladder []report.Check) bool {
	return !reachable(ladder) && slices.ContainsFunc(ladder, func(c report.Check) bool {
		return c.Outcome == report.Fail && (c.Kind == report.KindDNS || c.Kind == report.KindDial)
	})
}

func forRuntime(in []credentials.Credential) []cri.Auth {
	var out []cri.Auth
	for _, c := range in {
		out = append(out, cri.Auth{Username: c.Username, Password: c.Password, Source: c.Source})
	}
	return out
}

func redactorFor(in []credentials.Credential) report.Redactor {
	var secrets []string
	for _, c := range in {
		pair := c.Username + ":" + c.Password
		secrets = append(secrets, c.Password, c.IdentityToken, pair, base64.StdEncoding.EncodeToString([]byte(pair)), base64.RawStdEncoding.EncodeToString([]byte(pair)))
	}
	return report.NewRedactor(secrets...)
}

// ValidPlatform says what is wrong with a platform, os/arch[/variant]; the
// empty one is this machine's.
func ValidPlatform(platform string) error {
	if platform == "" {
		return nil
	}
	_, err := platforms.Parse(platform)
	return err
}
