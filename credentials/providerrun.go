package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// kubeletTimeout is how long the kubelet waits for a provider.
	kubeletTimeout = time.Minute
	// maxResponse bounds what is read of a provider's output, in bytes.
	maxResponse = 1 << 20
	// An answer is kept as long as the kubelet would keep it, but no longer
	// than keepAnswer; a failure for keepFailure, so that many pods that wait
	// for one registry do not run a broken provider each.
	keepAnswer  = time.Minute
	keepFailure = 10 * time.Second
	maxKept     = 64
)

// Answer is what came of one provider that matches an image.
type Answer struct {
	Provider    string
	Credentials []Credential   // for whatever it likes, not only for this image
	Failed      *ProviderError // why the kubelet gets nothing from it
	Skipped     string         // why it was not run here
}

// ProviderError says why a provider gave nothing, which the kubelet only logs.
type ProviderError struct {
	Kind     string // missing, notExecutable, exit, signal, timeout, hangs, garbage, version, cacheKeyType
	ExitCode int    // of kind exit
	Reason   string // holds nothing that the provider wrote
}

func (e *ProviderError) Error() string { return e.Reason }

// Runner runs credential providers as the kubelet does: the same binary with
// the same arguments, in the kubelet's root, working directory and
// environment, with one request on its standard input. What a provider writes
// stays in memory, and its standard error is not read. It is safe for
// concurrent use.
type Runner struct {
	// Timeout is how long a provider may take; the kubelet gives it a minute.
	Timeout time.Duration

	mu   sync.Mutex
	kept map[string]kept
}

type kept struct {
	answer Answer
	until  time.Time
}

// Ask gets the credentials of one provider for a repository.
func (r *Runner) Ask(ctx context.Context, k Kubelet, c ProviderConfig, p Provider, repository string) Answer {
	registry, _, _ := strings.Cut(repository, "/")
	key := func(about string) string {
		return strings.Join([]string{c.BinDir, p.Name, k.Started.String(), about}, "\x00")
	}
	// As in the kubelet's own cache (plugin.go, getCachedCredentials).
	if a, ok := r.lookup(key("image "+repository), key("registry "+registry), key("global")); ok {
		return a
	}
	a := Answer{Provider: p.Name}
	resp, err := r.run(ctx, k, c, p, repository)
	var failed *ProviderError
	switch {
	case err == nil:
		a.Credentials = resp.credentials("provider " + clean(p.Name))
		keep, _ := duration(p.DefaultCacheDuration)
		if resp.CacheDuration != nil {
			keep = resp.lifetime
		}
		about := map[string]string{"Image": "image " + repository, "Registry": "registry " + registry, "Global": "global"}[resp.CacheKeyType]
		r.keep(key(about), a, min(keep, keepAnswer))
	case errors.As(err, &failed):
		a.Failed = failed
		r.keep(key("image "+repository), a, keepFailure)
	default:
		a.Skipped = err.Error()
	}
	return a
}

func (r *Runner) lookup(keys ...string) (Answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if e, ok := r.kept[key]; ok && time.Now().Before(e.until) {
			return e.answer, true
		}
	}
	return Answer{}, false
}

func (r *Runner) keep(key string, a Answer, d time.Duration) {
	if d <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for k, e := range r.kept {
		if !now.Before(e.until) {
			delete(r.kept, k)
		}
	}
	if r.kept == nil || len(r.kept) >= maxKept {
		r.kept = map[string]kept{}
	}
	r.kept[key] = kept{a, now.Add(d)}
}

// run starts the provider once (plugin.go, ExecPlugin). The error is a
// *ProviderError if the kubelet would fail as well.
func (r *Runner) run(ctx context.Context, k Kubelet, c ProviderConfig, p Provider, repository string) (response, error) {
	request, err := json.Marshal(struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Image      string `json:"image"`
	}{"CredentialProviderRequest", p.APIVersion, repository})
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	began := time.Now()
	program := path.Join(c.BinDir, p.Name)
	cmd := exec.CommandContext(ctx, program, p.Args...)
	cmd.Dir = k.Dir
	cmd.Env = append([]string{}, k.Environ...) // never nil: that would be our own environment
	for _, v := range p.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	out := &bounded{limit: maxResponse}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(append(request, '\n')), out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: k.Root}
	// What the provider has started goes with it, and nothing that holds its
	// output open holds us up.
	killAll := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = killAll
	cmd.WaitDelay = 200 * time.Millisecond

	if err := cmd.Start(); err != nil {
		return response{}, notStarted(k, program, err)
	}
	err = cmd.Wait()
	_ = killAll() // the group lives on while anything in it does
	var exit *exec.ExitError
	switch {
	case out.full:
		return response{}, fmt.Errorf("its output is longer than the %d KiB that are read here", maxResponse>>10)
	case err == nil:
	case errors.Is(context.Cause(ctx), context.Canceled):
		return response{}, errors.New("given up: nobody waits for it any more")
	case ctx.Err() != nil:
		return response{}, &ProviderError{Kind: "timeout", Reason: fmt.Sprintf("it had not answered after %.1f s (the kubelet gives it %.0f s)", time.Since(began).Seconds(), kubeletTimeout.Seconds())}
	case errors.Is(err, exec.ErrWaitDelay):
		return response{}, &ProviderError{Kind: "hangs", Reason: "it has ended, but a process that it started holds its output open, so the kubelet waits for ever"}
	case errors.As(err, &exit):
		return response{}, notWell(exit)
	default:
		return response{}, errors.New("its output could not be read")
	}
	resp, failed := decodeResponse(out.buf.Bytes(), p.APIVersion)
	if failed != nil {
		return response{}, failed
	}
	return resp, nil
}

func notStarted(k Kubelet, program string, err error) error {
	info, missing := k.Files.Stat(program)
	switch {
	case errors.Is(missing, fs.ErrNotExist):
		return &ProviderError{Kind: "missing", Reason: program + " does not exist"}
	case errors.Is(err, fs.ErrNotExist):
		return &ProviderError{Kind: "notExecutable", Reason: program + " cannot be started: its interpreter or loader does not exist"}
	case errors.Is(err, syscall.EACCES) && missing == nil && !closedToUs(info), errors.Is(err, syscall.ENOEXEC):
		return &ProviderError{Kind: "notExecutable", Reason: program + " is not executable on this node"}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("it could not be started from here: %w", errno)
	}
	return errors.New("it could not be started from here")
}

// closedToUs reports whether root could execute a file, and this process cannot
// for want of a capability.
func closedToUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&0o111 != 0 && info.Mode()&0o001 == 0 && int(st.Uid) != syscall.Geteuid()
}

func notWell(exit *exec.ExitError) *ProviderError {
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return &ProviderError{Kind: "signal", Reason: "it was ended by signal " + s.Signal().String()}
	}
	code := exit.ExitCode()
	return &ProviderError{Kind: "exit", ExitCode: code, Reason: "it exited with status " + strconv.Itoa(code)}
}

// bounded is a buffer that takes so much and no more.
type bounded struct {
	buf   bytes.Buffer // not embedded: its ReadFrom knows no limit
	limit int
	full  bool
}

var errFull = errors.New("output too long")

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		b.full = true
		return 0, errFull
	}
	return b.buf.Write(p)
}
