package report

import (
	"cmp"
	"strconv"
	"strings"
)

// facts are the names that summaries and fixes speak of; each has a stand-in
// so that a line reads well when the check that brings it is missing.
type facts struct {
	image, registry, repository, tag string // of the reference
	host, address                    string // of the deciding check
	namespace, pod, container, owner string
	secret                           string // the first secret that is missing, malformed or for another registry
	node, hostsDir, disk             string
	issuer                           string
	hostsFile                        string // hosts.toml of the registry
	layers                           string // the host that keeps the layers
	resolver                         string // the one whose answer decided
	stale                            string // files that are newer than the runtime
	resets                           string // when a rate limit ends
	behind                           string // what a queued pull waits for
	sandbox                          string // the runtime's sandbox image
	source                           string // of the credential that decided
}

func (d *evidence) facts(v Verdict) facts {
	ref, pod, cred, disk := d.get("reference"), d.get("pod"), d.get("credentials"), d.get("disk")
	var because Check
	if len(v.Because) > 0 {
		because = d.get(v.Because[0])
	}
	provider := cred.Evidence["providerNotRun"]
	if provider != "" {
		provider = "credential provider " + provider
	}
	f := facts{
		image:      cmp.Or(ref.Target, "IMAGE"),
		registry:   cmp.Or(ref.Evidence["domain"], "the registry"),
		repository: cmp.Or(ref.Evidence["path"], "the repository"),
		tag:        cmp.Or(ref.Evidence["tag"], ref.Evidence["digest"], "the tag"),
		namespace:  cmp.Or(pod.Evidence["namespace"], "NAMESPACE"),
		pod:        cmp.Or(pod.Evidence["name"], "POD"),
		container:  cmp.Or(pod.Evidence["container"], "CONTAINER"),
		owner:      cmp.Or(pod.Evidence["serviceAccount"], "default"),
		secret:     cmp.Or(cred.Evidence["secret"], "SECRET"),
		node:       cmp.Or(pod.Evidence["node"], "this node"),
		hostsDir:   "/etc/containerd/certs.d",
		disk:       cmp.Or(disk.Evidence["path"], "/var/lib/containerd"),
		issuer:     "its issuer",
		address:    because.Target,
		layers:     cmp.Or(because.Evidence["blobHost"], "the host that serves the layers"),
		stale:      cmp.Or(because.Evidence["files"], "its configuration"),
		behind:     cmp.Or(because.Evidence["ahead"], "the other pull"),
		sandbox:    cmp.Or(d.fact("runtime/sandbox", "image"), "the sandbox image of its configuration"),
		resets:     "the limit resets",
		source:     cmp.Or(because.Evidence["usedCredential"], cred.Evidence["source"], provider, "the credentials"),
	}
	if issuer := because.Evidence["issuer"]; issuer != "" {
		f.issuer = strconv.Quote(issuer) // anybody may write a certificate
	}
	f.host = cmp.Or(because.Host, f.registry)
	if len(v.Because) > 1 && because.Evidence["step"] == "blob" {
		f.host = cmp.Or(d.fact(v.Because[1], "blobHost"), f.host)
	}
	if to := because.Evidence["redirectedTo"]; because.Outcome == Fail && stage(v.Cause) >= stageDNS && stage(v.Cause) <= stageTLS {
		f.host = cmp.Or(to, f.host)
	}
	f.hostsFile = cmp.Or(d.fact("hosts/"+f.registry, "file"), f.hostsDir+"/"+f.registry+"/hosts.toml")
	f.resolver = cmp.Or(d.fact("dns/"+f.host, "resolver"), "the first resolver of /etc/resolv.conf")
	if d.fact("dns/"+f.host, "from") == "hosts" {
		f.resolver = "/etc/hosts"
	}
	if after := because.Evidence["retryAfter"]; after != "" {
		f.resets = after
		if !strings.Contains(after, " ") {
			f.resets += " s have passed"
		}
	}
	return f
}

