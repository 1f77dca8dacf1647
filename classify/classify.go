package classify

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
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
	Image    Image  // the image whose pull failed

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
	text := normalize(message)
	for _, e := range splitErrors(text) {
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
	out.Image = imageIn(text)
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
			Clause:     readable.Clean(WithoutSecrets(reason), MaxClause),
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
	return readable.Clean(text(i), MaxClause)
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
	return readable.Clean(WithoutSecrets(strings.Join(clauses[from:i+1], ": ")), MaxClause)
}

var operation = regexp.MustCompile(`(?i)^(dial|read|write|lookup|remote error|tls|x509|net/http|proxyconnect|http)\b`)

// Merge appends the causes of more that are new, without Undetermined.
func Merge(list, more []report.Cause) []report.Cause {
	for _, c := range more {
		if c != report.Undetermined && len(list) < maxCandidates && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}
