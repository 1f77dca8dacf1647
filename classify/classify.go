package classify

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Reading is what the words of an error message say.
type Result struct {
	// Cause is the best single reading. It is report.Undetermined where the
	// words do not say, or are known to mislead more often than not.
	Cause report.Cause
	// Could holds every cause that these words are known to have had,
	// likeliest first; Cause is the first unless it is Undetermined.
	Candidates []report.Cause
	// Proven says that the text alone proves Cause: the image's name is
	// invalid, or the pull policy is Never. (Since Kubernetes 1.35 the kubelet
	// says the latter also of an image that is present and that this pod may
	// not use: then Could has PresentNotAuthorized too.)
	Proven bool

	// Step is how far the runtime had come: "blob" while it fetched a manifest
	// by digest, a configuration or a layer, "unpack" while it unpacked one,
	// "empty" where nothing of a layer was written, "token" while it asked the
	// token service, "verify" where an image verifier of the node refused the
	// image, "verifier" where that gave no judgement; nothing: no further than the manifest, or not said.
	Step string

	// Foreign says that Host is not the image's registry: a mirror, which the
	// runtime's configuration names, or where a redirect leads.
	Foreign  bool
	Host     string // the host that was talked to or looked up, with its port if the text names one
	Address  string // "ip:port" that was dialled
	Resolver string // "ip:port" of the DNS server that was asked

	// Clause is what decided, fit to be published: at most 200 bytes, one
	// line, without the user and query parts of URLs.
	Clause string
}

const (
	maxMessageRead = 16 << 10 // bytes of a message that are looked at; the kubelet and etcd keep less
	MaxClause      = 200      // bytes of Reading.Clause
	maxClauses     = 64       // innermost clauses of an error that are looked at
	maxCandidates  = 8        // causes in Reading.Could
	maxErrors      = 8        // errors of one aggregate that are looked at
)

