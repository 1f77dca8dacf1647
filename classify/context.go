package classify

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// messageContext is what the rest of the message tells about the deciding clause: the
// step, and the host.
type messageContext struct {
	lookup      bool // a DNS lookup
	socket      bool // a call to the runtime over its socket
	otherSocket bool // a unix socket that is not the runtime's
	snapshot    bool // work on a snapshot
	provider    bool // the run of a credential provider
	service     bool // the kubelet called the CRI
	elsewhere   bool // work for the pod that is not about an image
	starting    bool // the image is present, its container is being created or started
	pulling     bool // the message is about a pull at all
	proxy       bool // the connection to the proxy
	token       bool // a request to the token service
	anonymous   bool // … without credentials
	bearer      bool // … in the message of CRI-O
	limited     bool // the message names a rate
	copying     bool // a request for a manifest by digest, a configuration or a layer
	redirected  bool // … to another host than the registry
	mirror      bool // to a mirror that hosts.toml names
	sandbox     bool // the pull of the sandbox image
	inspect     bool // the search for the image on the node
	extracting  bool // the unpacking of a layer
	empty       bool // the commit of a layer of which nothing was written
	config      bool // the reading of the image's configuration, which is present
	status      bool // a server responded with a status number
	unexpected  bool // … "unexpected status"
	old         bool // … in the message of containerd before 1.6.25

	url                     string // path of the last URL
	plain                   bool   // … which is of plain HTTP
	host, address, resolver string
}

var (
	urlIn       = regexp.MustCompile(`(?i)https?://(?:[^/\s"@]*@)?([^/\s"?#@]+)([^\s"?#]*)(\?[^\s"]*)?`)
	lookupIn    = regexp.MustCompile(`lookup ([^\s:]+)(?: on (\S+?:\d+))?:`)
	addressIn   = regexp.MustCompile(`(?:dial|read|write) tcp (?:\S+->)?(\S+:\d+):`)
	fromHostIn  = regexp.MustCompile(`pulling from host (\S+) failed`)
	imageHostIn = regexp.MustCompile(`(?:image|reference) "([^"\s/]+[.:][^"\s/]*|localhost)/`)
	// transportIn matches the name of a source in containers/image (CRI-O).
	transportIn = regexp.MustCompile(`docker://([^\s/]+[.:][^\s/]*|localhost)/`)
	// runtimeSocket matches the socket of a runtime, otherSocket any socket.
	runtimeSocket = regexp.MustCompile(`(?i)dial unix:?/{0,2}\s*\S*(?:/containerd\.sock|/crio\.sock|` +
		`/docker\.sock|/cri-dockerd\.sock|/dockershim\.sock)`)
	otherSocket = regexp.MustCompile(`(?i)dial unix:?/{0,2}\s*\S+`)
	// execMissing matches the error of Go's os/exec for a program that does not exist.
	execMissing = regexp.MustCompile(`(?i)^(?:\S+: )?exec: \S+: executable file not found`)
	// referenceMissing matches a reference that containerd did not find.
	referenceMissing = regexp.MustCompile(`\S+/\S+[:@]\S+: not found`)
	localName        = regexp.MustCompile(`(?i)^(localhost|[^.]+|.*\.(localhost|local|internal|lan|test|home))$`)
)

func contextOf(text string) messageContext {
	low := strings.ToLower(text)
	has := func(phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(low, p) })
	}
	s := messageContext{
		socket: runtimeSocket.MatchString(text) ||
			has("error reading from server", "transport is closing", "connect to the docker daemon"),
		otherSocket: otherSocket.MatchString(text) && !runtimeSocket.MatchString(text),
		snapshot:    has("snapshot"),
		provider:    has("credential provider"),
		service:     has("from image service", "from runtime service"),
		elsewhere: has(
			"setup network for sandbox", "networkplugin cni failed", "mountvolume.", "attachvolume.", "unable to attach or mount volumes",
			"liveness probe failed", "readiness probe failed", "startup probe failed", "unable to connect to the server",
			"failed to provision volume", "failedattachvolume",
		),
		starting: execMissing.MatchString(text) || has(
			"failed to create containerd container", "failed to create container", "failed to generate container",
			"failed to start container", "container create failed", "failed to reserve container name",
			"createcontainerconfigerror", "createcontainererror", "runcontainererror", "runasnonroot", "couldn't find key ",
			"preparing subpath", "prepare subpath", "cdi device", "apparmor",
		),
		pulling: referenceMissing.MatchString(text) || has(
			"pull", "resolve", "manifest", "docker://", "image", "copy", "fetch", "unpack", "layer", "response from daemon",
		),
		proxy: has("proxyconnect"),
		token: has(
			"failed to authorize", "fetch oauth token", "fetch anonymous token", "requesting bearer token",
			"unable to retrieve auth token",
		),
		anonymous: has("fetch anonymous token"),
		bearer:    has("requesting bearer token"),
		limited:   has("retry-after: ") && has("allowed: "),
		copying: has(
			"failed to copy", "httpreadseeker", "httpreaderseeker", "pulling image configuration", "reading blob",
			"fetching blob", "short read: expected", "failed to read expected number of bytes", "read past expected size",
		),
		sandbox: has("failed to get sandbox image") ||
			has("failedcreatepodsandbox", "failed to create pod sandbox", "creating pod sandbox", "runpodsandbox") &&
				has("failed to pull", "docker://", "resolve reference", "resolve image"),
		inspect:    has("failed to inspect image"),
		status:     statusNumber.MatchString(text),
		unexpected: has("unexpected status"),
		old:        has("status code [manifests"),
		config:     has("get image diffids", "get image info from containerd"),
		empty:      has("unexpected commit digest " + emptyDigest),
		extracting: has(
			"extract layer", "unpack image on snapshotter", "register layer", "applying layer", "apply layer",
			"adding layer with blob",
		),
	}
	s.addHost(text)
	return s
}

