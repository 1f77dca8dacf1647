package answers

import (
	"net/http"
	"slices"
	"strings"
)

// scheme is an authentication scheme that containerd knows, the preferred one highest.
type scheme int

const (
	unknownScheme scheme = iota
	basic
	digest
	bearer
)

// parsedChallenge is one challenge of WWW-Authenticate (RFC 9110, section 11.6.1).
type parsedChallenge struct {
	scheme scheme
	params map[string]string // by name in lower case
}

// parseChallenges returns the challenges that containerd sees in an answer, the
// preferred scheme first. As in containerd's ParseAuthHeader (core/remotes/docker/auth),
// each line of the header is one challenge, parameters end at the first that is not
// valid, and other schemes are ignored. Module parity compares the two.
func parseChallenges(h http.Header) []parsedChallenge {
	var out []parsedChallenge
	for _, line := range h.Values("WWW-Authenticate") {
		name, rest := cutToken(line)
		c := parsedChallenge{scheme: schemeOf(name), params: map[string]string{}}
		if c.scheme == unknownScheme {
			continue
		}
		for more := true; more; {
			var key, value string
			key, rest = cutToken(strings.TrimLeft(rest, whitespace))
			if key == "" || !strings.HasPrefix(rest, "=") {
				break
			}
			value, rest = cutValue(rest[1:])
			c.params[strings.ToLower(key)] = value
			rest, more = strings.CutPrefix(strings.TrimLeft(rest, whitespace), ",")
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b parsedChallenge) int { return int(b.scheme - a.scheme) })
	return out
}

func schemeOf(name string) scheme {
	switch strings.ToLower(name) {
	case "basic":
		return basic
	case "digest":
		return digest
	case "bearer":
		return bearer
	}
	return unknownScheme
}

const (
	whitespace = " \t\r\n"
	// separators end a token, as do control characters and everything beyond ASCII
	// (RFC 9110, section 5.6.2).
	separators = " \t\"(),/:;<=>?@[]\\{}"
)

// cutToken splits s after the token at its start.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(separators, c) >= 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// cutValue splits s after the token or quoted string at its start. A quoted string that
// does not end is empty, and takes the rest of the line.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		return cutToken(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] == '"' {
			return b.String(), s[i+1:]
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return "", ""
}
