package classify

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Result is what an error message means.
type Result struct {
	// Cause is the most likely cause. It is report.Undetermined if the message names
	// none, or if it usually misleads.
	Cause report.Cause
	// Candidates are all causes that this message is known to have had, likeliest
	// first. Cause is the first unless it is Undetermined.
	Candidates []report.Cause
	// Proven reports that the message alone proves Cause: the image's name is
	// invalid, or the pull policy is Never. (Since Kubernetes 1.35 the kubelet
	// reports the latter also for an image that is present and that this pod may not
	// use: then Candidates has PresentNotAuthorized, too.)
	Proven bool

	// Step is the step that failed: "blob" for a manifest by digest, a configuration
	// or a layer, "unpack" for the unpacking of one, "empty" for a layer of which
	// nothing was written, "token" for the token service, "verify" for an image
	// verifier of the node that rejected the image, "verifier" for one that failed.
	// Empty: the manifest or a step before it, or unknown.
	Step string

	// Foreign reports that Host is not the image's registry, but a mirror of the
	// runtime's configuration or the target of a redirect.
	Foreign  bool
	Host     string // the host of the request or the lookup, with its port if the message has one
	Address  string // "ip:port" that was dialled
	Resolver string // "ip:port" of the DNS server

	// Clause is the part of the message that decided, as it may be published: one
	// line of at most 200 bytes, without the user and query parts of URLs.
	Clause string
}

const (
	// MaxClause limits Result.Clause, in bytes.
	MaxClause = 200

	maxMessageRead = 16 << 10 // bytes of a message that are read; the kubelet and etcd keep less
	maxClauses     = 64       // innermost clauses of an error that are read
	maxCandidates  = 8        // causes in Result.Candidates
	maxErrors      = 8        // errors of one aggregate that are read
)

// Message classifies the error message of a failed pull, as the kubelet, an event,
// the CRI, containerd, CRI-O or cri-dockerd print it. It accepts any input.
//
// Errors in Go are chains, "step: step: cause". The innermost clause that a rule
// matches names the fault, and the clauses to its left name the step (a time-out
// under "lookup" is the resolver's, whatever request the lookup was for). So the
// rules of rules.go are tried clause by clause from the right.
//
// An aggregate has one error for each credential that the kubelet tried, or for
// each mirror that CRI-O tried: the first one that a rule matches decides, the
// others add to Candidates.
func Message(message string) Result {
	var out Result
	for _, e := range splitErrors(normalize(message)) {
		r := classifyOne(e)
		if out.Candidates == nil && out.Clause == "" {
			out = r
			continue
		}
		out.Candidates = Merge(out.Candidates, r.Candidates)
	}
	if out.Cause == "" {
		out.Cause = report.Undetermined
	}
	return out
}

func classifyOne(text string) Result {
	if r, ok := classifyVerifier(text); ok {
		return r
	}
	clauses := strings.Split(text, ": ")
	clauses = clauses[max(0, len(clauses)-maxClauses):]
	s := contextOf(text)
	r := Result{
		Cause:    report.Undetermined,
		Step:     s.step(),
		Host:     s.host,
		Foreign:  s.mirror || s.redirected,
		Address:  s.address,
		Resolver: s.resolver,
	}

	masked := make([]string, len(clauses))
	foreign := len(clauses) // the first clause that a server wrote
	for i, c := range clauses {
		masked[i] = quotedName.ReplaceAllString(c, `$1 ""`)
		if foreign == len(clauses) && serverMessage.MatchString(c) {
			foreign = i + 1
		}
	}
	for _, table := range [][]rule{specificRules, genericRules} {
		for i := len(masked) - 1; i >= 0; i-- {
			for _, rule := range table {
				if i >= foreign && !rule.server || !rule.matches(masked[i]) {
					continue
				}
				could := s.adjust(rule.meaning(s, masked[i]))
				if could == nil {
					continue // the rule does not apply in this context
				}
				if could[0] != report.Undetermined {
					r.Cause = could[0]
				}
				r.Candidates = Merge(nil, could)
				r.Proven = rule.proven && !s.sandbox
				r.Clause = clauseText(clauses, i)
				if r.Cause == report.UnpackFailed {
					r.Clause = lastClauses(clauses, i)
				}
				return r
			}
		}
	}
	if s.starting || s.elsewhere {
		r.Cause, r.Candidates = report.NotAPullProblem, []report.Cause{report.NotAPullProblem}
	}
	return r
}