// addHost adds the host, the address and the resolver that the message names.
func (s *messageContext) addHost(text string) {
	if all := urlIn.FindAllStringSubmatch(text, -1); all != nil {
		last := all[len(all)-1]
		s.host, s.url = strings.TrimSuffix(last[1], ":"), last[2]
		s.plain = strings.HasPrefix(strings.ToLower(last[0]), "http:")
		s.mirror = strings.Contains(last[3], "ns=")
		s.redirected = s.copying && len(s.url) > 1 && !strings.HasPrefix(s.url, "/v2/") && !strings.HasPrefix(s.url, "/v1/")
	}
	if m := lookupIn.FindStringSubmatch(text); m != nil {
		s.lookup, s.host = true, m[1]
		s.resolver = addrPort(m[2])
	} else if m := addressIn.FindStringSubmatch(text); m != nil {
		s.address = addrPort(m[1])
	}
	if m := fromHostIn.FindStringSubmatch(text); m != nil && s.host == "" {
		s.host = m[1]
	}
	if m := transportIn.FindStringSubmatch(text); m != nil && s.host == "" {
		s.host = m[1]
	}
	if m := imageHostIn.FindAllStringSubmatch(text, -1); m != nil && s.host == "" {
		s.host = m[len(m)-1][1]
	}
	s.host = readable.Clean(s.host, 253+len(":65535"))
}

func addrPort(s string) string {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return ""
	}
	return ap.String()
}

// emptyDigest is the SHA-256 of zero bytes.
const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (s messageContext) step() string {
	switch {
	case s.empty:
		return "empty"
	case s.extracting:
		return "unpack"
	case s.copying:
		return "blob"
	case s.token:
		return "token"
	}
	return ""
}

// sinkhole reports whether a host with a public-looking name was dialled at a
// loopback or unspecified address: no registry is there.
func (s messageContext) sinkhole() bool {
	ap, err := netip.ParseAddrPort(s.address)
	if err != nil || !(ap.Addr().IsLoopback() || ap.Addr().IsUnspecified()) {
		return false
	}
	host, _, _ := strings.Cut(s.host, ":")
	_, err = netip.ParseAddr(host)
	return err != nil && host != "" && !localName.MatchString(host)
}

// adjust adds the causes that the step alone tells to those of the clause.
func (s messageContext) adjust(could []report.Cause) []report.Cause {
	if len(could) == 0 {
		return nil
	}
	if s.socket { // gRPC's client: the runtime did not respond
		return []report.Cause{report.RuntimeUnavailable}
	}
	if s.provider && could[0] != report.PullSecretMalformed {
		return Merge([]report.Cause{report.CredentialProviderFailed}, could)
	}
	if s.elsewhere || s.starting && !inImageStore(could[0]) { // networks, volumes and probes time out and are refused, too
		return []report.Cause{report.NotAPullProblem}
	}
	if slices.Contains([]report.Cause{report.InvalidReference, report.NotAPullProblem}, could[0]) && !s.sandbox {
		return could
	}
	switch {
	case s.sandbox: // the node's own image: whatever the cause, no pod can start
		return slices.Concat([]report.Cause{report.SandboxImageUnavailable, could[0], report.RuntimeUnavailable}, could[1:])
	case s.inspect: // no registry was contacted
		return slices.Concat([]report.Cause{report.RuntimeUnavailable}, could)
	}
	return could
}

// inImageStore reports whether a cause is in the runtime's image store on this node:
// the creation of a container reads that again.
func inImageStore(c report.Cause) bool {
	switch c {
	case report.UnpackFailed, report.LayerCorrupt, report.DiskFull, report.InodesExhausted, report.DiskReadOnly, report.DiskIOError,
		report.RuntimeUnavailable, report.PlatformMismatch, report.InvalidReference:
		return true
	}
	return false
}
