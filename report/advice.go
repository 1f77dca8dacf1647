package report

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"
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
		image:          cmp.Or(ref.Target, "IMAGE"),
		registry:       cmp.Or(ref.Evidence[KeyDomain], "the registry"),
		repository:     cmp.Or(ref.Evidence[KeyPath], "the repository"),
		tag:            cmp.Or(ref.Evidence[KeyTag], ref.Evidence[KeyDigest], "the tag"),
		namespace:      cmp.Or(pod.Evidence[KeyNamespace], "NAMESPACE"),
		pod:            cmp.Or(pod.Evidence[KeyName], "POD"),
		container:      cmp.Or(pod.Evidence[KeyContainer], "CONTAINER"),
		serviceAccount: cmp.Or(pod.Evidence[KeyServiceAccount], "default"),
		secret:         cmp.Or(cred.Evidence[KeySecret], "SECRET"),
		node:           cmp.Or(pod.Evidence[KeyNode], "this node"),
		hostsDir:       "/etc/containerd/certs.d",
		disk:           cmp.Or(disk.Evidence[KeyMount], "/var/lib/containerd"),
		issuer:         "that issued it",
		layers:         cmp.Or(because.Evidence[KeyBlobHost], "the host that serves the layers"),
		stale:          cmp.Or(because.Evidence[KeyFiles], "its configuration"),
		behind:         cmp.Or(because.Evidence[KeyAhead], "the other pull"),
		sandbox:        cmp.Or(e.fact(IDRuntimeSandbox, KeyImage), "the sandbox image of its configuration"),
		resets:         "until the limit resets",
		source:         cmp.Or(because.Evidence[KeyUsedCredential], cred.Evidence[KeySource], provider, "the credentials"),
	}
	if issuer := because.Evidence[KeyIssuer]; issuer != "" {
		p.issuer = strconv.Quote(issuer) // anyone can write a certificate
	}
	p.host = e.hostOf(v, because, p.registry)
	p.address = cmp.Or(because.Target, p.host)
	p.hostsFile = cmp.Or(e.fact(HostsID(p.registry), KeyFile), p.hostsDir+"/"+p.registry+"/hosts.toml")
	p.resolver = cmp.Or(e.fact(DNSID(p.host), KeyResolver), "the first resolver of /etc/resolv.conf")
	if after := because.Evidence[KeyRetryAfter]; strings.Contains(after, " ") { // a date
		p.resets = "until " + after
	} else if after != "" {
		p.resets = after + " s"
	}
	return p
}

// hostOf returns the host that the verdict is about: of the deciding check, or the
// one that it refers to.
func (e *evidence) hostOf(v Verdict, because Check, registry string) string {
	host := cmp.Or(because.Host, registry)
	if len(v.Because) > 1 && because.Evidence[KeyStep] == "blob" {
		host = cmp.Or(e.fact(v.Because[1], KeyBlobHost), host)
	}
	if because.Outcome == Fail && onTheNetwork(v.Cause) {
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
	)
}

// fix returns the one line that fixes the cause.
func (e *evidence) fix(v Verdict) string {
	return e.placeholders(v).replacer().Replace(e.fixTemplate(v))
}

