package report

import (
	"cmp"

	"github.com/pullprobe/pullprobe/report/redact"
)

// This file holds what is said of each cause, whatever the evidence. The texts are
// templates: [Placeholders.Fill] fills their {names}.

// Meaning returns the template of what the cause means, in one clause.
func (c Cause) Meaning() string { return descriptions[c] }

// Fix returns the template of how to fix the cause if this one must act.
func (c Cause) Fix(who Fault) string { return cmp.Or(c.FixOnlyFor(who), fixes[c]) }

// FixOnlyFor returns the template of a fix that the cause has only if this one must
// act; empty if it has none.
func (c Cause) FixOnlyFor(who Fault) string {
	byFault := map[Fault]map[Cause]string{FaultNode: nodeFixes, FaultRegistry: registryFixes, FaultUndetermined: openFixes}
	return byFault[who][c]
}

// FixInWords returns the template to use if the command of the fix cannot be filled in, for
// example because the pod is not known; empty if the cause has no such template.
func (c Cause) FixInWords() string { return textFixes[c] }

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

// AskElsewhere asks for a request from another node. Its answer decides whether this
// node or the host is at fault.
const AskElsewhere = "from another node:\ncurl -v https://{host}/v2/\n" +
	"if it answers there (even 401), fix this node's network; if not, contact the operator of {host}"

// Parts of fixes. A command stands on a line of its own, so that it can be copied.
// What the reader must fill in for a login is in angle brackets: a shell refuses that before
// anything is changed.
const (
	createSecret = "kubectl -n {ns} create secret docker-registry "
	loginFlags   = " --docker-server={registry} --docker-username=<USER> --docker-password=" + redact.PasswordPlaceholder

	createPullSecret = "create a pull secret for {registry}, with your values for <USER> and " + redact.PasswordPlaceholder +
		":\n" + CreateNewSecret

	// CreateNewSecret is the template of the command that creates another pull secret.
	CreateNewSecret = createSecret + "{newSecret}" + loginFlags

	// CreateSecret is the template of the command that creates the pull secret of a pod.
	CreateSecret  = createSecret + "{secret}" + loginFlags
	replaceSecret = "kubectl -n {ns} delete secret {secret}\n" + CreateSecret

	// waitForLimit comes before what the owner of the workload can do.
	waitForLimit = "wait {resets}: the kubelet pulls again on its own, within 5 min. " +
		"If {registry} limits it again, waiting does not help: the node team adds a mirror to {hostsFile}, or the owner of the workload "

	// LogInAtLimit is the template of the fix of a rate limit for requests without a login.
	LogInAtLimit = waitForLimit + "logs in:\n1. " + createPullSecret + "\n2. {attach}"

	// seeArchitectures comes before what is to be published.
	seeArchitectures = "see whether the cluster has nodes of a platform that the image has:\n" +
		"kubectl get nodes -L kubernetes.io/arch\n" +
		"if so, keep the pod on them (nodeSelector kubernetes.io/arch); if not, "
)

