package runtimeconfig

import (
	"errors"
	"strings"
)

// toml11Since is the first containerd whose parser (go-toml 2.4) accepts TOML 1.1.
const toml11Since = "2.4.0"

var errTOML11 = errors.New("it needs TOML 1.1 (an inline table over several lines, or an escape \\x or \\e), " +
	"which this containerd does not accept")

// usesTOML11 reports whether a file that parses needs TOML 1.1: an inline table with a
// line break or a comma at its end, or an escape \x or \e. Older parsers refuse the file.
func usesTOML11(text string) bool {
	var open []byte // brackets around the place
	var last byte   // the last character that is no space
	for i := 0; i < len(text); i++ {
		c := text[i]
		inTable := len(open) > 0 && open[len(open)-1] == '{'
		switch c {
		case '#':
			if end := strings.IndexByte(text[i:], '\n'); end >= 0 {
				i += end - 1
			} else {
				i = len(text)
			}
			continue
		case '"', '\'':
			value, length := quoted(text[i:])
			if c == '"' && hasEscape11(value) {
				return true
			}
			i += length - 1
		case '[', '{':
			open = append(open, c)
		case ']', '}':
			if c == '}' && last == ',' {
				return true
			}
			open = open[:max(0, len(open)-1)]
		case '\n':
			if inTable {
				return true
			}
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			last = c
		}
	}
	return false
}

// quoted returns the text within the quotes that s begins with, and the length of both.
func quoted(s string) (value string, length int) {
	quote := s[:1]
	if strings.HasPrefix(s, strings.Repeat(quote, 3)) {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		if s[i] == '\\' && quote[0] == '"' {
			i++
		} else if strings.HasPrefix(s[i:], quote) {
			return s[len(quote):i], i + len(quote)
		}
	}
	return s[len(quote):], len(s)
}

func hasEscape11(value string) bool {
	for i := 0; i+1 < len(value); i++ {
		if value[i] == '\\' {
			i++
			if value[i] == 'x' || value[i] == 'e' {
				return true
			}
		}
	}
	return false
}
