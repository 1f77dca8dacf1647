package credentials

import (
	"bytes"
	"cmp"
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

	"github.com/pullprobe/pullprobe/host"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// kubeletProviderTimeout is how long the kubelet waits for a provider.
	kubeletProviderTimeout = time.Minute
	// maxResponseBytes bounds what is read of a provider's output.
	maxResponseBytes = 1 << 20
	// An answer is cached as long as the kubelet would cache it, but no longer
	// than answerTTL. A failure is cached for failureTTL, so that many pods that
	// wait for one registry do not each run a broken provider.
	answerTTL        = time.Minute
	failureTTL       = 10 * time.Second
	minFailureAge    = time.Second // until then a failure counts even for a later request
	maxCachedAnswers = 64
)

// ProviderResult is the result of one provider that matches an image.
type ProviderResult struct {
	Provider    string
	Credentials []Credential   // for any server, not only for this image's
	Failed      *ProviderError // why the kubelet gets nothing from it
	NotForPod   *NotForPod     // why the kubelet does not run it for the pod
	Skipped     string         // why it was not run here
	// KubeletToo: what prevents the run here prevents that of the kubelet as well.
	KubeletToo bool
	// Token is the token that was requested for it, as IdentityToken; for the redaction.
	Token Credential
}

// ProviderCall is one provider that is to be run for a repository.
type ProviderCall struct {
	Kubelet    Kubelet
	Config     ProviderConfig
	Provider   Provider
	Repository string
	// After is when the caller's request was made. A failure from before is not taken
	// from the cache: the kubelet caches none, and a user who asks may have fixed it.
	After time.Time
	// Identity is whose token the provider gets; nil: it gets none.
	Identity *Identity
}

// ProviderError explains why a provider returned nothing. The kubelet only logs
// it.
type ProviderError struct {
	Kind     string // missing, notExecutable, exit, signal, timeout, hangs, garbage, version, cacheKeyType, tokenReturned
	ExitCode int    // of kind exit
	Reason   string // contains nothing that the provider wrote
}

func (e *ProviderError) Error() string { return e.Reason }

// ProviderRunner runs credential providers as the kubelet does: the same binary with
// the same arguments, in the kubelet's root, working directory and
// environment, with one request on its standard input. The output of a provider
// stays in memory, and its standard error is not read. It is safe for
// concurrent use.
type ProviderRunner struct {
	// Timeout is how long a provider may take. The kubelet waits a minute.
	Timeout time.Duration

	mu    sync.Mutex
	cache map[string]cachedAnswer
}

type cachedAnswer struct {
	answer    ProviderResult
	at, until time.Time
}

// Run returns the credentials of one provider for a repository, from the cache
// or by running it. The cache keys are the kubelet's (plugin.go,
// getCachedCredentials).
func (r *ProviderRunner) Run(ctx context.Context, c ProviderCall) ProviderResult {
	p := c.Provider
	a := ProviderResult{Provider: p.Name}
	var in tokenInput
	takesToken := p.NeedsToken() && c.Identity != nil && c.Identity.Account != ""
	if takesToken {
		var ok bool
		if in, ok = c.readAccount(ctx, &a); !ok {
			return a
		}
	}
	keys := c.cacheKeys(in)
	if cached, ok := r.cached(c.After, keys.byImage, keys.byRegistry, keys.global); ok {
		return cached
	}
	if takesToken && !c.requestToken(ctx, &in, &a) {
		return a
	}
	resp, err := r.runOnce(ctx, c, in)
	if echoed := c.returnsToken(in, resp); err == nil && echoed != nil {
		err = echoed
	}
	if err != nil {
		failed, ok := errors.AsType[*ProviderError](err)
		if !ok {
			a.Skipped = err.Error()
			return a
		}
		a.Failed = failed
		r.store(keys.byImage, a, failureTTL)
		return a
	}
	a.Credentials = responseCredentials(resp, "provider "+clean(p.Name))
	if c.cacheable(in) {
		ttl := cmp.Or(resp.CacheDuration, p.DefaultCacheDuration, &metav1.Duration{}).Duration
		r.store(keys.of(resp.CacheKeyType), a, min(ttl, answerTTL))
	}
	return a
}

// cacheKeys are the keys under which the kubelet searches the response of a provider.
type cacheKeys struct{ byImage, byRegistry, global string }

// cacheKeys returns the keys for an image and what the provider gets of a ServiceAccount.
func (c ProviderCall) cacheKeys(in tokenInput) cacheKeys {
	registry, _, _ := strings.Cut(c.Repository, "/")
	key := func(scope string) string {
		return strings.Join([]string{c.Config.BinDir, c.Provider.Name, c.Kubelet.Started.String(), c.scope(in), scope}, "\x00")
	}
	return cacheKeys{byImage: key("image " + c.Repository), byRegistry: key("registry " + registry), global: key("global")}
}

// of returns the key for a cacheKeyType.
func (k cacheKeys) of(t credentialproviderv1.PluginCacheKeyType) string {
	return map[credentialproviderv1.PluginCacheKeyType]string{
		credentialproviderv1.ImagePluginCacheKeyType:    k.byImage,
		credentialproviderv1.RegistryPluginCacheKeyType: k.byRegistry,
		credentialproviderv1.GlobalPluginCacheKeyType:   k.global,
	}[t]
}