// replacer fills the {names} of a template.
func (f facts) replacer() *strings.Replacer {
	return strings.NewReplacer(
		"{image}", f.image, "{registry}", f.registry, "{repository}", f.repository, "{tag}", f.tag,
		"{host}", f.host, "{address}", f.address, "{ns}", f.namespace, "{pod}", f.pod, "{container}", f.container,
		"{sa}", f.owner, "{secret}", f.secret, "{node}", f.node, "{hostsDir}", f.hostsDir, "{disk}", f.disk, "{issuer}", f.issuer,
		"{hostsFile}", f.hostsFile, "{layers}", f.layers, "{resolver}", f.resolver, "{stale}", f.stale, "{resets}", f.resets,
		"{behind}", f.behind, "{sandbox}", f.sandbox, "{source}", f.source,
	)
}

// fix is the one line that mends the cause.
func (d *evidence) fix(v Verdict) string {
	t := fixFor(v.Cause, v.Fault)
	switch {
	case (v.Cause == AccessForbidden || v.Cause == AccessDeniedOrMissing) && d.decided(v, "registryStatus") == "403":
		t = "find out why {host} answers 403 to everything that {node} asks: an allow-list of addresses, a firewall, a filter on the way"
	case v.Cause == AccessDeniedOrMissing && d.decided(v, "usedCredential") != "":
		t = "grant the account in {source} read access to {registry}/{repository}, or correct the name"
	case v.Cause == PullSecretNotAttached && d.fact("credentials/account", "why") == "later":
		t = "recreate the pod: ServiceAccount {sa} got the secret {secret} after the pod was made, and hands its secrets only to new pods"
	case v.Cause == PullSecretNotAttached && d.fact("credentials/account", "why") == "podListsOwn":
		t = "add {secret} to the pod's own imagePullSecrets: a pod that lists some gets none of ServiceAccount {sa}"
	case v.Cause == PullSecretMalformed && strings.Contains(d.fact("credentials", "secret"), "/"): // no name of a secret
		t = "write {secret} anew: docker login {registry}"
	case v.Cause == TagNotFound && d.fact("reference", "digest") != "":
		t = digestFix
	}
	return d.suggestion(v) + d.facts(v).replacer().Replace(t)
}

// decided is a fact of the first check that led to the verdict and has it.
func (d *evidence) decided(v Verdict, key string) string {
	for _, id := range v.Because {
		if s := d.fact(id, key); s != "" {
			return s
		}
	}
	return ""
}

// suggestion is the name that was perhaps meant, if it was seen to exist.
func (d *evidence) suggestion(v Verdict) string {
	if v.Cause != TagNotFound && v.Cause != RepositoryNotFound && v.Cause != AccessDeniedOrMissing {
		return ""
	}
	f := d.facts(v)
	for _, id := range v.Because {
		e := d.get(id).Evidence
		image := f.registry + "/" + cmp.Or(e["suggestRepository"], f.repository) + ":" + cmp.Or(e["suggestTag"], f.tag)
		if e["suggestTag"] != "" || e["suggestRepository"] != "" {
			return "if you meant " + image + ", which exists: " + f.replacer().Replace("kubectl -n {ns} set image pod/{pod} {container}="+image) + "; else "
		}
	}
	return ""
}

// digestFix is for a digest, which is not pushed but comes of what is pushed.
const digestFix = "{registry}/{repository} has nothing of the digest {tag} (any more): name one that it has, or push the image that has this digest again"

// summary says what is wrong, with the words of the check that decided it.
func (d *evidence) summary(v Verdict) string {
	s := d.facts(v).replacer().Replace(meanings[v.Cause])
	if len(v.Because) == 0 || v.Fault == FaultNone {
		return s
	}
	if c := d.get(v.Because[0]); c.Summary != "" {
		s += ": " + c.Summary
	}
	if c := d.get(controlID); c.Outcome == Pass && (stage(v.Cause) == stageDial || stage(v.Cause) == stageDNS) {
		s += "; " + c.Summary
	}
	return s
}