// Read reads the error message of a failed pull, as the kubelet, an event, the
// CRI, containerd, CRI-O or cri-dockerd print it. It takes any input and
// always answers.
//
// Errors in Go are chains, "step: step: cause": the innermost clause that
// means something names the fault, and the ones to its left say which step
// was under way (a time-out under "lookup" is the resolver's, whatever request
// the lookup was for). The table in words.go is asked clause by clause from
// the right.
//
// An aggregate holds one error for each credential that the kubelet tried, or
// for each mirror that CRI-O tried: the first that can be read decides, the
// others add to Could.
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
	r := Result{Cause: report.Undetermined, Step: s.step(), Host: s.host, Foreign: s.mirror || s.redirected, Address: s.address, Resolver: s.resolver}

	words := make([]string, len(clauses))
	foreign := len(clauses) // the first clause that a server wrote
	for i, c := range clauses {
		words[i] = quotedName.ReplaceAllString(c, `$1 ""`)
		if foreign == len(clauses) && serverMessage.MatchString(c) {
			foreign = i + 1
		}
	}
	for _, table := range [][]rule{specificRules, genericRules} {
		for i := len(words) - 1; i >= 0; i-- {
			for _, rule := range table {
				if i >= foreign && !rule.server || !rule.matches(words[i]) {
					continue
				}
				could := s.adjust(rule.meaning(s, words[i]))
				if could == nil {
					continue // not here
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

// readVerifier reads what containerd says where an image verifier stands in the
// way (core/transfer/local/pull.go). All that follows is what the verifier says,
// or why it said nothing, and may speak of networks and registries of its own.
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
		return Result{Cause: could[0], Candidates: Merge(nil, could), Step: v.step, Host: s.host, Clause: report.Clean(WithoutSecrets(reason), MaxClause)}, true
	}
	return Result{}, false
}

// ending is the end of the chain from clause i on, or as many of its last
// clauses as there is room for: which call failed, and on what.
func lastClauses(clauses []string, i int) string {
	text := func(from int) string { return WithoutSecrets(strings.Join(clauses[from:], ": ")) }
	for i < len(clauses)-1 && len(text(i)) > MaxClause {
		i++
	}
	return report.Clean(text(i), MaxClause)
}

// quiet blanks what is a name and no words: quoted images, references and
// URLs, which may contain anything ("denied", "503").
var quotedName = regexp.MustCompile(`(?i)\b(image|reference|ref|name|volume|container) "[^"]{0,512}"|https?://[^\s"]+|\S+/\S+[:@][^\s"]+`)

// clauseText is the deciding clause together with the address or lookup it is
// about, which may stand one or two clauses to its left; or, where it is only
// a word or two ("not found"), with whatever stands to its left.
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

// errorsIn splits an aggregate into its errors. The kubelet joins the errors
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

// errorStart is how an error of a pull begins: those of the CRI, containerd,
// containers/image and Docker.
const errorStart = `(?:rpc error: |failed to |[Ee]rror |unable to |initializing source |reading |pinging |copying |writing |unexpected status |Get "|Head ")`

// aggregateOpen is the bracket that opens an aggregate.
var aggregateOpen = regexp.MustCompile(`(?:^|[\s:])(\[)` + errorStart)

// aggregateBreak is where the next error of an aggregate begins.
var aggregateBreak = regexp.MustCompile(`, ` + errorStart)

func firstErrors(list []string) []string { return list[:min(len(list), maxErrors)] }

// fold makes one line of text: runs of space become one, and the quotes that
// structured logs escape are plain again.
func normalize(text string) string {
	text = text[:min(len(text), maxMessageRead)]
	text = strings.ToValidUTF8(text, "")
	text = unescape.Replace(unescape.Replace(text)) // a log line may quote a quoted message
	text = statusCode.ReplaceAllString(text, "status code $1")
	text = statusBody.ReplaceAllString(text, "$1 - Server message: ")
	return strings.Join(strings.Fields(text), " ")
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n", `\t`, " ")

// statusCode is how containers/image names a status.
var statusCode = regexp.MustCompile(`\bStatusCode: ([345]\d\d)\b`)

// statusBody is a status that containerd reports, with what it then repeats of
// the body: on a line of its own, or where a line was folded, or after the colon
// of older releases.
var statusBody = regexp.MustCompile(`(unexpected status(?: code| from \w+ request to)? \S+: [345]\d\d (?:[^\n:]*?\n|(?:` + reasonPhrases() + `)(?::? )(?:- Server message: )?))[ \n]*`)

// withoutSecrets takes out of text what may be secret in it: the user part
// and query values of URLs, and bearer or basic tokens.
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

// scene is what the text says around the deciding clause: the step that was
// under way, and with whom.
type messageContext struct {
	lookup bool // resolving a name
	socket bool // talking to the runtime itself, over its socket
	// otherSocket: a unix socket that is not the runtime's
	otherSocket bool
	snapshot    bool // at work on a snapshot
	provider    bool // running a credential provider
	service     bool // the kubelet called the CRI
	elsewhere   bool // at work on something of the pod that is no image
	starting    bool // the image is there, its container is being created or started
	pulling     bool // the text speaks of a pull at all
	proxy       bool // connecting to the proxy
	token       bool // asking the token service
	anonymous   bool // … without credentials
	bearer      bool // … as CRI-O words it
	limited     bool // a rate is told
	copying     bool // fetching a manifest by digest, a configuration or a layer
	redirected  bool // … from another host than the registry
	mirror      bool // from a mirror that hosts.toml names
	sandbox     bool // pulling the pod sandbox's image
	inspect     bool // looking for the image on the node
	extracting  bool // unpacking a layer
	empty       bool // committing a layer of which nothing was written
	config      bool // reading the image's configuration, which has come
	status      bool // a server answered with a status number
	unexpected  bool // … that is said to be one
	old         bool // … as containerd before 1.6.25 words it

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
	// transportIn is the name of a source in containers/image (CRI-O).
	transportIn = regexp.MustCompile(`docker://([^\s/]+[.:][^\s/]*|localhost)/`)
	// runtimeSocket is the socket of a runtime; otherSocket any.
	runtimeSocket = regexp.MustCompile(`(?i)dial unix:?/{0,2}\s*\S*(?:/containerd\.sock|/crio\.sock|/docker\.sock|/cri-dockerd\.sock|/dockershim\.sock)`)
	otherSocket   = regexp.MustCompile(`(?i)dial unix:?/{0,2}\s*\S+`)
	// execMissing is Go's os/exec on a program that is not there.
	execMissing = regexp.MustCompile(`(?i)^(?:\S+: )?exec: \S+: executable file not found`)
	// referenceMissing is a reference that containerd did not find.
	referenceMissing = regexp.MustCompile(`\S+/\S+[:@]\S+: not found`)
	localName        = regexp.MustCompile(`(?i)^(localhost|[^.]+|.*\.(localhost|local|internal|lan|test|home))$`)
)

func contextOf(text string) messageContext {
	low := strings.ToLower(text)
	has := func(phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(low, p) })
	}
	s := messageContext{
		socket:      runtimeSocket.MatchString(text) || has("error reading from server", "transport is closing", "connect to the docker daemon"),
		otherSocket: otherSocket.MatchString(text) && !runtimeSocket.MatchString(text),
		snapshot:    has("snapshot"),
		provider:    has("credential provider"),
		service:     has("from image service", "from runtime service"),
		elsewhere: has("setup network for sandbox", "networkplugin cni failed", "mountvolume.", "attachvolume.", "unable to attach or mount volumes",
			"liveness probe failed", "readiness probe failed", "startup probe failed", "unable to connect to the server", "failed to provision volume", "failedattachvolume"),
		proxy: has("proxyconnect"),
		starting: has("failed to create containerd container", "failed to create container", "failed to generate container", "failed to start container",
			"container create failed", "failed to reserve container name", "createcontainerconfigerror", "createcontainererror", "runcontainererror",
			"runasnonroot", "couldn't find key ", "preparing subpath", "prepare subpath", "cdi device", "apparmor") || execMissing.MatchString(text),
		pulling: has("pull", "resolve", "manifest", "docker://", "image", "copy", "fetch", "unpack", "layer", "response from daemon") || referenceMissing.MatchString(text),

		token:     has("failed to authorize", "fetch oauth token", "fetch anonymous token", "requesting bearer token", "unable to retrieve auth token"),
		anonymous: has("fetch anonymous token"),
		bearer:    has("requesting bearer token"),
		limited:   has("retry-after: ") && has("allowed: "),
		copying:   has("failed to copy", "httpreadseeker", "httpreaderseeker", "pulling image configuration", "reading blob", "fetching blob", "short read: expected", "read past expected size"),
		sandbox: has("failed to get sandbox image") || has("failedcreatepodsandbox", "failed to create pod sandbox", "creating pod sandbox", "runpodsandbox") &&
			has("failed to pull", "docker://", "resolve reference", "resolve image"),
		inspect:    has("failed to inspect image"),
		status:     statusNumber.MatchString(text),
		unexpected: has("unexpected status"),
		old:        has("status code [manifests"),
		config:     has("get image diffids", "get image info from containerd"),
		empty:      has("unexpected commit digest " + emptyDigest),
		extracting: has("extract layer", "unpack image on snapshotter", "register layer", "applying layer", "apply layer", "adding layer with blob"),
	}
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
	return s
}

func addrPort(s string) string {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return ""
	}
	return ap.String()
}