// serverMessage ends the clause after which containerd repeats what a server
// wrote (core/remotes/docker, core/remotes/errors).
var serverMessage = regexp.MustCompile(`(?i)\bserver message$`)

// classifyVerifier classifies containerd's message about an image verifier that
// rejected the image or failed (core/transfer/local/pull.go). The rest of the message
// is the verifier's own, and may name networks and registries of its own.
func classifyVerifier(text string) (Result, bool) {
	for _, v := range []struct{ blocks, because, step string }{
		{"blocked pull of ", " for reason: ", "verify"},
		{"blocking pull of ", " returned error: ", "verifier"},
	} {
		head, reason, ok := strings.Cut(text, v.because)
		if !ok || !strings.Contains(head, "image verifier ") || !strings.Contains(head, v.blocks) {
			continue
		}
		s := contextOf(head)
		could := s.adjust(causes{report.SignatureRejected})
		return Result{
			Cause:      could[0],
			Candidates: Merge(nil, could),
			Step:       v.step,
			Host:       s.host,
			Clause:     report.Clean(WithoutSecrets(reason), MaxClause),
		}, true
	}
	return Result{}, false
}

// lastClauses returns the end of the chain from clause i on, or as many of its last
// clauses as fit: which call failed, and on what.
func lastClauses(clauses []string, i int) string {
	text := func(from int) string { return WithoutSecrets(strings.Join(clauses[from:], ": ")) }
	for i < len(clauses)-1 && len(text(i)) > MaxClause {
		i++
	}
	return report.Clean(text(i), MaxClause)
}

// quotedName matches quoted images, references and URLs. They are masked before
// rules are tried, because names may contain anything ("denied", "503").
var quotedName = regexp.MustCompile(`(?i)\b(image|reference|ref|name|volume|container) "[^"]{0,512}"|https?://[^\s"]+|\S+/\S+[:@][^\s"]+`)

// clauseText returns the deciding clause together with its address or lookup, which
// may be one to three clauses to its left. A short clause ("not found") includes the
// clause to its left.
func clauseText(clauses []string, i int) string {
	from := i
	for j := i - 1; j >= 0 && j >= i-3; j-- {
		if operation.MatchString(clauses[j]) {
			from = j
		}
	}
	const short = 32
	if from == i && i > 0 && len(clauses[i]) < short && len(WithoutSecrets(clauses[i-1])) < MaxClause-short-len(": ") {
		from = i - 1
	}
	return report.Clean(WithoutSecrets(strings.Join(clauses[from:i+1], ": ")), MaxClause)
}

var operation = regexp.MustCompile(`(?i)^(dial|read|write|lookup|remote error|tls|x509|net/http|proxyconnect|http)\b`)

// splitErrors splits an aggregate into its errors. The kubelet joins the errors
// of several credentials as "[e1, e2]" (k8s.io/apimachinery, NewAggregate);
// containers/image writes "(Mirrors also failed: [M1: e1] [M2: e2]): origin: e".
func splitErrors(text string) []string {
	if head, rest, ok := strings.Cut(text, "(Mirrors also failed: ["); ok {
		mirrors, origin, ok := strings.Cut(rest, "]): ")
		if ok {
			return firstErrors(append(strings.Split(mirrors, "] ["), head+origin))
		}
	}
	if m := aggregateOpen.FindStringSubmatchIndex(text); m != nil {
		head, rest := text[:m[2]], strings.TrimSuffix(text[m[3]:], "]")
		var out []string
		for range maxErrors {
			next := aggregateBreak.FindStringIndex(rest)
			if next == nil {
				break
			}
			out = append(out, head+rest[:next[0]])
			rest = rest[next[0]+len(", "):]
		}
		return firstErrors(append(out, head+rest))
	}
	return []string{text}
}

