package classify

import (
	"regexp"
	"strings"
)

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