// emptyDigest is the SHA-256 of no bytes at all.
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

// sinkhole reports a host with a public-looking name that was dialled at a
// loopback or unspecified address: nobody's registry lives there.
func (s messageContext) sinkhole() bool {
	ap, err := netip.ParseAddrPort(s.address)
	if err != nil || !(ap.Addr().IsLoopback() || ap.Addr().IsUnspecified()) {
		return false
	}
	host, _, _ := strings.Cut(s.host, ":")
	_, err = netip.ParseAddr(host)
	return err != nil && host != "" && !localName.MatchString(host)
}

// adjust puts what the step alone says before what the clause says.
func (s messageContext) adjust(could []report.Cause) []report.Cause {
	if len(could) == 0 {
		return nil
	}
	if s.socket { // gRPC's client: the runtime did not get to say anything
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
	case s.sandbox: // the node's own image: whatever the fault, no pod can start
		return slices.Concat([]report.Cause{report.SandboxImageUnavailable, could[0], report.RuntimeUnavailable}, could[1:])
	case s.inspect: // no registry was asked
		return slices.Concat([]report.Cause{report.RuntimeUnavailable}, could)
	}
	return could
}

// ofTheStore reports whether a cause lies in what the runtime keeps of images on
// this node: a container that is created needs that once more.
func inImageStore(c report.Cause) bool {
	switch c {
	case report.UnpackFailed, report.LayerCorrupt, report.DiskFull, report.InodesExhausted, report.DiskReadOnly, report.DiskIOError,
		report.RuntimeUnavailable, report.PlatformMismatch, report.InvalidReference:
		return true
	}
	return false
}

// merge appends the causes of more that are new, without Undetermined.
func Merge(list, more []report.Cause) []report.Cause {
	for _, c := range more {
		if c != report.Undetermined && len(list) < maxCandidates && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}
