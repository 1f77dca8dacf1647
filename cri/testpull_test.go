package cri

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/report"
)

func roomy() (free, reserve uint64, err error) { return 100 << 30, 1 << 30, nil }

func newPuller(n *node, journal string) *Puller {
	return &Puller{
		Client:   n.Client,
		Journal:  NewJournal(journal),
		Space:    roomy,
		MaxBytes: func() int64 { return 1 << 30 },
		Deadline: 20 * time.Second,
	}
}

// want compares what scripts rely on: the outcome and some of the evidence.
func want(t *testing.T, k report.Check, outcome report.Outcome, evidence map[string]string) {
	t.Helper()
	ok := k.ID == "pull" && k.Kind == report.KindPull && k.Outcome == outcome && k.Summary != ""
	for key, value := range evidence {
		ok = ok && k.Evidence[key] == value
	}
	if !ok {
		t.Errorf("want %v %v, got %+v", outcome, evidence, k)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	return glob(dir, entryPattern)
}

// age moves the entries of a journal into the past.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	for _, name := range entries(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := parseEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		e.Start = e.Start.Add(-by)
		if b, err = json.Marshal(e); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func file(content string) map[string][]byte { return map[string][]byte{"file": []byte(content)} }

// TestPull pulls with a real containerd from a real registry handler.
func TestPull(t *testing.T) {
	reg := startRegistry(t)
	pause := pauseBinary(t)
	n := startNode(t, reg.push("pause:1", map[string][]byte{"pause": pause}))

	t.Run("works and leaves nothing", func(t *testing.T) {
		dir, image := t.TempDir(), reg.push("good:1", file("good"))
		k := newPuller(n, dir).Pull(t.Context(), PullRequest{Image: image, Failing: true})
		want(t, k, report.Pass, map[string]string{"removed": "true", "auth": "anonymous"})
		if !strings.HasPrefix(k.Evidence["imageID"], "sha256:") || k.Evidence["bytes"] == "" || k.Host != reg.host {
			t.Errorf("got %+v", k)
		}
		if _, found := n.has(image); found {
			t.Error("the image is still there")
		}
		if list := entries(t, dir); list != nil {
			t.Errorf("journal: %v", list)
		}
	})

	t.Run("its details", func(t *testing.T) {
		image := reg.push("details:1", file("details"))
		n.pull(image)
		img, found, err := n.ImageDetails(t.Context(), image, nil)
		named := slices.Contains(img.Digests, reg.digestOf(image))
		if err != nil || !found || !named || img.Platform != "linux/"+runtime.GOARCH || img.Size == 0 {
			t.Errorf("%+v, %v", img, err)
		}
		if _, found, err := n.ImageDetails(t.Context(), reg.host+"/details:2", nil); found || err != nil {
			t.Errorf("an image that is not there: %v, %v", found, err)
		}
	})

	t.Run("by digest", func(t *testing.T) {
		image := reg.push("pinned:1", file("pinned"))
		byDigest := reg.digestOf(image)
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: byDigest, Failing: true})
		want(t, k, report.Pass, map[string]string{"removed": "true"})
		if _, found := n.has(byDigest); found {
			t.Error("the image is still there")
		}
	})

	t.Run("never moves a tag", func(t *testing.T) {
		image := reg.push("moving:1", file("old"))
		n.pull(image)
		old, _ := n.has(image)
		reg.push("moving:1", file("new"))
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: image, Failing: true})
		want(t, k, report.Skipped, map[string]string{"skipped": "present"})
		if now, found := n.has(image); !found || now.ID != old.ID {
			t.Errorf("the tag moved from %s to %+v", old.ID, now)
		}
	})

	t.Run("keeps an image that was there under another name", func(t *testing.T) {
		first, second := reg.push("twice:1", file("same")), reg.push("twice:2", file("same"))
		n.pull(first)
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: second, Failing: true})
		want(t, k, report.Pass, map[string]string{"left": LeftWasPresent})
		for _, image := range []string{first, second} {
			if _, found := n.has(image); !found {
				t.Errorf("%s is gone", image)
			}
		}
	})

	t.Run("keeps an image that got another name in between", func(t *testing.T) {
		for _, other := range []string{"named:2", "elsewhere:1"} { // another tag; another repository
			dir, image := t.TempDir(), reg.push("named:1", file("named "+other))
			p := newPuller(n, dir)
			h := p.begin(t, image)
			n.pull(image)
			n.pull(reg.push(other, file("named "+other)))
			h.release()
			got := p.Recover(t.Context())
			if len(got) != 1 || got[0].Left != LeftOtherReference || got[0].Image != image || entries(t, dir) != nil {
				t.Errorf("%s: %+v", other, got)
			}
			if _, found := n.has(image); !found {
				t.Errorf("%s is gone", image)
			}
		}
	})

	t.Run("keeps an image in use", func(t *testing.T) {
		for name, use := range map[string]func(img Image){
			"container": func(img Image) { n.run(img.ID) },
			"volume": func(img Image) {
				n.run(n.pause, &runtimeapi.Mount{ContainerPath: "/mnt", Readonly: true, Image: &runtimeapi.ImageSpec{Image: img.ID}})
			},
		} {
			dir, image := t.TempDir(), reg.push("used:"+name, map[string][]byte{"pause": pause, "as": []byte(name)})
			p := newPuller(n, dir)
			h := p.begin(t, image)
			n.pull(image)
			img, _ := n.has(image)
			use(img)
			h.release()
			if got := p.Recover(t.Context()); len(got) != 1 || got[0].Left != LeftInUse {
				t.Errorf("%s: %+v", name, got)
			}
			if _, found := n.has(image); !found {
				t.Errorf("%s: the image is gone", name)
			}
		}
	})

	t.Run("fails in the runtime's own words", func(t *testing.T) {
		reg.push("some:1", file("some"))
		dir := t.TempDir()
		k := newPuller(n, dir).Pull(t.Context(), PullRequest{Image: reg.host + "/some:absent", Failing: true})
		want(t, k, report.Fail, map[string]string{
			"code":  "NotFound",
			"could": "TagNotFound,RepositoryNotFound,AccessDeniedOrMissing,MirrorFaulty,UnsupportedManifest",
		})
		if k.Cause != report.TagNotFound || !strings.Contains(k.Evidence["message"], "some:absent: not found") {
			t.Errorf("got %+v", k)
		}
		if list := entries(t, dir); list != nil {
			t.Errorf("the runtime has said how it ended, yet: %v", list)
		}
	})

	t.Run("tries each credential once, in order", func(t *testing.T) {
		image := reg.push("private:1", file("private"))
		var seen []string
		reg.answer(func(r *http.Request) int {
			user, password, ok := r.BasicAuth()
			if ok {
				seen = append(seen, user)
			}
			if password != "right-canary" {
				return http.StatusUnauthorized
			}
			return 0
		})
		defer reg.answer(nil)
		wrong := credentials.Credential{Username: "a", Password: "wrong-canary", Source: "secret default/a"}
		right := credentials.Credential{Username: "b", Password: "right-canary", Source: "secret default/b"}

		both := []credentials.Credential{wrong, right}
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: image, Failing: true, Credentials: both})
		want(t, k, report.Pass, map[string]string{"auth": "secret default/b", "attempts": "2", "removed": "true"})
		if order := strings.Join(seen, ""); strings.Contains(strings.TrimLeft(order, "a"), "a") {
			t.Errorf("credentials were tried in the order %s", order)
		}

		k = newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: image, Failing: true, Credentials: []credentials.Credential{wrong}})
		want(t, k, report.Fail, map[string]string{"auth": "secret default/a", "attempts": "1"})
		if k.Cause != report.CredentialsRejected {
			t.Errorf("got %+v", k)
		}
		k2 := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: image, Failing: true})
		want(t, k2, report.Fail, map[string]string{"auth": "anonymous"})
		if k2.Cause != report.CredentialsMissing {
			t.Errorf("got %+v", k2)
		}
		if b, _ := json.Marshal([]report.Check{k, k2}); bytes.Contains(b, []byte("canary")) {
			t.Errorf("a secret shows: %s", b)
		}
	})

	t.Run("stops at a rate limit", func(t *testing.T) {
		image := reg.push("limited:1", file("limited"))
		var users atomic.Int32
		last := ""
		reg.answer(func(r *http.Request) int {
			if user, _, _ := r.BasicAuth(); user != last {
				last = user
				users.Add(1)
			}
			return http.StatusTooManyRequests
		})
		defer reg.answer(nil)
		before := reg.manifests()
		both := []credentials.Credential{{Username: "a", Password: "x"}, {Username: "b", Password: "y"}}
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: image, Failing: true, Credentials: both})
		want(t, k, report.Fail, map[string]string{"attempts": "1"})
		if k.Cause != report.RateLimited {
			t.Errorf("got %+v", k)
		}
		if asked := reg.manifests() - before; asked > 5 { // what one CRI pull costs
			t.Errorf("%d requests", asked)
		}
	})

	t.Run("refuses", func(t *testing.T) {
		image := reg.push("refused:1", file("refused"))
		full := func() (uint64, uint64, error) { return 2 << 30, 1 << 30, nil }
		blind := func() (uint64, uint64, error) { return 0, 0, errors.New("statfs: stale handle") }
		blocked := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		gone, err := New(n.dir + "/absent.sock")
		if err != nil {
			t.Fatal(err)
		}
		defer gone.Close()
		for word, test := range map[string]struct {
			req  PullRequest
			with func(*Puller)
		}{
			"notFailing":         {req: PullRequest{}},
			"rateLimited":        {req: PullRequest{Failing: true, NotBefore: time.Now().Add(time.Hour)}},
			"tooBig":             {req: PullRequest{Failing: true, Bytes: 2 << 30}},
			"noSpace":            {req: PullRequest{Failing: true, Bytes: 1 << 29}, with: func(p *Puller) { p.Space = full }},
			"noSpace blind":      {req: PullRequest{Failing: true}, with: func(p *Puller) { p.Space = blind }},
			"noSpace unset":      {req: PullRequest{Failing: true}, with: func(p *Puller) { p.Space = nil }},
			"noJournal":          {req: PullRequest{Failing: true}, with: func(p *Puller) { p.Journal = nil }},
			"noJournal file":     {req: PullRequest{Failing: true}, with: func(p *Puller) { p.Journal = NewJournal(blocked) }},
			"runtimeUnavailable": {req: PullRequest{Failing: true}, with: func(p *Puller) { p.Client = gone }},
		} {
			p := newPuller(n, t.TempDir())
			if test.with != nil {
				test.with(p)
			}
			test.req.Image = image
			before := reg.manifests()
			stable, _, _ := strings.Cut(word, " ")
			want(t, p.Pull(t.Context(), test.req), report.Skipped, map[string]string{"skipped": stable})
			if reg.manifests() != before {
				t.Errorf("%s: the registry was asked", word)
			}
		}
	})

	t.Run("stops", func(t *testing.T) {
		for name, test := range map[string]struct {
			with     func(*Puller)
			evidence map[string]string
		}{
			"at its deadline": {
				func(p *Puller) { p.Deadline = 300 * time.Millisecond },
				map[string]string{"timedOut": "true", "cleanUp": "pending"},
			},
			"when the disk is low":  {func(p *Puller) { p.Space = shrinking(100<<30, 1<<20) }, map[string]string{"stopped": "noSpace"}},
			"when it grows too big": {func(p *Puller) { p.Space = shrinking(100<<30, 90<<30) }, map[string]string{"stopped": "tooBig"}},
		} {
			dir, image := t.TempDir(), reg.push("stops:1", file(name))
			p := newPuller(n, dir)
			test.with(p)
			resume := reg.hold()
			k := p.Pull(t.Context(), PullRequest{Image: image, Failing: true})
			want(t, k, report.Error, test.evidence)
			if k.Cause != "" {
				t.Errorf("%s: our own stop has no cause: %+v", name, k)
			}
			resume()
			if len(entries(t, dir)) != 1 {
				t.Errorf("%s: containerd may still finish it, and the image would stay", name)
			}
		}
	})

	t.Run("one at a time", func(t *testing.T) {
		p := newPuller(n, t.TempDir())
		resume := reg.hold()
		defer resume()
		image := reg.push("slow:1", file("slow"))
		first := make(chan report.Check)
		reg.drain()
		go func() { first <- p.Pull(context.WithoutCancel(t.Context()), PullRequest{Image: image, Failing: true}) }()
		<-reg.stalled
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want(t, p.Pull(ctx, PullRequest{Image: image, Failing: true}), report.Skipped, map[string]string{"skipped": "busy"})
		resume()
		want(t, <-first, report.Pass, map[string]string{"removed": "true"})
	})

	t.Run("what hangs makes way", func(t *testing.T) {
		p := newPuller(n, t.TempDir())
		hangs, good := reg.push("hangs:1", file("hangs")), reg.push("makesway:1", file("makes way"))
		resume := reg.hold()
		defer resume()
		reg.drain()
		first := make(chan report.Check)
		go func() {
			first <- p.Pull(context.WithoutCancel(t.Context()), PullRequest{Image: hangs, Failing: true, Yields: true})
		}()
		<-reg.stalled
		reg.through()
		second := p.Pull(t.Context(), PullRequest{Image: good, Failing: true, Wait: 10 * time.Second})
		want(t, second, report.Pass, map[string]string{"removed": "true"})
		k := <-first
		want(t, k, report.Error, map[string]string{"stopped": "yielded"})
		if k.Cause != "" {
			t.Errorf("our own stop has no cause: %+v", k)
		}
	})

	t.Run("says how fast it was", func(t *testing.T) {
		large := make([]byte, 3<<20)
		for i := range large {
			large[i] = byte(i * i >> 7)
		}
		k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: reg.push("large:1", map[string][]byte{"file": large}), Failing: true})
		rate, err := strconv.ParseFloat(k.Evidence["throughput"], 64)
		bytes, err2 := strconv.ParseFloat(k.Evidence["bytes"], 64)
		seconds, err3 := strconv.ParseFloat(k.Evidence["seconds"], 64)
		if errors.Join(err, err2, err3) != nil || rate < 0.9*bytes/(seconds+0.001) || rate > 1.1*bytes/max(seconds-0.001, 0.001) {
			t.Errorf("got %+v", k)
		}
		little := reg.push("little:1", file("little"))
		if k := newPuller(n, t.TempDir()).Pull(t.Context(), PullRequest{Image: little, Failing: true}); k.Evidence["throughput"] != "" {
			t.Errorf("a few bytes tell how fast layers come: %+v", k)
		}
	})

	t.Run("pullprobe is killed", func(t *testing.T) {
		dir, image := t.TempDir(), reg.push("killed:1", file("killed"))
		resume := reg.hold()
		defer resume()
		reg.drain()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPullUntilKilled$")
		cmd.Env = append(os.Environ(), "PULLPROBE_TEST_PULL="+strings.Join([]string{n.containerd.Socket(), dir, image}, ","))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-reg.stalled
		p := newPuller(n, dir)
		if got := p.Recover(t.Context()); got != nil {
			t.Errorf("a running pull of another process was taken over: %+v", got)
		}
		cmd.Process.Kill()
		cmd.Wait()

		if got := p.Recover(t.Context()); len(got) != 1 || !got[0].Pending || got[0].Image != image {
			t.Errorf("too early to give up on it: %+v", got)
		}
		resume()
		n.pull(image) // as a runtime that goes on without its client
		if got := p.Recover(t.Context()); len(got) != 1 || !got[0].Removed {
			t.Errorf("got %+v", got)
		}
		if _, found := n.has(image); found || entries(t, dir) != nil {
			t.Error("the image or its entry is still there")
		}
	})

	t.Run("containerd is killed", func(t *testing.T) {
		dir, image := t.TempDir(), reg.push("crash:1", file("crash"))
		p := newPuller(n, dir)
		resume := reg.hold()
		defer resume()
		reg.drain()
		got := make(chan report.Check)
		go func() { got <- p.Pull(context.WithoutCancel(t.Context()), PullRequest{Image: image, Failing: true}) }()
		<-reg.stalled
		n.stop()
		k := <-got
		want(t, k, report.Error, map[string]string{"code": "Unavailable", "cleanUp": "pending"})
		if k.Cause != "" {
			t.Errorf("a restart is no cause: %+v", k)
		}
		if s := p.Recover(t.Context()); len(s) != 1 || !s[0].Pending || s[0].Err == nil {
			t.Errorf("while the runtime is away: %+v", s)
		}
		n.start()
		if s := p.Recover(t.Context()); len(s) != 1 || !s[0].Pending || s[0].Err != nil {
			t.Errorf("when it is back: %+v", s)
		}
		age(t, dir, 20*time.Second+lateArrival)
		if s := p.Recover(t.Context()); len(s) != 1 || s[0] != (CleanupResult{Image: image}) || entries(t, dir) != nil {
			t.Errorf("when the image has not come for long: %+v", s)
		}
	})
}