// meanings say in one clause what each cause comes to.
var meanings = map[Cause]string{
	Undetermined:    "the evidence does not say why the pull fails",
	Healthy:         "the image can be pulled on this node",
	Recovered:       "the pull works now; the kubelet is only backing off and retries by itself",
	NotAPullProblem: "no image is in this pod's way",
	Unscheduled:     "the pod has no node yet",

	InvalidReference:        "the image name is not valid",
	TagNotFound:             "the registry has no such tag or digest in this repository",
	RepositoryNotFound:      "the registry has no such repository",
	AccessDeniedOrMissing:   "the registry refuses access and does not tell whether the repository exists",
	PlatformMismatch:        "the image does not exist for this node's platform",
	NeverPullNotPresent:     "the pull policy is Never and the image is not on the node",
	PresentNotAuthorized:    "the image is on the node, but this pod has no credentials that may use it",
	SignatureRejected:       "an image verifier on the node refuses the image",
	PullSecretMissing:       "the pull secret that the pod names does not exist",
	PullSecretMalformed:     "a pull secret of the pod cannot be decoded, which fails every pull of this pod",
	PullSecretOtherRegistry: "no pull secret of the pod is for this registry",
	PullSecretNotAttached:   "a pull secret for this registry exists but is not attached to the pod",
	CredentialsMissing:      "the registry asks for credentials and the pod brings none",
	CredentialsRejected:     "the registry rejects the credentials",
	CredentialsExpired:      "the credentials have expired",
	AccessForbidden:         "the credentials may not read this repository",
	HostNotFound:            "the registry's name does not resolve",

	RuntimeUnavailable:       "the container runtime does not answer",
	RuntimeConfigStale:       "the runtime runs with an older configuration than the one on disk",
	RuntimeConfigInvalid:     "the runtime's registry configuration is not valid, and the runtime ignores it silently",
	SandboxImageUnavailable:  "the runtime cannot get its own sandbox (pause) image",
	CredentialProviderFailed: "the node's credential provider failed",
	ResolverUnreachable:      "the node's DNS resolver does not answer",
	ResolverFailed:           "the node's DNS resolver answers with an error",
	ResolverWrongAnswer:      "the node's DNS resolver gives a wrong address",
	ConnectionRefused:        "the registry's address refuses the connection",
	ConnectionTimeout:        "the registry's address does not answer",
	NetworkUnreachable:       "the node has no way to the registry's address",
	ConnectionReset:          "the connection to the registry is cut",
	ProxyUnreachable:         "the node's proxy cannot be reached",
	ProxyDenied:              "the node's proxy refuses the registry",
	TLSHandshakeFailed:       "the TLS handshake with the registry fails",
	TLSIntercepted:           "something between node and registry replaces the registry's certificate",
	CertificateUntrusted:     "the node does not trust the registry's certificate",
	CertificateNotYetValid:   "the registry's certificate is not valid yet",
	ClockSkewed:              "the node's clock is wrong",
	PlainHTTPRegistry:        "the registry speaks plain HTTP where the runtime expects TLS",
	BlobHostUnreachable:      "the host that serves the layers cannot be reached",
	MirrorFaulty:             "a registry mirror is faulty and keeps the runtime from the upstream",
	DiskFull:                 "the image file system is full",
	InodesExhausted:          "the image file system has no inodes left",
	DiskReadOnly:             "the image file system is read-only",
	DiskIOError:              "the image file system has I/O errors",
	UnpackFailed:             "the runtime cannot unpack the image",
	PullTimedOut:             "the pull did not finish in time",
	PullQueueLimited:         "the pull waits behind another one on this node",

	RateLimited:             "the registry limits the rate of pulls (429)",
	RegistryUnavailable:     "the registry answers with a server error",
	TokenServiceFailed:      "the registry's token service fails",
	CertificateExpired:      "the registry's certificate has expired",
	CertificateNameMismatch: "the registry's certificate is for another name",
	CertificateInvalid:      "the registry's certificate is not valid",
	UnsupportedManifest:     "the runtime does not support this kind of manifest",
	LayerCorrupt:            "the image's content does not match its digest",
}

