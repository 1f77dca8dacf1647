package report

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// placeholders are the names that summaries and fixes mention. Each has a
// stand-in, so that a line reads well when the check that would name it is
// missing.
type placeholders struct {
	image, registry, repository, tag string // of the reference
	host, address                    string // of the deciding check
	namespace, pod, container        string
	serviceAccount                   string
	secret                           string // the first secret that is missing, malformed or for another registry
	node, hostsDir, disk             string
	issuer                           string
	hostsFile                        string // hosts.toml of the registry
	layers                           string // the host that serves the layers
	resolver                         string // the one whose answer decided
	stale                            string // files that are newer than the runtime's process
	resets                           string // when a rate limit ends
	behind                           string // what a queued pull waits for
	sandbox                          string // the runtime's sandbox image
	source                           string // of the credential that decided
	owner                            string // what kubectl set image changes: the pod, or the controller that owns it
	where                            string // the container or image volume that has the image
	hostport                         string // the host with its port
	restart                          string // how to restart the runtime
	unit, runtime                    string // systemd's name of the runtime, and its own
	ip                               string // the address of the deciding check, without its port
	provider                         string // the credential provider that was not run, or that the node lacks
}

func (e *evidence) placeholders(v Verdict) placeholders {
	ref, pod, cred, disk := e.get(IDReference), e.get(IDPod), e.get(IDCredentials), e.get(IDDisk)
	var because Check
	if len(v.Because) > 0 {
		because = e.get(v.Because[0])
	}
	provider := cred.Evidence[KeyProviderNotRun]
	if provider != "" {
		provider = "credential provider " + provider
	}
	p := placeholders{
		provider:       cmp.Or(cred.Evidence[KeyProviderNotRun], cred.Evidence[KeyExpectedProvider], cred.Evidence[KeyPossibleProvider]),
		image:          cmp.Or(ref.Target, "the image"),
		registry:       cmp.Or(ref.Evidence[KeyDomain], "the registry"),
		repository:     cmp.Or(ref.Evidence[KeyPath], "the repository"),
		tag:            cmp.Or(ref.Evidence[KeyTag], ref.Evidence[KeyDigest], "the tag"),
		namespace:      cmp.Or(pod.Evidence[KeyNamespace], "NAMESPACE"),
		pod:            cmp.Or(pod.Evidence[KeyName], "POD"),
		container:      cmp.Or(pod.Evidence[KeyContainer], "CONTAINER"),
		serviceAccount: cmp.Or(pod.Evidence[KeyServiceAccount], "default"),
		secret:         cmp.Or(cred.Evidence[KeySecret], "SECRET"),
		node:           cmp.Or(pod.Evidence[KeyNode], "this node"),
		hostsDir:       e.configPath(),
		disk:           cmp.Or(disk.Evidence[KeyMount], "/var/lib/containerd"),
		issuer:         "that signed its certificate",
		layers:         cmp.Or(because.Evidence[KeyBlobHost], "the host that serves the layers"),
		stale:          cmp.Or(because.Evidence[KeyFiles], "its configuration"),
		behind:         cmp.Or(because.Evidence[KeyAhead], "the other pull"),
		sandbox:        cmp.Or(e.fact(IDRuntimeSandbox, KeyImage), "the sandbox image of its configuration"),
		resets:         "until the limit resets",
		source:         cmp.Or(because.Evidence[KeyUsedCredential], cred.Evidence[KeySource], provider, "the pull credentials"),
	}
	if issuer := because.Evidence[KeyIssuer]; issuer != "" {
		p.issuer = strconv.Quote(issuer) // anyone can write a certificate
	}
	p.host = e.hostOf(v, because, p.registry)
	if v.Cause == ProxyDenied { // the host that the proxy refuses may be the token service's, or the layers'
		p.host = cmp.Or(because.Evidence[KeyProxyFor], e.fact(because.BlockedBy, KeyProxyFor), p.host)
	}
	p.address = cmp.Or(because.Target, p.host)
	p.hostsFile = e.hostsFile(p)
	p.hostport = withPort(p.host)
	p.owner, p.where = e.owner(p)
	p.restart = "restart the runtime"
	for _, id := range []string{IDRuntimeConfig, IDRuntimeEnvironment, IDRuntimeCA} {
		if unit := e.fact(id, KeyUnit); unit != "" {
			p.restart, p.unit = "systemctl restart "+unit, unit
		}
	}
	p.runtime = cmp.Or(e.fact(IDRuntime, KeyName), "the runtime")
	p.unit = cmp.Or(p.unit, e.unitBySocket())
	p.ip = "the address of " + p.host
	if address, err := netip.ParseAddrPort(because.Target); err == nil {
		p.ip = address.Addr().String()
	}
	p.resolver = cmp.Or(e.fact(DNSID(p.host), KeyResolver), "the first resolver of /etc/resolv.conf")
	if after := because.Evidence[KeyRetryAfter]; strings.Contains(after, " ") { // a date
		p.resets = "until " + after
	} else if after != "" {
		p.resets = after + " s"
	}
	return p
}

// withPort returns the host with its port, which is 443 if it names none.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "443")
}

// unitBySocket returns the systemd unit that the runtime's socket belongs to.
func (e *evidence) unitBySocket() string {
	c := e.get(IDRuntime)
	for _, unit := range []string{"k3s", "rke2", "crio"} {
		if strings.Contains(c.Target+c.Summary, "/"+unit+"/") {
			return unit
		}
	}
	return cmp.Or(c.Evidence[KeyName], "containerd")
}

