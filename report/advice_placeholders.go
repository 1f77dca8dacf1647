package report

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
)

// Fill fills the {names} of a template by what is known of a verdict.
func Fill(e *evidence, v Verdict, template string) string { return placeholdersOf(e, v).fill(template) }

// placeholdersOf returns the placeholders of a verdict: the names that its evidence
// has, and stand-ins for the others.
func placeholdersOf(e *evidence, v Verdict) placeholders {
	p := StandIns()
	var because Check
	if len(v.Because) > 0 {
		because = e.get(v.Because[0])
	}
	fillFromSpecification(&p, e)
	fillFromDecidingCheck(&p, because)
	fillFromNode(&p, e)
	p.source = cmp.Or(because.Evidence[KeyUsedCredential], p.source)
	p.host = hostOf(e, v, because, p.registry)
	if v.Cause == ProxyDenied { // the host that the proxy refuses may be the token service's, or the layers'
		p.host = cmp.Or(because.Evidence[KeyProxyFor], e.fact(because.BlockedBy, KeyProxyFor), p.host)
	}
	p.address = cmp.Or(because.Target, p.host)
	p.hostsFile = hostsFile(e, p)
	p.hostport = WithPort(p.host)
	p.ip = "the address of " + p.host
	if address, err := netip.ParseAddrPort(because.Target); err == nil {
		p.ip = address.Addr().String()
	}
	p.resolver = cmp.Or(e.fact(DNSID(p.host), KeyResolver), p.resolver)
	return p
}

// fillFromSpecification sets what the image's name, the pod and its credentials
// show.
func fillFromSpecification(p *placeholders, e *evidence) {
	ref, pod, cred := e.get(IDReference), e.get(IDPod).Evidence, e.get(IDCredentials).Evidence
	p.image = cmp.Or(ref.Target, p.image)
	p.registry = cmp.Or(ref.Evidence[KeyDomain], p.registry)
	p.repository = cmp.Or(ref.Evidence[KeyPath], p.repository)
	p.tag = cmp.Or(ref.Evidence[KeyTag], ref.Evidence[KeyDigest], p.tag)
	p.namespace = cmp.Or(pod[KeyNamespace], p.namespace)
	p.pod = cmp.Or(pod[KeyName], p.pod)
	p.container = cmp.Or(pod[KeyContainer], p.container)
	p.serviceAccount = cmp.Or(pod[KeyServiceAccount], p.serviceAccount)
	p.node = cmp.Or(pod[KeyNode], p.node)
	p.owner, p.where = owner(e, *p)
	p.secret = cmp.Or(cred[KeySecret], p.secret)
	p.provider = cmp.Or(cred[KeyProviderNotRun], cred[KeyExpectedProvider], cred[KeyPossibleProvider])
	provider := cred[KeyProviderNotRun]
	if provider != "" {
		provider = "credential provider " + provider
	}
	p.source = cmp.Or(cred[KeySource], provider, p.source)
}

// fillFromDecidingCheck sets what the check shows that decided.
func fillFromDecidingCheck(p *placeholders, because Check) {
	p.layers = cmp.Or(because.Evidence[KeyBlobHost], p.layers)
	p.stale = cmp.Or(because.Evidence[KeyFiles], p.stale)
	p.behind = cmp.Or(because.Evidence[KeyAhead], p.behind)
	if issuer := because.Evidence[KeyIssuer]; issuer != "" {
		p.issuer = strconv.Quote(issuer) // anyone can write a certificate
	}
	if after := because.Evidence[KeyRetryAfter]; strings.Contains(after, " ") { // a date
		p.resets = "until " + after
	} else if after != "" {
		p.resets = after + " s"
	}
}

// fillFromNode sets what the checks of the runtime and of the disk show.
func fillFromNode(p *placeholders, e *evidence) {
	p.hostsDir = configPath(e)
	p.disk = cmp.Or(e.fact(IDDisk, KeyMount), p.disk)
	p.sandbox = cmp.Or(e.fact(IDRuntimeSandbox, KeyImage), p.sandbox)
	p.runtime = cmp.Or(e.fact(IDRuntime, KeyName), p.runtime)
	p.unit = unitBySocket(e)
	for _, id := range []string{IDRuntimeConfig, IDRuntimeEnvironment, IDRuntimeCA} {
		if unit := e.fact(id, KeyUnit); unit != "" {
			p.restart, p.unit = "systemctl restart "+unit, unit
		}
	}
}

// hostOf returns the host that the verdict is about: of the deciding check, or the
// one that it refers to.
func hostOf(e *evidence, v Verdict, because Check, registry string) string {
	host := cmp.Or(because.Host, registry)
	if len(v.Because) > 1 && because.Evidence[KeyStep] == "blob" {
		host = cmp.Or(e.fact(v.Because[1], KeyBlobHost), host)
	}
	if because.Outcome == Fail && v.Cause.OnTheNetwork() {
		host = cmp.Or(because.Evidence[KeyRedirectedTo], host)
	}
	return host
}

// owner returns what kubectl set image changes, and the place of the image in it.
func owner(e *evidence, p placeholders) (owner, where string) {
	pod := e.get(IDPod).Evidence
	owner, where = cmp.Or(pod[KeyOwner], "pod/"+p.pod), "the pod's manifest"
	of := " of pod " + p.namespace + "/" + p.pod
	switch {
	case pod[KeyName] == "":
	case pod[KeyVolume] != "":
		where = "image volume " + pod[KeyVolume] + of
	case pod[KeyContainer] != "":
		where = "container " + p.container + of
	}
	return owner, where
}

// hostsFile returns the file that configures the image's registry: also for a
// mirror it is in the directory of the registry. k3s and RKE2 generate it.
func hostsFile(e *evidence, p placeholders) string {
	file := e.fact(HostsID(p.registry), KeyFile)
	if !strings.HasSuffix(file, ".toml") {
		file = ""
	}
	switch {
	case strings.Contains(file+p.hostsDir, "/rancher/"):
		return "registries.yaml (k3s and RKE2 generate hosts.toml from it)"
	case file != "":
		return file
	case p.hostsDir != "":
		return p.hostsDir + "/" + p.registry + "/hosts.toml"
	}
	return "the registry's hosts.toml (set config_path first)"
}

// configPath returns the directory of the runtime's hosts.toml files, as its
// process uses it; empty if that is not known, or if its configuration names none.
func configPath(e *evidence) string {
	if e.fact(IDRuntimeConfig, KeyFilesSay) == "" {
		return ""
	}
	for _, dir := range strings.Split(cmp.Or(e.fact(IDRuntimeConfig, KeyRuns), e.fact(IDRuntimeConfig, KeyFilesSay)), ":") {
		if strings.HasPrefix(dir, "/") {
			return dir
		}
	}
	return ""
}

// unitBySocket returns the systemd unit that the runtime's socket belongs to.
func unitBySocket(e *evidence) string {
	c := e.get(IDRuntime)
	for _, unit := range []string{"k3s", "rke2", "crio"} {
		if strings.Contains(c.Target+c.Summary, "/"+unit+"/") {
			return unit
		}
	}
	return cmp.Or(c.Evidence[KeyName], "containerd")
}
