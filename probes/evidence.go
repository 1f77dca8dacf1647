package probes

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// maxValue bounds one evidence value, in bytes.
const maxValue = 300

// evidence collects the facts of a check. Everything that was taken from a
// server goes through clean before it is published.
type evidence map[string]string

// checked returns e bounded and cleaned, without empty values, ready for a
// report; nil if nothing is left.
func (e evidence) checked() map[string]string {
	out := make(map[string]string, len(e))
	for k, v := range e {
		if v = clean(v, maxValue); v != "" {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// clean makes s fit to be shown: valid UTF-8, no control or direction-changing
// characters, white space folded, at most limit bytes. Wherever it cuts it
// leaves an ellipsis: the redaction looks there for the beginning of a secret.
func clean(s string, limit int) string {
	short := len(s) > 4*limit
	if short {
		s = s[:4*limit]
	}
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		if b.Len() > limit {
			break
		}
	}
	out := b.String()
	if short {
		out += "…"
	}
	if len(out) <= limit {
		return out
	}
	cut := limit - len("…")
	for cut > 0 && !utf8.RuneStart(out[cut]) {
		cut--
	}
	return out[:cut] + "…"
}

// word makes a name that a server gave fit to stand between words of ours. What
// is in no name becomes a question mark, so that none reads like a sentence.
func word(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._/*…", r) {
			return r
		}
		return '?'
	}, clean(s, limit))
}

// isHostName says whether a host, with or without a port, is one that a command
// line or a sentence can hold: a URL may have more characters in its host than
// any name or address.
func isHostName(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._:[]%。．｡", r)
	})
}

// errnoWord names the system error in err, as "ENOENT", or else a plain word
// for it. It never shows text that err may have taken from elsewhere.
func errnoWord(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
		return errno.Error()
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	case errors.Is(err, fs.ErrPermission):
		return "EACCES"
	}
	return "unreadable"
}

func withFact(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// megabytes is a size for people.
func megabytes(n int64) string {
	switch {
	case n < 1e6:
		return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
	case n < 1e9:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	}
	return strconv.FormatFloat(float64(n)/1e9, 'f', 2, 64) + " GB"
}