// fixes say what mends each cause when its default fault holds.
var fixes = map[Cause]string{
	Recovered:   "nothing: the kubelet pulls again when its back-off ends (at most 5 min); to retry at once, delete the pod if a controller owns it",
	Unscheduled: "kubectl -n {ns} describe pod {pod}   # see why the scheduler finds no node",

	InvalidReference:        "correct the image name: kubectl -n {ns} set image pod/{pod} {container}=REGISTRY/REPOSITORY:TAG (or in the controller that owns the pod)",
	TagNotFound:             "push {registry}/{repository}:{tag}, or name a tag that exists: kubectl -n {ns} set image pod/{pod} {container}={registry}/{repository}:TAG (or in the controller that owns the pod)",
	RepositoryNotFound:      "correct the repository in the image name ({registry}/{repository} does not exist), or push it",
	AccessDeniedOrMissing:   "check the name {registry}/{repository}; if it is private, add a pull secret: kubectl -n {ns} create secret docker-registry NAME --docker-server={registry} --docker-username=USER --docker-password=PASSWORD",
	PlatformMismatch:        "publish {image} for this node's platform, or keep the pod on other nodes with a nodeSelector kubernetes.io/arch",
	NeverPullNotPresent:     "set imagePullPolicy: IfNotPresent on container {container}, or load {image} onto the node",
	PresentNotAuthorized:    "give the pod an imagePullSecret that may read {image}",
	SignatureRejected:       "sign {image} as the node's verifier demands, or use a signed one",
	PullSecretMissing:       "kubectl -n {ns} create secret docker-registry {secret} --docker-server={registry} --docker-username=USER --docker-password=PASSWORD   # where it exists already: kubectl get secrets -A --field-selector metadata.name={secret}",
	PullSecretMalformed:     "recreate it, with every registry that it has (the old one: kubectl -n {ns} get secret {secret} -o yaml): kubectl -n {ns} delete secret {secret} && kubectl -n {ns} create secret docker-registry {secret} --docker-server={registry} --docker-username=USER --docker-password=PASSWORD",
	PullSecretOtherRegistry: "add {registry} to the pull secret: kubectl -n {ns} create secret docker-registry NAME --docker-server={registry} --docker-username=USER --docker-password=PASSWORD, and list it in imagePullSecrets",
	PullSecretNotAttached:   "list the secret in the pod's imagePullSecrets, or in those of ServiceAccount {sa}, and recreate the pod",
	CredentialsMissing:      "kubectl -n {ns} create secret docker-registry NAME --docker-server={registry} --docker-username=USER --docker-password=PASSWORD, list it in the pod's imagePullSecrets (or ServiceAccount {sa}), recreate the pod",
	CredentialsRejected:     "put a valid user and password for {registry} into {source} of namespace {ns}; if it has no other registry, whose login this would remove: kubectl -n {ns} create secret docker-registry SECRET --docker-server={registry} --docker-username=USER --docker-password=PASSWORD --dry-run=client -o yaml | kubectl apply -f -",
	CredentialsExpired:      "renew the credentials for {registry} in {source} of namespace {ns}",
	AccessForbidden:         "grant the account in the pull secret read access to {registry}/{repository}",
	HostNotFound:            "correct the registry's name in {image}; if {host} is right, make it resolve on {node}",

	RuntimeUnavailable:       "on {node}: systemctl status containerd; journalctl -u containerd",
	RuntimeConfigStale:       "on {node}: systemctl restart containerd   # {stale} changed after it was started",
	RuntimeConfigInvalid:     "on {node}: correct {hostsFile}",
	SandboxImageUnavailable:  "on {node}: make {sandbox} available (crictl pull {sandbox}), or name another one in containerd's configuration",
	CredentialProviderFailed: "on {node}: journalctl -u kubelet | grep -i credential",
	ResolverUnreachable:      "on {node}: put a resolver that answers into /etc/resolv.conf, or let UDP and TCP port 53 through to the one that stands there",
	ResolverFailed:           "on {node}: mend the resolver named in /etc/resolv.conf, or put another one there",
	ResolverWrongAnswer:      "correct what {resolver} says of {host}, or let {node} ask another resolver",
	NetworkUnreachable:       "on {node}: ip route get the address of {host}; add the missing route or lift the rule that rejects it",
	ConnectionReset:          "find what cuts connections from {node} to {host}: firewall, proxy or load balancer",
	ProxyUnreachable:         "on {node}: correct HTTPS_PROXY of the containerd service, or bring the proxy back",
	ProxyDenied:              "allow {host} on the proxy, or add it to NO_PROXY of the containerd service",
	TLSHandshakeFailed:       "find what answers on {host} instead of a TLS server: openssl s_client -connect {host}:443",
	TLSIntercepted:           "exempt {host} from TLS inspection, or install the inspecting CA on {node}",
	CertificateUntrusted:     "on {node}: put the CA that issued it ({issuer}) into the trust store and restart containerd, or name it as ca = in {hostsDir}/{host}/hosts.toml",
	CertificateNotYetValid:   "check the clock of {node} and the certificate's start date",
	ClockSkewed:              "on {node}: set the clock (systemctl restart chronyd or systemd-timesyncd)",
	PlainHTTPRegistry:        "serve {host} with TLS, or on {node} name it as http://{host} in {hostsDir}/{host}/hosts.toml",
	BlobHostUnreachable:      "let {node} reach {layers} (firewall, proxy, DNS): the layers come from there",
	MirrorFaulty:             "mend the mirror {host}, or take it out of {hostsFile} on {node}",
	DiskFull:                 "on {node}: free space on {disk} (crictl rmi --prune), or enlarge it",
	InodesExhausted:          "on {node}: free inodes on {disk} (crictl rmi --prune)",
	DiskReadOnly:             "on {node}: find why {disk} went read-only (dmesg), repair it, remount",
	DiskIOError:              "on {node}: dmesg; replace the disk under {disk}",
	UnpackFailed:             "on {node}: mend what the message names; journalctl -u containerd has more",
	PullTimedOut:             "look at the throughput from {node} to {host}",
	PullQueueLimited:         "wait for {behind}, or set serializeImagePulls: false in the kubelet's configuration",

	ConnectionRefused: "find out whether {host} is up: ask the same from another node or a workstation",
	ConnectionTimeout: "find out whether {host} is up: ask the same from another node or a workstation",

	RateLimited:             "wait until {resets}, pull with an account, or go through a mirror",
	RegistryUnavailable:     "tell whoever runs {host}; the kubelet retries by itself",
	TokenServiceFailed:      "tell whoever runs the token service of {host}",
	CertificateExpired:      "renew the certificate of {host}",
	CertificateNameMismatch: "serve a certificate for {host} there, or use the name that the certificate has",
	CertificateInvalid:      "serve a complete, valid certificate chain on {host}",
	UnsupportedManifest:     "rebuild and push {image} as an OCI image",
	LayerCorrupt:            "push {image} again",
}