// cached returns the answer that is stored under the first key that has one.
func (r *ProviderRunner) cached(after time.Time, keys ...string) (ProviderResult, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		e, ok := r.cache[key]
		if ok && time.Now().Before(e.until) && (e.answer.Failed == nil || !e.at.Before(after) || time.Since(e.at) < minFailureAge) {
			return e.answer, true
		}
	}
	return ProviderResult{}, false
}

// store caches an answer for ttl, without the token that was requested for it. A full
// cache is emptied first.
func (r *ProviderRunner) store(key string, a ProviderResult, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	a.Token = Credential{}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for k, e := range r.cache {
		if !now.Before(e.until) {
			delete(r.cache, k)
		}
	}
	if r.cache == nil || len(r.cache) >= maxCachedAnswers {
		r.cache = map[string]cachedAnswer{}
	}
	r.cache[key] = cachedAnswer{answer: a, at: now, until: now.Add(ttl)}
}

// runOnce starts the provider once (plugin.go, ExecPlugin). The error is a
// *ProviderError if the kubelet would fail as well.
func (r *ProviderRunner) runOnce(ctx context.Context, c ProviderCall, in tokenInput) (response, error) {
	k, p := c.Kubelet, c.Provider
	request, err := json.Marshal(credentialproviderv1.CredentialProviderRequest{
		TypeMeta: metav1.TypeMeta{Kind: "CredentialProviderRequest", APIVersion: p.APIVersion},
		Image:    c.Repository,

		ServiceAccountToken:       in.token,
		ServiceAccountAnnotations: in.annotations,
	})
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	began := time.Now()
	program := path.Join(c.Config.BinDir, p.Name)
	cmd := exec.CommandContext(ctx, program, p.Args...)
	cmd.Dir = k.WorkDir
	cmd.Env = append([]string{}, host.Env(k.Environ).Unique()...) // never nil: that would be this process's own environment
	for _, v := range p.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	out := &boundedBuffer{limit: maxResponseBytes}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(append(request, '\n')), out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: k.Root}
	// The whole process group is killed, and a process that keeps the output open
	// does not block Wait.
	killAll := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = killAll
	cmd.WaitDelay = 200 * time.Millisecond

	if err := cmd.Start(); err != nil {
		return response{}, startError(k, program, err)
	}
	err = cmd.Wait()
	_ = killAll() // the group exists as long as any process in it
	if out.full {
		return response{}, fmt.Errorf("its output exceeds the %d KiB that pullprobe reads", maxResponseBytes>>10)
	}
	if err != nil {
		return response{}, waitError(ctx, err, time.Since(began))
	}
	resp, failed := decodeResponse(out.buf.Bytes(), p.APIVersion, k.strict())
	if failed != nil {
		return response{}, failed
	}
	return resp, nil
}

// startError explains why a provider did not start. The error is a
// *ProviderError if the kubelet cannot start it either.
func startError(k Kubelet, program string, err error) error {
	info, statErr := k.Files.Stat(program)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return &ProviderError{Kind: "missing", Reason: program + " does not exist"}
	case errors.Is(err, fs.ErrNotExist):
		return &ProviderError{Kind: "notExecutable", Reason: program + " cannot be started: its interpreter or loader does not exist"}
	case errors.Is(err, syscall.EACCES) && statErr == nil && !onlyRootExecutes(info), errors.Is(err, syscall.ENOEXEC):
		return &ProviderError{Kind: "notExecutable", Reason: program + " is not executable on this node"}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("pullprobe could not start it: %w", errno)
	}
	return errors.New("pullprobe could not start it")
}

// onlyRootExecutes reports whether root could execute a file that this process
// cannot execute, because it lacks a capability.
func onlyRootExecutes(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&0o111 != 0 && info.Mode()&0o001 == 0 && int(st.Uid) != syscall.Geteuid()
}

// waitError explains why a provider that was started did not succeed. The error
// is a *ProviderError if the kubelet fails as well.
func waitError(ctx context.Context, err error, took time.Duration) error {
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return errors.New("canceled, because its result is no longer needed")
	case ctx.Err() != nil:
		return &ProviderError{
			Kind:   "timeout",
			Reason: fmt.Sprintf("no response within %.1f s (the kubelet waits %.0f s)", took.Seconds(), kubeletProviderTimeout.Seconds()),
		}
	case errors.Is(err, exec.ErrWaitDelay):
		return &ProviderError{Kind: "hangs", Reason: "it exited, but a child process keeps its output open, so the kubelet waits forever"}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitError(exit)
	}
	return errors.New("its output could not be read")
}

// exitError describes the exit status or the signal of a provider.
func exitError(exit *exec.ExitError) *ProviderError {
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return &ProviderError{Kind: "signal", Reason: fmt.Sprintf("it was terminated by signal %q", s.Signal())}
	}
	code := exit.ExitCode()
	return &ProviderError{Kind: "exit", ExitCode: code, Reason: "it exited with status " + strconv.Itoa(code)}
}

// boundedBuffer is a buffer that accepts at most limit bytes.
type boundedBuffer struct {
	buf   bytes.Buffer // not embedded: its ReadFrom has no limit
	limit int
	full  bool
}

var errFull = errors.New("output too long")

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		b.full = true
		return 0, errFull
	}
	return b.buf.Write(p)
}
