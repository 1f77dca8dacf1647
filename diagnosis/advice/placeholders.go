package advice

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Fill fills the {names} of a template by what is known of a verdict.
func Fill(e *facts.Evidence, v report.Verdict, template string) string {
	return placeholdersOf(e, v).Fill(template)
}

// placeholdersOf returns the placeholders of a verdict: the names that its evidence
// has, and stand-ins for the others.
func placeholdersOf(e *facts.Evidence, v report.Verdict) report.Placeholders {
	p := report.StandIns()
	var because report.Check
	if len(v.Because) > 0 {
		because = e.Get(v.Because[0])
	}
	fillFromSpecification(&p, e)
	fillFromDecidingCheck(&p, because)
	fillFromNode(&p, e)
	p.Source = cmp.Or(because.Evidence[report.KeyUsedCredential], p.Source)
	if l := layoutOf(e); l.credentials != "" && strings.HasPrefix(p.Source, "runtime ") {
		p.Source = l.credentials
	}
	p.Host = hostOf(e, v, because, p.Registry)
	if v.Cause == report.ProxyDenied { // the host that the proxy refuses may be the token service's, or the layers'
		p.Host = cmp.Or(because.Evidence[report.KeyProxyFor], e.Fact(because.BlockedBy, report.KeyProxyFor), p.Host)
	}
	p.HostsCA = strings.ReplaceAll(cmp.Or(layoutOf(e).ca, p.HostsCA), "{host}", p.Host)
	p.HostsClient = strings.ReplaceAll(cmp.Or(layoutOf(e).client, p.HostsClient), "{host}", p.Host)
	p.Address = cmp.Or(because.Target, p.Host)
	p.HostsFile = hostsFile(e, p)
	p.HostPort = report.WithPort(p.Host)
	if address, err := netip.ParseAddrPort(because.Target); err == nil {
		p.IP = address.Addr().String()
	} else if first, _, _ := strings.Cut(e.Fact(report.DNSID(p.Host), report.KeyAddresses), ","); first != "" {
		p.IP = first
	}
	p.Resolver = cmp.Or(e.Fact(report.DNSID(p.Host), report.KeyResolver), p.Resolver)
	return p
}

// fillFromSpecification sets what the image's name, the pod and its credentials
// show.
func fillFromSpecification(p *report.Placeholders, e *facts.Evidence) {
	ref, pod, cred := e.Get(report.IDReference), e.Get(report.IDPod).Evidence, e.Get(report.IDCredentials).Evidence
	p.Image = cmp.Or(ref.Target, p.Image)
	p.Registry = cmp.Or(ref.Evidence[report.KeyDomain], p.Registry)
	p.Repository = cmp.Or(ref.Evidence[report.KeyPath], p.Repository)
	p.Tag = cmp.Or(ref.Evidence[report.KeyTag], ref.Evidence[report.KeyDigest], p.Tag)
	p.Namespace = cmp.Or(pod[report.KeyNamespace], p.Namespace)
	p.Pod = cmp.Or(pod[report.KeyName], p.Pod)
	p.Container = cmp.Or(pod[report.KeyContainer], p.Container)
	p.ServiceAccount = cmp.Or(pod[report.KeyServiceAccount], p.ServiceAccount)
	p.Node = cmp.Or(pod[report.KeyNode], p.Node)
	p.Owner, p.Where = owner(e, *p)
	p.Attach = attach(e, *p)
	p.Secret = cmp.Or(cred[report.KeySecret], p.Secret)
	p.NewSecret = newSecret(p.Registry, p.Secret, pod[report.KeyPullSecrets], pod[report.KeySimilarSecret])
	p.Provider = cmp.Or(cred[report.KeyProviderNotRun], cred[report.KeyExpectedProvider], cred[report.KeyPossibleProvider])
	provider := cred[report.KeyProviderNotRun]
	if provider != "" {
		provider = "credential provider " + provider
	}
	p.Source = cmp.Or(cred[report.KeySource], provider, p.Source)
}