// configPath returns the directory of the runtime's hosts.toml files, as its
// process uses it; empty if that is not known, or if its configuration names none.
func (e *evidence) configPath() string {
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

// hostsFile returns the file that configures the image's registry: also for a
// mirror it is in the directory of the registry. k3s and RKE2 generate it.
func (e *evidence) hostsFile(p placeholders) string {
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

// owner returns what kubectl set image changes, and the place of the image in it.
func (e *evidence) owner(p placeholders) (owner, where string) {
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

// blanks are the stand-ins that no command may have: who reads it could not fill
// them in without knowing what is missing.
var blanks = []string{"{ns}", "{pod}", "{container}", "{secret}"}

// hasBlanks reports whether a template names what is not known.
func (p placeholders) hasBlanks(template string) bool {
	r := p.replacer()
	return slices.ContainsFunc(blanks, func(name string) bool {
		value := r.Replace(name)
		return strings.Contains(template, name) && strings.ToUpper(value) == value && strings.ToLower(value) != value
	})
}

// hostOf returns the host that the verdict is about: of the deciding check, or the
// one that it refers to.
func (e *evidence) hostOf(v Verdict, because Check, registry string) string {
	host := cmp.Or(because.Host, registry)
	if len(v.Because) > 1 && because.Evidence[KeyStep] == "blob" {
		host = cmp.Or(e.fact(v.Because[1], KeyBlobHost), host)
	}
	if because.Outcome == Fail && v.Cause.OnTheNetwork() {
		host = cmp.Or(because.Evidence[KeyRedirectedTo], host)
	}
	return host
}

// replacer fills the {names} of a template.
func (p placeholders) replacer() *strings.Replacer {
	return strings.NewReplacer(
		"{image}", p.image, "{registry}", p.registry, "{repository}", p.repository, "{tag}", p.tag,
		"{host}", p.host, "{address}", p.address,
		"{ns}", p.namespace, "{pod}", p.pod, "{container}", p.container, "{sa}", p.serviceAccount, "{secret}", p.secret,
		"{node}", p.node, "{hostsDir}", p.hostsDir, "{hostsFile}", p.hostsFile, "{disk}", p.disk, "{issuer}", p.issuer,
		"{layers}", p.layers, "{resolver}", p.resolver, "{stale}", p.stale, "{resets}", p.resets,
		"{behind}", p.behind, "{sandbox}", p.sandbox, "{source}", p.source,
		"{unit}", p.unit, "{runtime}", p.runtime, "{ip}", p.ip,
		"{owner}", p.owner, "{where}", p.where, "{hostport}", p.hostport, "{restart}", p.restart, "{provider}", p.provider,
	)
}

// fix returns the one line that fixes the cause.
func (e *evaluation) fix(v Verdict) string {
	p := e.placeholders(v)
	if v.Cause == Undetermined && len(v.WouldDecide) > 0 {
		question := v.WouldDecide[0]
		if strings.Contains(v.Summary, question) || strings.Contains(question, " by hand: ") { // a step that was not seen
			question = "crictl pull " + p.image + " on " + p.node
		}
		return "not known yet; to find out: " + question
	}
	template := cmp.Or(e.fixOfDetour(v), e.fixTemplate(v, p))
	if text := textFixes[v.Cause]; text != "" && p.hasBlanks(template) {
		template = text
	}
	return p.replacer().Replace(template)
}

func (e *evaluation) fixTemplate(v Verdict, p placeholders) string {
	if fix := e.fixOfLogin(v, p); fix != "" {
		return fix
	}
	if image, what := e.existingImage(v); image != "" && v.Fault == v.Cause.DefaultFault() {
		return "use the existing " + what + e.use(v, image) + ", or " + e.orElse(v)
	}
	for _, fix := range []string{e.fixOfQuestion(v), e.fixOfRefusal(v), e.fixOfSecret(v, p), e.fixOfLayers(v), e.fixOfAnswer(v, p)} {
		if fix != "" {
			return fix
		}
	}
	if i := slices.IndexFunc(v.WouldDecide, asksElsewhere); i >= 0 && v.Fault == FaultUndetermined {
		switch v.Cause {
		case BlobHostUnreachable, TokenServiceFailed, NetworkUnreachable, ConnectionRefused, ConnectionTimeout:
			return v.WouldDecide[i]
		}
	}
	if v.Fault == FaultNode && (v.Cause == ConnectionRefused || v.Cause == ConnectionTimeout) {
		return nodeFixes[v.Cause] + e.comparedWith(v)
	}
	return fixFor(v.Cause, v.Fault)
}

// asksElsewhere reports whether something to confirm is a request from another node.
func asksElsewhere(s string) bool { return strings.HasPrefix(s, "from another node: curl") }

// fixOfDetour returns the fix of what a host answered to which only a file of the node
// sends the pull, or to a login that such a file adds.
func (e *evaluation) fixOfDetour(v Verdict) string {
	f := e.findingOf(v)
	if !slices.ContainsFunc(v.Because, func(id string) bool { return answered(e.get(id)) }) {
		return ""
	}
	login, absent := v.Cause.AboutLogin(), v.Cause == TagNotFound || v.Cause == RepositoryNotFound
	inHosts := f.is(ManifestID(f.host), KeyLoginInHosts)
	switch {
	case inHosts && login:
		return "on {node}: correct the authorization header for {host} in {hostsFile}, or remove it: {runtime} sends that login"
	case inHosts && absent:
		return "check whether the login in {hostsFile} on {node} may see {repository} on {host}; if so, push {repository}:{tag} there"
	case !f.sentElsewhere(f.host):
		return ""
	case login:
		return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; " +
			"if so, the login for {registry} must be one that {host} accepts: the runtime sends it there"
	case absent:
		return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; if so, push {repository}:{tag} to {host}"
	}
	return "on {node}: check whether {hostsFile} should send pulls of {registry} to {host}; if so, contact the operator of {host}"
}

// fixOfQuestion returns what to find out where a rival leaves open who must act.
func (e *evaluation) fixOfQuestion(v Verdict) string {
	if e.openQuestion == "" || openFixes[v.Cause] != "" {
		return ""
	}
	return "find out first who must act: " + e.openQuestion
}

// fixOfRefusal returns the fix of a refusal for which the registry has a reason of
// its own.
func (e *evaluation) fixOfRefusal(v Verdict) string {
	reason := e.decided(v, KeyRefusedFor)
	if e.decided(v, KeyPolicy) == True {
		reason = "policy"
	}
	if v.Cause != AccessForbidden && v.Cause != AccessDeniedOrMissing {
		return ""
	}
	switch reason {
	case "", "none":
		return ""
	case "quota", "billing":
		return "ask the owner of the project on {host} to settle its " + reason + ": the registry refuses for that, not for the login"
	case "quarantine":
		return "wait until {host} has scanned {repository}:{tag}, or ask its operator why it is quarantined"
	case "country", "network":
		return "ask the operator of {host} to allow this " + reason + ", or pull through a mirror that it allows"
	}
	return "correct what the rule of {host} objects to in {repository}:{tag} (vulnerabilities, signature), " +
		"or ask its operator for an exception"
}

// fixOfSecret returns the fix of a pull secret, by what is known of it.
func (e *evaluation) fixOfSecret(v Verdict, p placeholders) string {
	secret := e.get(IDCredentials).Evidence
	several := strings.Contains(secret[KeyAbsent]+e.fact(IDPod, KeyPullSecrets), ",")
	switch {
	case v.Cause == PullSecretNotAttached && e.fact(IDCredentialsAccount, KeyWhy) == "later":
		return "recreate the pod: secret {secret} was added to ServiceAccount {sa} after the pod was created, and only new pods get it"
	case v.Cause == PullSecretNotAttached && e.fact(IDCredentialsAccount, KeyWhy) == "podListsOwn":
		return "add {secret} to the pod's own imagePullSecrets: a pod that lists some gets none of ServiceAccount {sa}"
	case v.Cause == PullSecretMalformed && strings.Contains(secret[KeySecret], "/"): // the path of a file
		return "recreate {secret}: docker login {registry}"
	case v.Cause == PullSecretMalformed && e.failed(IDCredentials) && secret[KeyFatal] == "" && e.kubelet.cause != PullSecretMalformed:
		// It may serve another purpose: to recreate it would take it away.
		return "give the pod a pull secret for {registry} of type kubernetes.io/dockerconfigjson: the kubelet ignores {secret}"
	case v.Cause == PullSecretMissing && several: // which of them is for this registry is not known
		return textFixes[v.Cause]
	case v.Cause != CredentialsRejected || v.Fault == FaultNode:
		return ""
	case azure(p.host):
		return "put a valid login for {registry} into {source}; if it is valid, grant its identity the role AcrPull: " +
			"Azure answers 401 in both cases"
	}
	name, ok := strings.CutPrefix(p.source, "secret ")
	if !ok || strings.Contains(name, ",") { // it has several registries, which a new one would lack
		return textFixes[v.Cause]
	}
	ns, name := cutNamespace(name)
	return strings.NewReplacer("{secret}", name, "{ns}", cmp.Or(ns, "{ns}")).Replace(fixes[v.Cause])
}

// cutNamespace splits NAMESPACE/NAME; the namespace may be missing.
func cutNamespace(s string) (ns, name string) {
	i := strings.LastIndex(s, "/")
	return s[:max(i, 0)], s[i+1:]
}

// fixOfLayers returns the fix of a host that serves layers, by what is wrong there.
func (e *evaluation) fixOfLayers(v Verdict) string {
	if v.Cause != BlobHostUnreachable || v.Fault == FaultRegistry {
		return ""
	}
	inner, status := Cause(e.decided(v, KeyInnerCause)), e.decided(v, KeyStatus)
	switch {
	case strings.HasPrefix(e.decided(v, KeyContentType), "text/html"):
		return "find what answers {node} with a web page instead of {layers}: log in to the portal, or exempt {layers} from the filter"
	case loopback(e.decided(v, KeyBlobHost)):
		return "contact the operator of {registry}: it sends this node to {layers} for layers, which is the node itself"
	case inner == AccessForbidden:
		return forbiddenLayers + "; if not, contact the operator of {registry}: {layers} answers " + cmp.Or(status, "403") + " to its links"
	case inner == HostNotFound:
		return "make {layers} resolve on {node}: {registry} keeps its layers there; if it resolves nowhere, contact the operator of {registry}"
	case inner == CertificateUntrusted && v.Fault == FaultNode:
		return "on {node}: add the CA that signed the certificate of {layers} to the trust store, and then {restart}"
	case inner.Stage() == StageDNS, inner.Stage() == StageTLS:
		return strings.ReplaceAll(fixFor(inner, v.Fault), "{host}", "{layers}")
	}
	return ""
}

// loopback reports whether a host is an address of the machine itself.
func loopback(host string) bool {
	address, err := netip.ParseAddrPort(withPort(host))
	return err == nil && address.Addr().IsLoopback()
}

// fixOfAnswer returns the fix of an answer, by what else is known of the host.
func (e *evaluation) fixOfAnswer(v Verdict, p placeholders) string {
	denied := v.Cause == AccessForbidden || v.Cause == AccessDeniedOrMissing
	hosts := e.hosts()
	switch {
	case v.Fault == FaultRegistry && strings.Contains(e.decided(v, KeyOtherMachines), " 200"):
		return "have the operator of {host} compare its machines: another one has {image} (address and answer: " +
			e.decided(v, KeyOtherMachines) + ")"
	case v.Cause == RuntimeUnavailable && e.fact(IDRuntime, KeyWhy) == "unimplemented":
		return "on {node}: enable the CRI plugin of the runtime (remove cri from disabled_plugins in its configuration), and restart the runtime"
	case v.Cause == MirrorFaulty && len(hosts) > 1 && e.get(ManifestID(hosts[len(hosts)-1])).Outcome != Pass:
		return "fix mirror {host}: " + hosts[len(hosts)-1] + " does not serve this node instead"
	case denied && e.decided(v, KeyRegistryStatus) == "403":
		return "find out why {host} answers 403 to every request from {node}: IP allow-list, firewall or filter"
	case v.Cause == AccessForbidden && azure(p.host) && strings.HasPrefix(p.source, "provider "):
		return "grant the identity that the kubelet of {node} uses the role AcrPull on {registry}: its login is good, and opens nothing"
	case v.Cause == AccessDeniedOrMissing && e.decided(v, KeyUsedCredential) != "":
		return "grant pull access to {registry}/{repository} to the account in {source}, or correct the name"
	case (v.Cause == TagNotFound || v.Cause == RepositoryNotFound) && v.Fault == FaultConfig && e.findingOf(v).mayBeHidden():
		return "look for {repository} ({tag}) on {host} with a login: it answers 404 without one, and asks for none; " +
			"if it is not there, correct the name or push it"
	case (v.Cause == TagNotFound || v.Cause == RepositoryNotFound) && v.Fault == FaultConfig && e.findingOf(v).mayBeCache():
		return cacheFix
	case v.Cause == LayerCorrupt && v.Fault == FaultRegistry && e.findingOf(v).mayBeCache():
		return "push {image} again; if {host} caches it from another registry, delete it from that cache instead"
	case v.Cause == TagNotFound && v.Fault == FaultConfig && e.fact(IDReference, KeyDigest) != "":
		return digestFix
	case v.Cause == CertificateUntrusted && v.Fault == FaultUndetermined && e.decided(v, KeyMissingIntermediate) != "":
		return intermediateQuestion + "; if not, its operator must add it"
	case v.Cause == TLSHandshakeFailed && strings.Contains(e.decided(v, KeyAlert), "certificate required"):
		return "{host} requires a client certificate: on {node}, name one for {host} in {hostsFile} (client = …)"
	case v.Cause == TLSHandshakeFailed && strings.Contains(e.decided(v, KeyAlert), "protocol version"):
		return "enable TLS 1.2 or newer on {host}: it rejects the versions that the runtime uses"
	case v.Cause == TLSHandshakeFailed && e.decided(v, KeyAlert) != "":
		return "find in the log of {host} why it rejects TLS with the alert in the message above: openssl s_client -connect {hostport}"
	case v.Cause == RuntimeUnavailable && e.decided(v, KeyWhy) == "unimplemented":
		return "on {node}: remove cri from disabled_plugins in the runtime's configuration, or upgrade the runtime; then restart it. " +
			"journalctl -u {unit} shows why the plugin did not load"
	case v.Cause == RuntimeConfigInvalid:
		return e.fixOfHostsFile(p)
	case v.Cause == PullTimedOut && strings.HasPrefix(e.get(BlobID(e.usedHost())).Target, "sha256:"):
		return "measure the download speed on {node}: curl -L -o /dev/null https://" + e.usedHost() +
			"/v2/{repository}/blobs/" + e.get(BlobID(e.usedHost())).Target
	case v.Cause == PlainHTTPRegistry && e.decided(v, KeyHTTPAnswer) == "other":
		return "find out what answers at {host} instead of a registry: a login portal, or another web server"
	case v.Cause == PlainHTTPRegistry && e.decided(v, KeyHTTPAnswer) == "":
		// Where a portal answers, the runtime would give it the login, in clear.
		return "serve {host} with TLS, or, once it is seen that a registry answers there in plain HTTP, configure that in {hostsFile} on {node}"
	case v.Cause == RegistryUnavailable && e.decided(v, KeyGetStatus) == "200":
		return "make what is in front of {host} answer HEAD as it answers GET: the runtime sends HEAD"
	case v.Cause == ResolverWrongAnswer && e.fact(DNSID(p.host), KeyFrom) == "hosts":
		return "correct the entry for {host} in /etc/hosts on {node}"
	}
	return ""
}

// fixOfHostsFile returns the fix of the registry's hosts.toml, or of a file that it
// names.
func (e *evidence) fixOfHostsFile(p placeholders) string {
	c := e.get(HostsID(p.registry))
	file, reason := c.Evidence[KeyFile], c.Evidence[KeyReason]
	switch {
	case strings.HasPrefix(reason, "config_path"):
		return "on {node}: name one directory in config_path of {runtime}'s configuration, the one above {hostsFile}; then {restart}"
	case file == "" || strings.HasSuffix(file, ".toml"):
		return ""
	case strings.Contains(reason, "ENOENT"):
		return "on {node}: create " + file + ", or remove it from {hostsFile}"
	}
	return "on {node}: correct " + file + ", or remove it from {hostsFile}"
}

// use returns how to use another image in the pod, where that is known.
func (e *evidence) use(v Verdict, image string) string {
	pod := e.get(IDPod).Evidence
	switch {
	case pod[KeyVolume] != "": // kubectl set image would change the image of the container
		return " as reference of {where}: " + image
	case e.placeholders(v).hasBlanks("{ns}{pod}{container}"):
		return ": " + image
	}
	return ": kubectl -n {ns} set image {owner} {container}=" + image + inControllerUnless(pod[KeyOwner])
}

func inControllerUnless(owner string) string {
	if owner != "" {
		return ""
	}
	return inController
}

// fixOfLogin returns the fix of a login that is missing or refused, where the fix of
// the cause does not apply: a password goes to no host that is not known to be a
// registry, and a node that gets its logins from a provider needs no secret.
func (e *evaluation) fixOfLogin(v Verdict, p placeholders) string {
	switch v.Cause {
	case CredentialsMissing, CredentialsRejected, AccessDeniedOrMissing, PullSecretMissing, PullSecretOtherRegistry:
	default:
		return ""
	}
	f := e.findingOf(v)
	switch {
	case len(e.hosts()) > 0 && (!f.isRegistry() || f.underWildcard()):
		return "find out first whether {host} is the intended registry, and give it no password before: " +
			"curl -i https://{hostport}/v2/ shows what answers there; any misspelt name may lead to it"
	case p.provider != "" && (v.Fault == FaultUndetermined || v.Fault == FaultNode && nodeFixes[v.Cause] == ""):
		return "repeat the request with the login of {provider}, which pods of {node} use instead of a pull secret; " +
			"then check the name {registry}/{repository}"
	}
	return ""
}

// comparedWith says which comparison shows that an unreachable host is this node's
// fault.
func (e *evidence) comparedWith(v Verdict) string {
	switch {
	case slices.Contains(v.Because, IDControl):
		return " (nothing else can be reached from here either)"
	case slices.Contains(v.Because, e.localImages().ID):
		return " (images from {registry} were pulled here before)"
	}
	return ""
}

// decided returns a fact of the first deciding check that has it.
func (e *evidence) decided(v Verdict, key string) string {
	for _, id := range v.Because {
		if s := e.fact(id, key); s != "" {
			return s
		}
	}
	return ""
}

// existingImage returns an image that may be meant and was seen to exist, and
// which part of its name differs; empty if there is none.
func (e *evidence) existingImage(v Verdict) (image, what string) {
	if v.Cause != TagNotFound && v.Cause != RepositoryNotFound && v.Cause != AccessDeniedOrMissing {
		return "", ""
	}
	for _, id := range v.Because {
		repository, tag := e.fact(id, KeySuggestRepository), e.fact(id, KeySuggestTag)
		switch {
		case repository != "":
			what = "repository"
		case tag != "":
			what = "tag"
		default:
			continue
		}
		p := e.placeholders(v)
		return p.registry + "/" + cmp.Or(repository, p.repository) + ":" + cmp.Or(tag, p.tag), what
	}
	return "", ""
}

// orElse returns what to do if the existing image is not the one that is meant.
func (e *evaluation) orElse(v Verdict) string {
	switch {
	case v.Cause == AccessDeniedOrMissing && e.get(IDPod).Evidence[KeyNamespace] == "":
		return textFixes[v.Cause]
	case v.Cause == AccessDeniedOrMissing:
		return fixFor(v.Cause, v.Fault)
	case e.findingOf(v).mayBeCache():
		return cacheFix
	case e.fact(IDReference, KeyDigest) != "":
		return digestFix
	}
	return "push {registry}/{repository}:{tag}"
}

// summary says what is wrong. A check that found the cause itself says it best. A
// message, or a check that found only a symptom, follows the cause's description.
func (e *evidence) summary(v Verdict) string {
	s := e.placeholders(v).replacer().Replace(descriptions[v.Cause])
	if len(v.Because) == 0 || v.Fault == FaultNone {
		return s
	}
	c := e.get(v.Because[0])
	switch sentence := c.sentence(); {
	case sentence == "":
	case v.Cause == PullTimedOut && e.fact(IDPull, KeyTimedOut) == True && e.fact(IDPull, KeySeconds) != "":
		seconds, _ := strconv.ParseFloat(e.fact(IDPull, KeySeconds), 64)
		s = "the pull did not finish within " + Duration(time.Duration(seconds*float64(time.Second)))
	case v.Cause == RegistryUnavailable && c.Evidence[KeyGetStatus] == "200":
		s = c.Host + " answers " + cmp.Or(c.Evidence[KeyStatus], "404") + " to HEAD and 200 to GET of the same manifest: " +
			"something in front of the registry does not pass HEAD on, and the runtime sends HEAD"
	case c.Outcome == Fail && c.Cause == v.Cause && c.ID != IDPod && c.ID != IDPull:
		s = sentence
	default:
		s += ": " + sentence
	}
	if c := e.get(IDControl); c.Outcome == Pass && v.Cause.BeforeTLS() {
		s += "; " + c.Summary
	}
	return s
}

// sentence returns the check's summary, with its host where that is not in it.
func (c Check) sentence() string {
	switch c.Kind {
	case KindDNS, KindDial, KindTLS, KindRegistry, KindManifest, KindBlob:
	default:
		return c.Summary
	}
	name := c.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if c.Summary == "" || strings.Contains(c.Summary, name) {
		return c.Summary
	}
	return c.Host + ": " + c.Summary
}

// descriptions says in one clause what each cause means.
var descriptions = map[Cause]string{
	Undetermined:    "the evidence does not show why the pull fails",
	Healthy:         "the image can be pulled on this node",
	Recovered:       "the pull works now; the kubelet is in back-off and retries on its own",
	NotAPullProblem: "this pod is not waiting for an image",
	Unscheduled:     "the pod is not scheduled to a node yet",

	InvalidReference:        "the image name is not valid",
	TagNotFound:             "the tag or digest does not exist in this repository",
	RepositoryNotFound:      "the repository does not exist in the registry",
	AccessDeniedOrMissing:   "access denied, or the repository does not exist: the registry does not say which",
	PlatformMismatch:        "the image does not exist for this node's platform",
	NeverPullNotPresent:     "the pull policy is Never and the image is not on the node",
	PresentNotAuthorized:    "the image is on the node, but this pod has no credentials for it",
	SignatureRejected:       "an image verifier on the node rejects the image",
	PullSecretMissing:       "a pull secret of the pod does not exist",
	PullSecretMalformed:     "a pull secret of the pod is not valid",
	PullSecretOtherRegistry: "none of the pod's pull secrets is for {registry}",
	PullSecretNotAttached:   "a pull secret for {registry} exists but is not attached to the pod",
	CredentialsMissing:      "{registry} requires credentials; the pod has none",
	CredentialsRejected:     "{registry} rejects the credentials",
	CredentialsExpired:      "the credentials have expired",
	AccessForbidden:         "these credentials have no pull access to the repository",
	HostNotFound:            "the registry's name does not resolve",

	RuntimeUnavailable:       "the container runtime does not answer",
	RuntimeConfigStale:       "the runtime runs with an older configuration than the one on disk",
	RuntimeConfigInvalid:     "the runtime's registry configuration is not valid",
	SandboxImageUnavailable:  "the runtime cannot get its sandbox (pause) image",
	CredentialProviderFailed: "the node's credential provider failed",
	ResolverUnreachable:      "the node's DNS resolver does not answer",
	ResolverFailed:           "the node's DNS resolver answers with an error",
	ResolverWrongAnswer:      "the node's DNS resolver returns a wrong address",
	ConnectionRefused:        "the registry's address refuses the connection",
	ConnectionTimeout:        "the registry's address does not answer",
	NetworkUnreachable:       "no route from the node to the registry",
	ConnectionReset:          "the connection to {host} is reset",
	ProxyUnreachable:         "the node's proxy is unreachable",
	ProxyDenied:              "the node's proxy denies access to the registry",
	TLSHandshakeFailed:       "the TLS handshake with the registry fails",
	TLSIntercepted:           "TLS between node and registry is intercepted: the certificate is not the registry's",
	CertificateUntrusted:     "the node does not trust the registry's certificate",
	CertificateNotYetValid:   "the registry's certificate is not valid yet",
	ClockSkewed:              "the node's clock is wrong",
	PlainHTTPRegistry:        "the registry serves plain HTTP where the runtime expects TLS",
	BlobHostUnreachable:      "the host that serves the layers is unreachable",
	MirrorFaulty:             "mirror {host} fails, and the runtime does not get the image from the registry instead",
	DiskFull:                 "the image file system is full",
	InodesExhausted:          "the image file system has no inodes left",
	DiskReadOnly:             "the image file system is read-only",
	DiskIOError:              "the image file system has I/O errors",
	UnpackFailed:             "the runtime cannot unpack the image",
	PullTimedOut:             "the pull did not finish in time",
	PullQueueLimited:         "the pull waits behind another one on this node",

	RateLimited:             "the registry is rate-limiting this node (429)",
	RegistryUnavailable:     "the registry answers with a server error",
	TokenServiceFailed:      "the registry's token service fails",
	CertificateExpired:      "the registry's certificate has expired",
	CertificateNameMismatch: "the registry's certificate is for another name",
	CertificateInvalid:      "the registry's certificate is not valid",
	UnsupportedManifest:     "the runtime does not support this kind of manifest",
	LayerCorrupt:            "the image's content does not match its digest",
}

// Parts of fixes and of questions.
const (
	elsewhere = "from another node: curl -v https://{host}/v2/ ; if it answers there, fix this node's network; " +
		"if not, contact the operator of {host}"
	intermediateQuestion = "check whether {host} sends the intermediate certificate of its issuer: " +
		"openssl s_client -showcerts -connect {hostport}"

	createSecret = "kubectl -n {ns} create secret docker-registry "
	loginFlags   = " --docker-server={registry} --docker-username=USER --docker-password=PASSWORD"
	inController = " (or in the controller that owns the pod)"

	// A cache of another registry accepts no push.
	cacheFix = "push {registry}/{repository}:{tag}; if {host} caches {repository} from another registry, " +
		"push it there, and check that {host} reaches that registry"

	// A digest is not pushed, it results from what is pushed.
	digestFix = "pin an existing digest of {registry}/{repository}, or push the image with digest {tag} again"
)

// fixes says how to fix each cause where its default fault applies.
var fixes = map[Cause]string{
	Recovered:   "nothing to do: the kubelet retries within 5 min (delete the pod to retry now, if a controller owns it)",
	Unscheduled: "kubectl -n {ns} describe pod {pod}   # shows why the scheduler finds no node",

	InvalidReference:   "correct the image name in {where}",
	TagNotFound:        "push {registry}/{repository}:{tag}, or use an existing tag in {where}",
	RepositoryNotFound: "correct the repository in the image name ({registry}/{repository} does not exist), or push it",
	AccessDeniedOrMissing: "check the name {registry}/{repository}; if it is private, add a pull secret: " +
		createSecret + "NAME" + loginFlags,
	PlatformMismatch:     "publish {image} for this node's platform, or keep the pod on other nodes with the nodeSelector kubernetes.io/arch",
	NeverPullNotPresent:  "set imagePullPolicy: IfNotPresent in {where}, or load {image} onto the node",
	PresentNotAuthorized: "give the pod an imagePullSecret with pull access to {image}",
	SignatureRejected:    "sign {image} as the node's image verifier requires, or use a signed image",
	PullSecretMissing: createSecret + "{secret}" + loginFlags +
		"   # it may exist in another namespace: kubectl get secrets -A --field-selector metadata.name={secret}",
	PullSecretMalformed: "recreate it with every registry that it has (the old one: kubectl -n {ns} get secret {secret} -o yaml): " +
		"kubectl -n {ns} delete secret {secret} && " + createSecret + "{secret}" + loginFlags,
	PullSecretOtherRegistry: "add a pull secret for {registry}: " + createSecret + "NAME" + loginFlags + ", and list it in imagePullSecrets",
	PullSecretNotAttached:   "list the secret in the pod's imagePullSecrets, or in those of ServiceAccount {sa}, and recreate the pod",
	CredentialsMissing: "add a pull secret: " + createSecret + "NAME" + loginFlags +
		", list it in the pod's imagePullSecrets (or ServiceAccount {sa}), and recreate the pod",
	CredentialsRejected: "put a valid user and password for {registry} into {source}; " +
		"only if it has no other registry (this replaces the secret): " + createSecret + "{secret}" + loginFlags +
		" --dry-run=client -o yaml | kubectl apply -f -",
	CredentialsExpired: "renew the credentials for {registry} in {source}",
	AccessForbidden:    "grant pull access to {registry}/{repository} to the account in {source}",
	HostNotFound:       "correct the registry's name in {image}; if {host} is right, make it resolve on {node}",

	RuntimeUnavailable:       "on {node}: systemctl status {unit}; journalctl -u {unit}; then systemctl restart {unit}",
	RuntimeConfigStale:       "on {node}: {restart}   # {stale} changed after it was started",
	RuntimeConfigInvalid:     "on {node}: correct {hostsFile}",
	SandboxImageUnavailable:  "on {node}: make {sandbox} available (crictl pull {sandbox}), or set another one in containerd's configuration",
	CredentialProviderFailed: "on {node}: journalctl -u kubelet | grep -i credential",
	ResolverUnreachable:      "on {node}: set a working nameserver in /etc/resolv.conf, or allow UDP/TCP 53 to the current one",
	ResolverFailed:           "on {node}: fix the nameserver in /etc/resolv.conf, or use another",
	ResolverWrongAnswer:      "correct the DNS record for {host} on {resolver}, or use another resolver on {node}",
	NetworkUnreachable:       "on {node}: ip route get {ip}; add the missing route, or remove the rule that rejects it",
	ConnectionReset:          "find what resets connections from {node} to {host}: firewall, proxy or load balancer",
	ProxyUnreachable:         "on {node}: correct HTTPS_PROXY of the runtime's service, or restore the proxy",
	ProxyDenied:              "allow {host} on the proxy, or add it to NO_PROXY of the runtime's service",
	TLSHandshakeFailed:       "find what answers on {host} instead of a TLS server: openssl s_client -connect {hostport}",
	TLSIntercepted:           "exempt {host} from TLS inspection, or install the inspecting CA on {node}",
	CertificateUntrusted:     "on {node}: add the CA {issuer} to {hostsFile} for {host} (ca = …), or to the trust store, and then {restart}",
	CertificateNotYetValid:   "check the clock of {node} and the certificate's start date",
	ClockSkewed:              "on {node}: set the clock (systemctl restart chronyd or systemd-timesyncd)",
	PlainHTTPRegistry:        "serve {host} with TLS, or on {node} configure it as http://{hostport} in {hostsFile}",
	BlobHostUnreachable:      "allow {node} to reach {layers} (firewall, proxy, DNS)",
	MirrorFaulty:             "fix mirror {host}, or remove it from {hostsFile} on {node}",
	DiskFull: "on {node}: free space on {disk} (du -xh --max-depth=2 {disk} shows what is large), or enlarge it; " +
		"remove images only if this node can pull them again",
	InodesExhausted: "on {node}: free inodes on {disk} (du -x --inodes --max-depth=2 {disk} shows where they are), or enlarge it",
	DiskReadOnly:    "on {node}: find why {disk} went read-only (dmesg), repair it, remount",
	DiskIOError:     "on {node}: dmesg; replace the disk under {disk}",
	UnpackFailed: "on {node}: remove the image and pull it again (crictl rmi {image}); if that fails too, " +
		"check /etc/subuid (user namespaces), the snapshotter and the runtime's log",
	PullTimedOut:     "measure the throughput from {node} to {host}",
	PullQueueLimited: "wait for {behind}, or set serializeImagePulls: false in the kubelet's configuration",

	ConnectionRefused: elsewhere,
	ConnectionTimeout: elsewhere,

	RateLimited:             "wait {resets}; lasting: add a pull secret for {registry}, or a mirror in {hostsFile}",
	RegistryUnavailable:     "contact the operator of {host}; the kubelet retries on its own",
	TokenServiceFailed:      "contact the operator of the token service of {host}",
	CertificateExpired:      "renew the certificate of {host}",
	CertificateNameMismatch: "serve a certificate for {host}, or use a name that the certificate has",
	CertificateInvalid:      "serve a complete, valid certificate chain on {host}",
	UnsupportedManifest:     "rebuild and push {image} as an OCI image",
	LayerCorrupt:            "push {image} again",
}

// textFixes replaces fixes where a command would have blanks: they say what to do,
// and what is missing.
var textFixes = map[Cause]string{
	Unscheduled: "kubectl describe pod shows why the scheduler finds no node",
	AccessDeniedOrMissing: "check the name {registry}/{repository}; if it is private, add a pull secret for {registry} " +
		"to the pod's namespace and list it in its imagePullSecrets",
	PullSecretMissing: "create the secret that the pod names, if it is meant for {registry}; " +
		"else add one that is, and list it in imagePullSecrets. " +
		"It may exist in another namespace: kubectl get secrets -A | grep dockerconfigjson",
	PullSecretMalformed:     "recreate the secret, with every registry that it has",
	PullSecretOtherRegistry: "add a pull secret for {registry} to the pod's namespace, and list it in imagePullSecrets",
	CredentialsMissing: "add a pull secret for {registry} to the pod's namespace, list it in the pod's imagePullSecrets, " +
		"and recreate the pod",
	CredentialsRejected: "put a valid user and password for {registry} into {source}",
	PlatformMismatch:    "publish the image for this node's platform, or keep the pod on other nodes with the nodeSelector kubernetes.io/arch",
}

// registryFixes replaces fixes where the fault is the registry's.
var registryFixes = map[Cause]string{
	BlobHostUnreachable:  "have {layers}, which serves the layers of {registry}, repaired by its operator (certificate, signature or service)",
	CertificateUntrusted: "issue the certificate of {host} from a production authority, and have no node trust {issuer}",
	TagNotFound: "restore the manifest of {registry}/{repository}:{tag}: the registry lists the tag and does not find it " +
		"(garbage collection, replication)",
}

// openFixes replaces fixes where it is not known who must act.
var openFixes = map[Cause]string{
	TokenServiceFailed: "send the same request to the token service of {host} from another network: " +
		"if it answers there, this node, its network or its proxy is at fault",
	BlobHostUnreachable: "from another node: curl -v https://{layers}/ ; " +
		"if it answers there, allow {node} to reach it (firewall, proxy, DNS)",
	NetworkUnreachable:      elsewhere,
	CertificateUntrusted:    "correct the host in {image}, or give {host} a certificate of its own where it is served: this one is a default",
	CertificateNameMismatch: "correct the host in {image}, or give {host} a rule and a certificate of its own where it is served",
	ProxyDenied:             "find out on the proxy whether it refuses {host}, or cannot reach it",
	ResolverFailed:          "resolve another name with {resolver}; if that works, contact the owner of the domain of {host}",
	ResolverUnreachable:     "resolve another name with {resolver}; if that works, contact the owner of the domain of {host}",
	ResolverWrongAnswer:     "find out which address {host} should have",
}

// nodeFixes replaces fixes where the fault is the node's.
var nodeFixes = map[Cause]string{
	CertificateExpired:  "on {node}: replace the expired CA in the trust store, or in {hostsFile}, and then {restart}",
	HostNotFound:        "on {node}: make {host} resolve (/etc/resolv.conf, /etc/hosts)",
	ConnectionRefused:   "on {node}: check firewall and route to {address}",
	ConnectionTimeout:   "on {node}: check firewall, security group and route to {address}",
	CredentialsMissing:  "on {node}: fix the kubelet's credential provider for {registry}, or give the pod a pull secret",
	CredentialsRejected: "on {node}: put a valid user and password for {registry} into {source}",
	CredentialsExpired:  "on {node}: renew the credentials for {registry} in {source}",
	SignatureRejected: "on {node}: fix the image verifier (bin_dir of containerd's plugin io.containerd.image-verifier.v1.bindir): " +
		"it must approve every image and is failing",
	LayerCorrupt: "on {node}: {runtime} wrote 0 bytes of the layer: check the disk under {disk}, and any proxy for empty answers; " +
		"then pull again",
	AccessForbidden: "grant pull access to {registry}/{repository} to the account in {source} of {node}",
}

// Advice returns what a cause means and how to fix it, where only the registry's
// host and the image's name may be known. Empty ones get stand-ins.
func Advice(c Cause, who Fault, host, image string) (summary, fix string) {
	p := newEvidence(nil).placeholders(Verdict{})
	p.host, p.registry, p.address = cmp.Or(host, p.host), cmp.Or(host, p.registry), cmp.Or(host, p.address)
	p.image = cmp.Or(image, p.image)
	p.hostport, p.hostsFile, p.ip = withPort(p.host), "the registry's hosts.toml", "the address of "+p.host
	p.repository, p.tag = "REPOSITORY", "TAG"
	r := p.replacer()
	template := fixFor(c, who)
	if text := textFixes[c]; text != "" && p.hasBlanks(template) {
		template = text
	}
	return r.Replace(descriptions[c]), r.Replace(template)
}

// fixFor returns the template of how to fix a cause if this one must act.
func fixFor(c Cause, who Fault) string {
	byFault := map[Fault]map[Cause]string{FaultNode: nodeFixes, FaultRegistry: registryFixes, FaultUndetermined: openFixes}
	if fix := byFault[who][c]; fix != "" {
		return fix
	}
	return fixes[c]
}
