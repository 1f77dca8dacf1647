package examine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// ProvidersTimeout limits the kubelet's credential providers. The kubelet gives
// them a minute.
const ProvidersTimeout = 2 * time.Second

// credentialResolver resolves the credentials of one examination as the kubelet does.
type credentialResolver struct {
	runtime   *cri.Client // nil: the runtime's endpoint is unknown
	kubelet   *kubeletFinder
	providers *credentials.ProviderRunner // nil: they are not run
	tokens    bool                        // providers that take a ServiceAccount's token get one
	after     time.Time                   // failures of providers before this do not count
	minor     int                         // of the kubelet; 0: not known
}

// Credentials resolves the credentials for a repository (host/path without tag)
// as the kubelet does.
func (e *Examiner) Credentials(ctx context.Context, repository string, s Subject) credentials.Resolution {
	r := credentialResolver{runtime: e.Node.Runtime, kubelet: &e.Node.kubelet, after: s.After}
	if e.Node.KubeletMinor != nil {
		r.minor = e.Node.KubeletMinor()
	}
	if policy := e.Node.policy(); policy.CredentialProviders {
		r.providers, r.tokens = e.Providers, policy.ProviderTokens
	}
	return r.resolve(ctx, repository, s)
}

// resolve reads all sources of credentials, side by side, and resolves them.
func (r credentialResolver) resolve(ctx context.Context, repository string, s Subject) credentials.Resolution {
	src := credentials.Sources{Now: time.Now()}
	var wg sync.WaitGroup
	wg.Go(func() {
		reading, stop := context.WithTimeout(ctx, SecretsTimeout)
		defer stop()
		src.Secrets = s.Secrets(reading)
		if s.Account != nil && !credentials.Sufficient(repository, src.Secrets) {
			src.Account = s.Account(reading)
		}
	})
	wg.Go(func() { src.Node, src.Runtime = r.nodeSources(ctx, repository, s.Identity) })
	wg.Wait()
	return credentials.Resolve(repository, src)
}

// nodeSources returns the sources of the kubelet on this node, and the
// runtime's own credentials; nil if the runtime's endpoint is unknown.
func (r credentialResolver) nodeSources(
	ctx context.Context, repository string, pod *credentials.Identity,
) (*credentials.NodeSources, []credentials.Credential) {
	if r.runtime == nil {
		return nil, nil
	}
	runtime, err := r.runtime.Process()
	if err != nil {
		return &credentials.NodeSources{Problem: "the runtime's process is not visible: " + err.Error()}, nil
	}
	var own []credentials.Credential
	if root, err := runtime.Root(); err == nil {
		own = runtimeCredentials(runtime, root, r.runtime.Version(ctx))
		root.Close()
	}
	process, err := r.kubelet.find(runtime)
	if err != nil {
		return &credentials.NodeSources{Problem: err.Error()}, own
	}
	return r.kubeletCredentials(ctx, process, repository, pod), own
}

// kubeletCredentials reads the kubelet's sources and runs its providers.
func (r credentialResolver) kubeletCredentials(
	ctx context.Context, process *host.Process, repository string, pod *credentials.Identity,
) *credentials.NodeSources {
	root, err := process.Root()
	if err != nil {
		return &credentials.NodeSources{Problem: "the kubelet's root directory cannot be opened: " + err.Error()}
	}
	defer root.Close()
	kubelet, problem := kubeletSources(process, root)
	if problem != "" {
		return &credentials.NodeSources{Problem: problem}
	}
	kubelet.Minor = r.minor
	node := &credentials.NodeSources{File: kubelet.DockerConfig(), Providers: kubelet.ProviderConfig(), Minor: r.minor}
	if node.Providers.Problem == "" {
		node.Results = r.runProviders(ctx, credentials.ProviderCall{
			Kubelet: kubelet, Config: node.Providers, Repository: repository, After: r.after, Identity: pod,
		})
	}
	return node
}

// kubeletSources returns what of a kubelet's process decides about credentials, or
// why it cannot be read.
func kubeletSources(p *host.Process, root *host.Root) (k credentials.Kubelet, problem string) {
	var err error
	if k.Args, k.WorkDir, err = p.KubeletArgs(root); err != nil {
		return k, "the kubelet's flags cannot be read: " + err.Error()
	}
	if k.Environ, err = p.Environ(); err != nil {
		return k, "the kubelet's environment cannot be read: " + err.Error()
	}
	if k.Started, err = p.StartTime(); err != nil {
		return k, err.Error()
	}
	if k.Root, err = root.Path("/"); err != nil {
		return k, err.Error()
	}
	k.Started = k.Started.Truncate(time.Second) // it comes from the uptime: every call must return the same
	k.Files = root
	return k, ""
}

// runProviders runs all providers that match, side by side, if that is switched
// on. The call is that of each of them, without its provider.
func (r credentialResolver) runProviders(ctx context.Context, call credentials.ProviderCall) []credentials.ProviderResult {
	matching := slices.DeleteFunc(slices.Clone(call.Config.Providers), func(p credentials.Provider) bool {
		return !p.Matches(call.Repository)
	})
	out := make([]credentials.ProviderResult, len(matching))
	var wg sync.WaitGroup
	for i, p := range matching {
		if p.RequiresAccount() && call.Identity != nil && call.Identity.Account == "" {
			out[i] = credentials.WithoutAccount(p)
			continue
		}
		out[i].Provider, out[i].Skipped = p.Name, r.whyNotRun(p, call.Identity)
		if out[i].Skipped == "" {
			wg.Go(func() {
				one := call
				one.Provider = p
				out[i] = r.providers.Run(ctx, one)
			})
		}
	}
	wg.Wait()
	return out
}

// whyNotRun returns why a provider is not run here, for a pod or for none; empty: it is
// run.
func (r credentialResolver) whyNotRun(p credentials.Provider, pod *credentials.Identity) string {
	const needs, notInstalled = "it needs a token of the pod's ServiceAccount", " of the manifests is not installed"
	takesToken := p.NeedsToken() && (pod == nil || pod.Account != "")
	switch {
	case takesToken && pod == nil:
		return needs + ", and this check is for no pod"
	case takesToken && r.providers == nil:
		return needs + ": the components credential-providers and credential-provider-tokens of the manifests are not installed"
	case r.providers == nil:
		return "the kubelet's providers are not run: the component credential-providers" + notInstalled
	case takesToken && !r.tokens:
		return needs + ": the component credential-provider-tokens" + notInstalled
	}
	return ""
}

// runtimeCredentials returns the credentials in the files that containerd was
// started with, if its version reads any there. A later file overrides an earlier one.
func runtimeCredentials(p *host.Process, root *host.Root, version string) []credentials.Credential {
	config, err := runtimeconfig.Read(p, root, version)
	if err != nil || len(config.Auths) == 0 {
		return nil
	}
	var out []credentials.Credential
	for _, file := range config.Files {
		text, err := root.ReadFile(file)
		if err != nil {
			continue
		}
		for _, c := range credentials.RuntimeCredentials(file, text) {
			out = slices.DeleteFunc(out, func(old credentials.Credential) bool { return old.Host == c.Host })
			out = append(out, c)
		}
	}
	return out
}

// withoutRejected returns the credentials that at least one of the hosts has not
// just rejected.
func withoutRejected(list []credentials.Credential, hosts []string, rejected *credentials.RejectionCache) []credentials.Credential {
	if rejected == nil || len(hosts) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(c credentials.Credential) bool {
		return !slices.ContainsFunc(hosts, func(host string) bool {
			_, known := rejected.Find(host, c.Username, c.Password)
			return !known
		})
	})
}