// newSecret returns a name for a pull secret of a registry, other than those in lists of
// names.
func newSecret(registry string, taken ...string) string {
	words := strings.FieldsFunc(strings.ToLower(registry), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	name := cmp.Or(strings.Join(words, "-"), "registry")
	for slices.Contains(strings.Split(strings.Join(taken, ","), ","), name) {
		name += "-2"
	}
	return name
}

// fillFromDecidingCheck sets what the check shows that decided.
func fillFromDecidingCheck(p *report.Placeholders, because report.Check) {
	p.Layers = cmp.Or(because.Evidence[report.KeyBlobHost], p.Layers)
	p.Stale = cmp.Or(because.Evidence[report.KeyFiles], p.Stale)
	p.Behind = cmp.Or(because.Evidence[report.KeyAhead], p.Behind)
	if issuer := because.Evidence[report.KeyIssuer]; issuer != "" {
		p.Issuer = strconv.Quote(issuer) // anyone can write a certificate
	}
	if after := because.Evidence[report.KeyRetryAfter]; strings.Contains(after, " ") { // a date
		p.Resets = "until " + after
	} else if seconds, err := strconv.Atoi(after); err == nil {
		p.Resets = readable.Duration(time.Duration(seconds) * time.Second)
	}
}

// fillFromNode sets what the checks of the runtime and of the disk show.
func fillFromNode(p *report.Placeholders, e *facts.Evidence) {
	p.HostsDir = configPath(e)
	p.Disk = cmp.Or(e.Fact(report.IDDisk, report.KeyMount), p.Disk)
	p.Sandbox = cmp.Or(e.Fact(report.IDRuntimeSandbox, report.KeyImage), p.Sandbox)
	p.Runtime = cmp.Or(e.Fact(report.IDRuntime, report.KeyName), p.Runtime)
	l := layoutOf(e)
	p.Unit = cmp.Or(l.unit, unitBySocket(e))
	p.KubeletLog = cmp.Or(l.kubeletLog, p.KubeletLog)
	p.Restart = cmp.Or(l.restart, p.Restart)
	for _, id := range []string{report.IDRuntimeConfig, report.IDRuntimeEnvironment, report.IDRuntimeCA} {
		if unit := e.Fact(id, report.KeyUnit); unit != "" {
			p.Restart, p.Unit = "restart the runtime:\nsystemctl restart "+unit, unit
		}
	}
}

// hostOf returns the host that the verdict is about: of the deciding check, or the
// one that it refers to.
func hostOf(e *facts.Evidence, v report.Verdict, because report.Check, registry string) string {
	host := cmp.Or(because.Host, registry)
	if len(v.Because) > 1 && because.Evidence[report.KeyStep] == "blob" {
		host = cmp.Or(e.Fact(v.Because[1], report.KeyBlobHost), host)
	}
	if because.Outcome == report.Fail && v.Cause.OnTheNetwork() {
		host = cmp.Or(because.Evidence[report.KeyRedirectedTo], host)
	}
	return host
}

// owner returns what kubectl set image changes, and the place of the image in it.
func owner(e *facts.Evidence, p report.Placeholders) (owner, where string) {
	pod := e.Get(report.IDPod).Evidence
	owner, where = cmp.Or(pod[report.KeyOwner], "pod/"+p.Pod), "the pod's manifest"
	of := " of pod " + p.Namespace + "/" + p.Pod
	if o := pod[report.KeyOwner]; o != "" {
		of = " of " + o + " in namespace " + p.Namespace
	}
	switch {
	case pod[report.KeyName] == "":
	case pod[report.KeyVolume] != "":
		where = "image volume " + pod[report.KeyVolume] + of
	case pod[report.KeyContainer] != "":
		where = "container " + p.Container + of
	}
	return owner, where
}

// attach returns how to have a pod use a secret that was created: by its template, if
// kubectl can merge into that.
func attach(e *facts.Evidence, p report.Placeholders) string {
	kind, name, _ := strings.Cut(e.Fact(report.IDPod, report.KeyOwner), "/")
	const list = `{"imagePullSecrets":[{"name":"{newSecret}"}]}`
	switch {
	case p.HasBlanks("{ns}{pod}"):
		return report.StandIns().Attach
	case slices.Contains(templated, kind):
		return "list it in {owner}:\n" + patchTemplate(e, kind, list)
	case name != "":
		return "list it in imagePullSecrets of {owner} (or of ServiceAccount {sa}), and create pod {pod} again"
	}
	return "list it in imagePullSecrets of pod {pod} (or of ServiceAccount {sa}), and create the pod again"
}

// patchTemplate returns the commands that merge a part into the specification of the pods of
// a controller, and have it make the pod again.
func patchTemplate(e *facts.Evidence, kind, part string) string {
	patch := `{"spec":{"template":{"spec":` + part + `}}}`
	if kind == "cronjob" {
		patch = `{"spec":{"jobTemplate":` + patch + `}}`
	}
	return "kubectl -n {ns} patch {owner} -p '" + patch + "'" + recreate(e, kind)
}

// hostsFile returns the file that configures the image's registry: also for a mirror
// it is in the directory of the registry. Some distributions generate it.
func hostsFile(e *facts.Evidence, p report.Placeholders) string {
	file := e.Fact(report.HostsID(p.Registry), report.KeyFile)
	if !strings.HasSuffix(file, ".toml") {
		file = ""
	}
	switch generated := layoutOf(e).registries; {
	case generated != "":
		return generated
	case strings.Contains(file, "/rancher/"):
		return "registries.yaml (k3s and RKE2 generate hosts.toml from it)"
	case e.RunsWithUnknown():
		return "the registry's hosts.toml (restart the runtime first: its configuration was changed after it started)"
	case file != "":
		return file
	case p.HostsDir != "":
		return p.HostsDir + "/" + p.Registry + "/hosts.toml"
	}
	return "the registry's hosts.toml (set config_path first)"
}

// configPath returns the directory of the runtime's hosts.toml files, as its
// process uses it; empty if that is not known, or if its configuration names none.
func configPath(e *facts.Evidence) string {
	if e.Fact(report.IDRuntimeConfig, report.KeyFilesSay) == "" {
		return ""
	}
	used := cmp.Or(e.Fact(report.IDRuntimeConfig, report.KeyRuns), e.Fact(report.IDRuntimeConfig, report.KeyFilesSay))
	for dir := range strings.SplitSeq(used, ":") {
		if strings.HasPrefix(dir, "/") {
			return dir
		}
	}
	return ""
}

// unitBySocket returns the systemd unit that the runtime's socket belongs to.
func unitBySocket(e *facts.Evidence) string {
	c := e.Get(report.IDRuntime)
	for _, unit := range []string{"k3s", "crio"} {
		if strings.Contains(c.Target+c.Summary, "/"+unit+"/") {
			return unit
		}
	}
	return cmp.Or(c.Evidence[report.KeyName], "containerd")
}