func (e *evidence) fixTemplate(v Verdict) string {
	if image, what := e.existingImage(v); image != "" {
		return "use the existing " + what + ": kubectl -n {ns} set image pod/{pod} {container}=" + image + inController + ", or " + e.orElse(v)
	}
	denied := v.Cause == AccessForbidden || v.Cause == AccessDeniedOrMissing
	switch {
	case denied && e.decided(v, KeyRegistryStatus) == "403":
		return "find out why {host} answers 403 to every request from {node}: IP allow-list, firewall or filter"
	case v.Cause == AccessDeniedOrMissing && e.decided(v, KeyUsedCredential) != "":
		return "grant the account in {source} pull access to {registry}/{repository}, or correct the name"
	case v.Cause == PullSecretNotAttached && e.fact(IDCredentialsAccount, KeyWhy) == "later":
		return "recreate the pod: secret {secret} was added to ServiceAccount {sa} after the pod was created, and only new pods get it"
	case v.Cause == PullSecretNotAttached && e.fact(IDCredentialsAccount, KeyWhy) == "podListsOwn":
		return "add {secret} to the pod's own imagePullSecrets: a pod that lists some gets none of ServiceAccount {sa}"
	case v.Cause == PullSecretMalformed && strings.Contains(e.fact(IDCredentials, KeySecret), "/"): // the path of a file
		return "recreate {secret}: docker login {registry}"
	case v.Cause == TagNotFound && e.fact(IDReference, KeyDigest) != "":
		return digestFix
	case v.Cause == ResolverWrongAnswer && e.fact(DNSID(e.placeholders(v).host), KeyFrom) == "hosts":
		return "correct the entry for {host} in /etc/hosts on {node}"
	case v.Fault == FaultNode && (v.Cause == ConnectionRefused || v.Cause == ConnectionTimeout):
		return nodeFixes[v.Cause] + e.comparedWith(v)
	}
	return fixFor(v.Cause, v.Fault)
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
func (e *evidence) orElse(v Verdict) string {
	switch {
	case v.Cause == AccessDeniedOrMissing:
		return fixFor(v.Cause, v.Fault)
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
	case c.Outcome == Fail && c.Cause == v.Cause && c.ID != IDPod && c.ID != IDPull:
		s = sentence
	default:
		s += ": " + sentence
	}
	if c := e.get(IDControl); c.Outcome == Pass && beforeTLS(v.Cause) {
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
	PullSecretMalformed:     "a pull secret of the pod is not valid, so every pull of this pod fails",
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
	ConnectionReset:          "the connection to the registry is reset",
	ProxyUnreachable:         "the node's proxy is unreachable",
	ProxyDenied:              "the node's proxy denies access to the registry",
	TLSHandshakeFailed:       "the TLS handshake with the registry fails",
	TLSIntercepted:           "TLS between node and registry is intercepted: the certificate is not the registry's",
	CertificateUntrusted:     "the node does not trust the registry's certificate",
	CertificateNotYetValid:   "the registry's certificate is not valid yet",
	ClockSkewed:              "the node's clock is wrong",
	PlainHTTPRegistry:        "the registry serves plain HTTP where the runtime expects TLS",
	BlobHostUnreachable:      "the host that serves the layers is unreachable",
	MirrorFaulty:             "a registry mirror is faulty and keeps the runtime from the upstream",
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

// Parts of fixes.
const (
	createSecret = "kubectl -n {ns} create secret docker-registry "
	loginFlags   = " --docker-server={registry} --docker-username=USER --docker-password=PASSWORD"
	inController = " (or in the controller that owns the pod)"

	// A digest is not pushed, it results from what is pushed.
	digestFix = "pin an existing digest of {registry}/{repository}, or push the image with digest {tag} again"
)

// fixes says how to fix each cause where its default fault applies.
var fixes = map[Cause]string{
	Recovered:   "nothing to do: the kubelet retries within 5 min (delete the pod to retry now, if a controller owns it)",
	Unscheduled: "kubectl -n {ns} describe pod {pod}   # shows why the scheduler finds no node",

	InvalidReference: "correct the image name: kubectl -n {ns} set image pod/{pod} {container}=REGISTRY/REPOSITORY:TAG" + inController,
	TagNotFound: "push {registry}/{repository}:{tag}, or use an existing tag: " +
		"kubectl -n {ns} set image pod/{pod} {container}={registry}/{repository}:TAG" + inController,
	RepositoryNotFound: "correct the repository in the image name ({registry}/{repository} does not exist), or push it",
	AccessDeniedOrMissing: "check the name {registry}/{repository}; if it is private, add a pull secret: " +
		createSecret + "NAME" + loginFlags,
	PlatformMismatch:     "publish {image} for this node's platform, or keep the pod on other nodes with the nodeSelector kubernetes.io/arch",
	NeverPullNotPresent:  "set imagePullPolicy: IfNotPresent on container {container}, or load {image} onto the node",
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
	CredentialsRejected: "put a valid user and password for {registry} into {source} of namespace {ns}; " +
		"only if it has no other registry (this replaces the secret): " + createSecret + "SECRET" + loginFlags +
		" --dry-run=client -o yaml | kubectl apply -f -",
	CredentialsExpired: "renew the credentials for {registry} in {source} of namespace {ns}",
	AccessForbidden:    "grant the account in the pull secret pull access to {registry}/{repository}",
	HostNotFound:       "correct the registry's name in {image}; if {host} is right, make it resolve on {node}",

	RuntimeUnavailable:       "on {node}: systemctl status containerd; journalctl -u containerd",
	RuntimeConfigStale:       "on {node}: systemctl restart containerd   # {stale} changed after it was started",
	RuntimeConfigInvalid:     "on {node}: correct {hostsFile}",
	SandboxImageUnavailable:  "on {node}: make {sandbox} available (crictl pull {sandbox}), or set another one in containerd's configuration",
	CredentialProviderFailed: "on {node}: journalctl -u kubelet | grep -i credential",
	ResolverUnreachable:      "on {node}: set a working nameserver in /etc/resolv.conf, or allow UDP/TCP 53 to the current one",
	ResolverFailed:           "on {node}: fix the nameserver in /etc/resolv.conf, or use another",
	ResolverWrongAnswer:      "correct the DNS record for {host} on {resolver}, or use another resolver on {node}",
	NetworkUnreachable:       "on {node}: ip route get the address of {host}; add the missing route, or remove the rule that rejects it",
	ConnectionReset:          "find what resets connections from {node} to {host}: firewall, proxy or load balancer",
	ProxyUnreachable:         "on {node}: correct HTTPS_PROXY of the containerd service, or restore the proxy",
	ProxyDenied:              "allow {host} on the proxy, or add it to NO_PROXY of the containerd service",
	TLSHandshakeFailed:       "find what answers on {host} instead of a TLS server: openssl s_client -connect {host}:443",
	TLSIntercepted:           "exempt {host} from TLS inspection, or install the inspecting CA on {node}",
	CertificateUntrusted: "on {node}: add the CA {issuer} to {hostsDir}/{host}/hosts.toml (ca = …), " +
		"or to the trust store and restart containerd",
	CertificateNotYetValid: "check the clock of {node} and the certificate's start date",
	ClockSkewed:            "on {node}: set the clock (systemctl restart chronyd or systemd-timesyncd)",
	PlainHTTPRegistry:      "serve {host} with TLS, or on {node} configure it as http://{host} in {hostsDir}/{host}/hosts.toml",
	BlobHostUnreachable:    "allow {node} to reach {layers} (firewall, proxy, DNS)",
	MirrorFaulty:           "fix mirror {host}, or remove it from {hostsFile} on {node}",
	DiskFull:               "on {node}: free space on {disk} (crictl rmi --prune), or enlarge it",
	InodesExhausted:        "on {node}: free inodes on {disk} (crictl rmi --prune)",
	DiskReadOnly:           "on {node}: find why {disk} went read-only (dmesg), repair it, remount",
	DiskIOError:            "on {node}: dmesg; replace the disk under {disk}",
	UnpackFailed:           "on {node}: fix the cause named above (journalctl -u containerd for details)",
	PullTimedOut:           "measure the throughput from {node} to {host}",
	PullQueueLimited:       "wait for {behind}, or set serializeImagePulls: false in the kubelet's configuration",

	ConnectionRefused: "check whether {host} is up from another node or your workstation",
	ConnectionTimeout: "check whether {host} is up from another node or your workstation",

	RateLimited:             "wait {resets}, log in, or use a mirror",
	RegistryUnavailable:     "contact the operator of {host}; the kubelet retries on its own",
	TokenServiceFailed:      "contact the operator of the token service of {host}",
	CertificateExpired:      "renew the certificate of {host}",
	CertificateNameMismatch: "serve a certificate for {host}, or use a name that the certificate has",
	CertificateInvalid:      "serve a complete, valid certificate chain on {host}",
	UnsupportedManifest:     "rebuild and push {image} as an OCI image",
	LayerCorrupt:            "push {image} again",
}

// nodeFixes replaces fixes where the fault is the node's.
var nodeFixes = map[Cause]string{
	HostNotFound:        "on {node}: make {host} resolve (/etc/resolv.conf, /etc/hosts)",
	ConnectionRefused:   "on {node}: check firewall and route to {address}",
	ConnectionTimeout:   "on {node}: check firewall, security group and route to {address}",
	CredentialsMissing:  "on {node}: fix the kubelet's credential provider for {registry}, or give the pod a pull secret",
	CredentialsRejected: "on {node}: put a valid user and password for {registry} into {source}",
	CredentialsExpired:  "on {node}: renew the credentials for {registry} in {source}",
	SignatureRejected: "on {node}: fix the image verifier (bin_dir of containerd's plugin io.containerd.image-verifier.v1.bindir): " +
		"it must approve every image and is failing",
	LayerCorrupt: "on {node}: find why nothing of the layer was written (the disk under {disk}, or a proxy that returns empty answers), " +
		"then pull again",
	AccessForbidden: "grant the account in {source} of {node} pull access to {registry}/{repository}",
}

// Advice returns what a cause means and how to fix it, where only the registry's
// host and the image's name may be known. Empty ones get stand-ins.
func Advice(c Cause, who Fault, host, image string) (summary, fix string) {
	p := newEvidence(nil).placeholders(Verdict{})
	p.host, p.registry, p.address = cmp.Or(host, p.host), cmp.Or(host, p.registry), cmp.Or(host, p.address)
	p.image = cmp.Or(image, p.image)
	p.repository, p.tag = "REPOSITORY", "TAG"
	r := p.replacer()
	return r.Replace(descriptions[c]), r.Replace(fixFor(c, who))
}

// fixFor returns the template of how to fix a cause if this one must act.
func fixFor(c Cause, who Fault) string {
	if who == FaultNode && nodeFixes[c] != "" {
		return nodeFixes[c]
	}
	return fixes[c]
}