// nodeFixes replace them where the fault was found to lie with the node.
var nodeFixes = map[Cause]string{
	HostNotFound:        "on {node}: make its resolver know {host} (/etc/resolv.conf, /etc/hosts)",
	ConnectionRefused:   "on {node}: find what rejects connections to {address} (firewall, route); it was reachable from here before",
	ConnectionTimeout:   "on {node}: find what drops packets to {address} (firewall, security group, route); it was reachable from here before",
	CredentialsMissing:  "on {node}: mend the kubelet's credential provider for {registry}, or give the pod a pull secret",
	CredentialsRejected: "on {node}: put a valid user and password for {registry} into {source}",
	CredentialsExpired:  "on {node}: renew the credentials for {registry} in {source}",
	SignatureRejected:   "on {node}: mend the image verifier (bin_dir of containerd's plugin io.containerd.image-verifier.v1.bindir): it is to judge every image and fails",
	LayerCorrupt:        "on {node}: find why nothing of the layer was written: the disk under {disk}, a proxy that hands on empty answers; then pull again",
	AccessForbidden:     "grant the account in {source} of {node} read access to {registry}/{repository}",
}

// Advice says what a cause means and what mends it where only the registry's
// host and the image's name may be known; empty ones get stand-ins.
func Advice(c Cause, who Fault, host, image string) (summary, fix string) {
	f := newEvidence(nil).facts(Verdict{})
	f.host, f.registry = cmp.Or(host, f.host), cmp.Or(host, f.registry)
	f.image = cmp.Or(image, f.image)
	f.repository, f.tag = "REPOSITORY", "TAG"
	r := f.replacer()
	return r.Replace(meanings[c]), r.Replace(fixFor(c, who))
}

// fixFor is the template of what mends a cause if this one must act.
func fixFor(c Cause, who Fault) string {
	if who == FaultNode && nodeFixes[c] != "" {
		return nodeFixes[c]
	}
	return fixes[c]
}

// Explain says what a cause means and what mends it, with stand-ins like
// {registry} where a diagnosis would name the thing.
func Explain(c Cause) (meaning, fix string) { return meanings[c], fixes[c] }
