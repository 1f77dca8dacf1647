package examine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/host"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// providersIn is how long the kubelet's credential providers may take here; it
// gives them a minute itself.
const ProvidersTimeout = 2 * time.Second

// Credentials resolves, as the kubelet does, the credentials for a
// repository (host/path without tag).
func (e *Examiner) Credentials(ctx context.Context, repository string, s Subject) credentials.Walked {
	src := credentials.Sources{Now: time.Now()}
	var wg sync.WaitGroup
	wg.Go(func() {
		reading, stop := context.WithTimeout(ctx, SecretsTimeout)
		defer stop()
		src.Secrets = s.Secrets(reading)
		if s.Account != nil && !credentials.Covered(repository, src.Secrets) {
			src.Account = s.Account(reading)
		}
	})
	wg.Go(func() { src.Node, src.Runtime = e.nodeCredentials(ctx, repository) })
	wg.Wait()
	return credentials.Walk(repository, src)
}

// nodeCredentials are those that kubelet and runtime have of the node; nil if
// there is no runtime to look for them with.
func (e *Examiner) nodeCredentials(ctx context.Context, repository string) (*credentials.Node, []credentials.Credential) {
	if e.Runtime == nil {
		return nil, nil
	}
	runtime, err := e.Runtime.Process()
	if err != nil {
		return &credentials.Node{Unknown: "the runtime's process cannot be seen: " + err.Error()}, nil
	}
	var own []credentials.Credential
	if root, err := runtime.Root(); err == nil {
		own = runtimeCredentials(runtime, root)
		root.Close()
	}
	process, err := e.findKubelet(runtime)
	if err != nil {
		return &credentials.Node{Unknown: err.Error()}, own
	}
	root, err := process.Root()
	if err != nil {
		return &credentials.Node{Unknown: "the kubelet's root directory cannot be opened: " + err.Error()}, own
	}
	defer root.Close()
	kubelet, problem := seen(process, root)
	if problem != "" {
		return &credentials.Node{Unknown: problem}, own
	}
	node := &credentials.Node{File: kubelet.DockerConfig(), Providers: kubelet.ProviderConfig()}
	if node.Providers.Problem == "" {
		node.Answers = e.askProviders(ctx, kubelet, node.Providers, repository)
	}
	return node, own
}

// seen is what decides about credentials of a kubelet's process, or why it
// cannot be seen.
func seen(p *host.Process, root *host.Root) (k credentials.Kubelet, problem string) {
	if p.Name() == "kubelite" { // microk8s: it reads its flags from a file
		return k, "the kubelet is a part of kubelite, whose command line has none of its flags"
	}
	var err error
	if k.Args, err = p.Cmdline(); err != nil {
		return k, "the kubelet's command line cannot be read: " + err.Error()
	}
	if k.Environ, err = p.Environ(); err != nil {
		return k, "the kubelet's environment cannot be read: " + err.Error()
	}
	if k.Dir, err = p.Dir(); err != nil {
		return k, "the kubelet's working directory cannot be read: " + err.Error()
	}
	if k.Started, err = p.StartTime(); err != nil {
		return k, err.Error()
	}
	if k.Root, err = root.Path("/"); err != nil {
		return k, err.Error()
	}
	k.Started = k.Started.Truncate(time.Second) // it is reckoned from the uptime, and must not wobble
	k.Files = root
	return k, ""
}

// askProviders asks all providers that match, side by side, where that is
// switched on.
func (e *Examiner) askProviders(ctx context.Context, k credentials.Kubelet, c credentials.ProviderConfig, repository string) []credentials.Answer {
	asked := slices.DeleteFunc(slices.Clone(c.Providers), func(p credentials.Provider) bool { return !p.Matches(repository) })
	out := make([]credentials.Answer, len(asked))
	var wg sync.WaitGroup
	for i, p := range asked {
		out[i].Provider = p.Name
		switch {
		case p.NeedsToken():
			out[i].Skipped = "it works with a token of the pod's ServiceAccount, which only the kubelet gets"
		case e.Providers == nil || !e.policy().CredentialProviders:
			out[i].Skipped = "running the kubelet's providers is not switched on (component credential-providers of the manifests)"
		default:
			wg.Go(func() { out[i] = e.Providers.Ask(ctx, k, c, p, repository) })
		}
	}
	wg.Wait()
	return out
}

// runtimeCredentials are those of the files that containerd was started with; a
// later file overrides an earlier one.
func runtimeCredentials(p *host.Process, root *host.Root) []credentials.Credential {
	config, err := runtimeconfig.Read(p, root)
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

// worthTrying are the credentials for a test pull: those that some host of the
// registry has not just refused.
func (e *Examiner) worthTrying(list []credentials.Credential, hosts []string) []credentials.Credential {
	if e.Refusals == nil || len(hosts) == 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(c credentials.Credential) bool {
		return !slices.ContainsFunc(hosts, func(host string) bool {
			_, refused := e.Refusals.Refused(host, c.Username, c.Password)
			return !refused
		})
	})
}
