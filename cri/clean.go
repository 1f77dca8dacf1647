package cri

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes foreign text fit for a report: one line, at most n bytes, no
// control or formatting characters (terminal escapes, bidirectional overrides),
// valid UTF-8. Wherever it cuts it leaves an ellipsis: the redaction looks there
// for the beginning of a secret.
func clean(s string, n int) string {
	short := len(s) > 4*n
	if short { // what is cut off need not be looked at
		s = s[:4*n]
	}
	var b strings.Builder
	space := true // drops leading space and folds runs of it
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		case r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs):
			continue
		}
		b.WriteRune(r)
		space = false
	}
	out := strings.TrimRight(b.String(), " ")
	if short {
		out += dots
	}
	return cut(out, n)
}

const dots = "…"

// cut shortens s to at most n bytes, an ellipsis included, between runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	i := n - len(dots)
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return s[:i] + dots
}
