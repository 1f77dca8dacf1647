package evidence

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/report"
)

// maxValue bounds one evidence value, in bytes.
const MaxValue = 300

// evidence collects the facts of a check. Call [evidence.checked] before they
// are published: some come from servers.
type Facts map[string]string

// checked returns e bounded and cleaned, without empty values, ready for a
// report; nil if nothing is left.
func (e Facts) Checked() map[string]string {
	out := make(map[string]string, len(e))
	for k, v := range e {
		if v = report.Clean(v, MaxValue); v != "" {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// withFact sets a fact in the evidence of a check, which may be nil.
func With(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// word returns a name that a server sent, with a question mark for each
// character that no name has: it stands between words of ours, and must not
// read like a sentence. It has at most limit bytes.
func Word(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._/*…", r) {
			return r
		}
		return '?'
	}, report.Clean(s, limit))
}

// errnoWord names the system error in err, as "ENOENT", or else a plain word
// for it. It never shows text that err may have taken from elsewhere.
func Errno(err error) string {
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