// TestPullUntilKilled is the other process of "pullprobe is killed".
func TestPullUntilKilled(t *testing.T) {
	args := strings.Split(os.Getenv("PULLPROBE_TEST_PULL"), ",")
	if len(args) != 3 {
		t.Skip("part of another test")
	}
	c, err := New(args[0])
	if err != nil {
		t.Fatal(err)
	}
	p := &Puller{Client: c, Journal: NewJournal(args[1]), Space: roomy, Deadline: time.Minute}
	fmt.Println(p.Pull(t.Context(), PullRequest{Image: args[2], Failing: true}))
}

// shrinking is a disk that others fill after the first look.
func shrinking(first, later uint64) func() (free, reserve uint64, err error) {
	var looks atomic.Int32
	return func() (uint64, uint64, error) {
		if looks.Add(1) == 1 {
			return first, 1 << 30, nil
		}
		return later, 1 << 30, nil
	}
}

// begin writes the entry of a pull that the test makes itself.
func (p *Puller) begin(t *testing.T, image string) *heldEntry {
	t.Helper()
	before, err := p.Client.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := entry{Image: image, Start: time.Now()}
	for _, i := range before {
		e.Before = append(e.Before, i.ID)
	}
	h, err := p.Journal.begin(e)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What an image of the same repository may share is not needed again.
func TestRoomBesideTheSameRepository(t *testing.T) {
	p := &Puller{Space: func() (free, reserve uint64, err error) { return 10 << 20, 1 << 20, nil }}
	req := PullRequest{Image: "r.lab/app:2", Bytes: 8 << 20}
	for name, images := range map[string][]Image{
		"":             {{Tags: []string{"r.lab/apples:1"}, Size: 8 << 20}},
		"r.lab/app:1":  {{Tags: []string{"r.lab/app:1"}, Size: 7 << 20}},
		"r.lab/app@sh": {{Digests: []string{"r.lab/app@sha256:00"}, Size: 9 << 20}},
	} {
		if _, err := p.room(req, images); (err == nil) != (name != "") {
			t.Errorf("beside %q: %v", name, err)
		}
	}
}