// fixes says how to fix each cause where its default fault applies.
var fixes = map[Cause]string{
	Recovered:   "nothing to do: the kubelet retries within 5 min (delete the pod to retry now, if a controller owns it)",
	Unscheduled: "see why the scheduler finds no node:\nkubectl -n {ns} describe pod {pod}",

	InvalidReference:      "correct the image name in {where}",
	TagNotFound:           "push {registry}/{repository}:{tag}, or use an existing tag in {where}",
	RepositoryNotFound:    "correct the repository in the image name ({registry}/{repository} does not exist), or push it",
	AccessDeniedOrMissing: "check the name {registry}/{repository}; if it is right and private:\n1. " + createPullSecret + "\n2. {attach}",
	PlatformMismatch:      seeArchitectures + "publish {image} for this node's platform",
	NeverPullNotPresent:   "set imagePullPolicy: IfNotPresent in {where}, or load {image} onto the node",
	PresentNotAuthorized:  "give the pod an imagePullSecret with pull access to {image}",
	SignatureRejected:     "sign {image} as the node's image verifier requires, or use a signed image",
	PullSecretMissing: "1. see whether the namespace has it under another name, and if so, correct the name in {owner}:\n" +
		"kubectl -n {ns} get secrets\n" +
		"2. if not, create {secret}, with your values for <USER> and " + redact.PasswordPlaceholder +
		"; the kubelet pulls again within 5 min:\n" + CreateSecret,
	PullSecretMalformed: "1. keep what it has, it may have other registries:\nkubectl -n {ns} get secret {secret} -o yaml\n" +
		"2. create it again, with your values for <USER> and " + redact.PasswordPlaceholder + ":\n" + replaceSecret,
	PullSecretOtherRegistry: "1. " + createPullSecret + "\n2. {attach}",
	PullSecretNotAttached:   "list the secret in the pod's imagePullSecrets, or in those of ServiceAccount {sa}, and recreate the pod",
	CredentialsMissing:      "1. " + createPullSecret + "\n2. {attach}",
	CredentialsRejected: "put a valid user and password for {registry} into {source}; if it has no other registry, create it again, " +
		"with your values for <USER> and " + redact.PasswordPlaceholder + ":\n" + replaceSecret,
	CredentialsExpired: "renew the credentials for {registry} in {source}",
	AccessForbidden:    "grant pull access to {registry}/{repository} to the account in {source}",
	HostNotFound:       "correct the registry's name in {image}; if {host} is right, make it resolve on {node}",

	RuntimeUnavailable:       "on {node}:\nsystemctl status {unit}\njournalctl -u {unit}\nsystemctl restart {unit}",
	RuntimeConfigStale:       "on {node}, because {stale} changed after the runtime was started, {restart}",
	RuntimeConfigInvalid:     "on {node}: correct {hostsFile}",
	SandboxImageUnavailable:  "on {node}, make {sandbox} available, or set another one in containerd's configuration",
	CredentialProviderFailed: "on {node}, read why it fails:\n{kubeletLog}",
	ResolverUnreachable:      "on {node}: set a working nameserver in /etc/resolv.conf, or allow UDP/TCP 53 to the current one",
	ResolverFailed:           "contact who runs the resolver ({resolver}), or set another nameserver in /etc/resolv.conf on {node}",
	ResolverWrongAnswer:      "correct the DNS record for {host} on {resolver}, or use another resolver on {node}",
	NetworkUnreachable:       "on {node}, add the missing route, or remove the rule that rejects it:\nip route get {ip}",
	ConnectionReset:          "find what resets connections from {node} to {host}: firewall, proxy or load balancer",
	ProxyUnreachable:         "on {node}: correct HTTPS_PROXY of the runtime's service, or restore the proxy",
	ProxyDenied:              "allow {host} on the proxy, or add it to NO_PROXY of the runtime's service",
	TLSHandshakeFailed:       "find what answers on {host} instead of a TLS server:\nopenssl s_client -connect {hostport}",
	TLSIntercepted:           "exempt {host} from TLS inspection, or install the inspecting CA on {node}",
	CertificateUntrusted: "on {node}: add the CA {issuer} to {hostsFile} for {host} ({hostsCA}), or to the trust store" +
		", and then {restart}",
	CertificateNotYetValid: "check the clock of {node} and the certificate's start date",
	ClockSkewed:            "on {node}, set the clock: restart chronyd or systemd-timesyncd",
	PlainHTTPRegistry:      "serve {host} with TLS, or on {node} configure it as http://{hostport} in {hostsFile}",
	BlobHostUnreachable:    "allow {node} to reach {layers} (firewall, proxy, DNS)",
	MirrorFaulty:           "fix mirror {host}, or remove it from {hostsFile} on {node}",
	DiskFull: "on {node}, free space on {disk}, or enlarge it; remove images only if this node can pull them again:\n" +
		"du -xh --max-depth=2 {disk}",
	InodesExhausted: "on {node}, free inodes on {disk}, or enlarge it:\ndu -x --inodes --max-depth=2 {disk}",
	DiskReadOnly:    "on {node}, find why {disk} is read-only, repair it, and mount it again:\ndmesg",
	DiskIOError:     "on {node}, read the kernel's messages, and replace the disk under {disk}:\ndmesg",
	UnpackFailed: "on {node}, remove the image and pull it again:\ncrictl rmi {image}\n" +
		"if that fails too, check /etc/subuid (user namespaces), the snapshotter and the runtime's log",
	PullTimedOut:     "measure the throughput from {node} to {host}",
	PullQueueLimited: "wait for {behind}, or set serializeImagePulls: false in the kubelet's configuration",

	ConnectionRefused: AskElsewhere,
	ConnectionTimeout: AskElsewhere,

	RateLimited:             waitForLimit + "uses a login with a higher limit",
	RegistryUnavailable:     "contact the operator of {host}; the kubelet retries on its own",
	TokenServiceFailed:      "contact the operator of the token service of {host}",
	CertificateExpired:      "renew the certificate of {host}",
	CertificateNameMismatch: "serve a certificate for {host}, or use a name that the certificate has",
	CertificateInvalid:      "serve a complete, valid certificate chain on {host}",
	UnsupportedManifest:     "rebuild and push {image} as an OCI image",
	LayerCorrupt:            "push {image} again",
}

// textFixes replaces fixes whose command would lack a value: they say what to do, and what
// is missing.
var textFixes = map[Cause]string{
	Unscheduled: "see in kubectl describe pod why the scheduler finds no node",
	AccessDeniedOrMissing: "check the name {registry}/{repository}; if it is private, add a pull secret for {registry} " +
		"to the pod's namespace and list it in its imagePullSecrets",
	PullSecretMissing: "create the secret that the pod names, if it is meant for {registry}; " +
		"else add one that is, and list it in imagePullSecrets. " +
		"It may exist in another namespace:\nkubectl get secrets -A --field-selector type=kubernetes.io/dockerconfigjson",
	PullSecretMalformed:     "recreate the secret, with every registry that it has",
	PullSecretOtherRegistry: "add a pull secret for {registry} to the pod's namespace, and list it in imagePullSecrets",
	CredentialsMissing: "add a pull secret for {registry} to the pod's namespace, list it in the pod's imagePullSecrets, " +
		"and recreate the pod",
	CredentialsRejected: "put a valid user and password for {registry} into {source}",
	PlatformMismatch:    seeArchitectures + "publish the image for this node's platform",
}

// registryFixes replaces fixes where the fault is the registry's.
var registryFixes = map[Cause]string{
	BlobHostUnreachable: "contact the operator of {layers}, which serves the layers of {registry}: its certificate, its signature " +
		"or the service fails",
	CertificateUntrusted: "issue the certificate of {host} from a production authority, and have no node trust {issuer}",
	TagNotFound: "restore the manifest of {registry}/{repository}:{tag}: the registry lists the tag and does not find it " +
		"(garbage collection, replication)",
}

// openFixes replaces fixes where it is not known who must act.
var openFixes = map[Cause]string{
	TokenServiceFailed: "check from another network whether the token service of {host} answers: " +
		"if so, this node, its network or its proxy is at fault",
	BlobHostUnreachable: "from another node:\ncurl -v https://{layers}/\n" +
		"if it answers there, allow {node} to reach it (firewall, proxy, DNS)",
	NetworkUnreachable:      AskElsewhere,
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