// errorStart matches the beginning of an error of a pull by the CRI, containerd,
// containers/image or Docker.
const errorStart = `(?:rpc error: |failed to |[Ee]rror |unable to |initializing source |reading |pinging |copying |writing |` +
	`unexpected status |Get "|Head ")`

// aggregateOpen matches the bracket that opens an aggregate.
var aggregateOpen = regexp.MustCompile(`(?:^|[\s:])(\[)` + errorStart)

// aggregateBreak matches where the next error of an aggregate begins.
var aggregateBreak = regexp.MustCompile(`, ` + errorStart)

func firstErrors(list []string) []string { return list[:min(len(list), maxErrors)] }

// normalize returns the text as one line with single spaces, and removes the escapes
// of structured logs.
func normalize(text string) string {
	text = text[:min(len(text), maxMessageRead)]
	text = strings.ToValidUTF8(text, "")
	text = unescape.Replace(unescape.Replace(text)) // a log line may quote a quoted message
	text = statusCode.ReplaceAllString(text, "status code $1")
	text = statusBody.ReplaceAllString(text, "$1 - Server message: ")
	return strings.Join(strings.Fields(text), " ")
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n", `\t`, " ")

// statusCode matches a status as containers/image prints it.
var statusCode = regexp.MustCompile(`\bStatusCode: ([345]\d\d)\b`)

// statusBody matches a status that containerd reports, up to the response's body: that
// is on a line of its own, or follows where lines were joined, or follows the colon of
// older releases.
var statusBody = regexp.MustCompile(`(unexpected status(?: code| from \w+ request to)? \S+: [345]\d\d ` +
	`(?:[^\n:]*?\n|(?:` + reasonPhrases() + `)(?::? )(?:- Server message: )?))[ \n]*`)

// WithoutSecrets removes what may be secret from a text: the user part and the query
// values of URLs, and bearer or basic tokens.
func WithoutSecrets(text string) string {
	text = urlUser.ReplaceAllString(text, "$1")
	text = urlQuery.ReplaceAllString(text, "$1")
	return authToken.ReplaceAllString(text, "$1 [redacted]")
}

var (
	urlUser   = regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s"@]*@`)
	urlQuery  = regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://[^\s"?]*)\?[^\s":]*`)
	authToken = regexp.MustCompile(`(?i)\b(bearer|basic) [a-z0-9+/=._~-]{8,}`)
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
	urlIn      = regexp.MustCompile(`(?i)https?://(?:[^/\s"@]*@)?([^/\s"?#@]+)([^\s"?#]*)(\?[^\s"]*)?`)
	lookupIn   = regexp.MustCompile(`lookup ([^\s:]+)(?: on (\S+?:\d+))?:`)
	addressIn  = regexp.MustCompile(`(?:dial|read|write) tcp (?:\S+->)?(\S+:\d+):`)
	fromHostIn = regexp.MustCompile(`pulling from host (\S+) failed`)
	imageIn    = regexp.MustCompile(`(?:image|reference) "([^"\s/]+[.:][^"\s/]*|localhost)/`)
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
			"fetching blob", "short read: expected", "read past expected size",
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
	if m := imageIn.FindAllStringSubmatch(text, -1); m != nil && s.host == "" {
		s.host = m[len(m)-1][1]
	}
	s.host = report.Clean(s.host, 253+len(":65535"))
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

// Merge appends the causes of more that are new, without Undetermined.
func Merge(list, more []report.Cause) []report.Cause {
	for _, c := range more {
		if c != report.Undetermined && len(list) < maxCandidates && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}
