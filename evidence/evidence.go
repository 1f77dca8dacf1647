package evidence

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/pullprobe/pullprobe/report/readable"
)

// MaxValue bounds one evidence value, in bytes.
const MaxValue = 300

// Facts are the evidence of a check. Call [Facts.Checked] before they are published:
// some come from servers.
type Facts map[string]string

// Checked returns f cleaned and bounded, without empty values, ready for a report;
// nil if no value remains.
func (f Facts) Checked() map[string]string {
	out := make(map[string]string, len(f))
	for k, v := range f {
		if v = readable.Clean(v, MaxValue); v != "" {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// With sets a fact in the evidence of a check, which may be nil, and returns the
// evidence.
func With(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// Word returns a name that a server sent, in at most limit bytes. A question mark
// replaces each character that no name has, so that text from a server cannot read
// as a sentence.
func Word(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._/*…", r) {
			return r
		}
		return '?'
	}, readable.Clean(s, limit))
}

// Errno returns the name of the system error in err, such as "ENOENT", or else a
// plain word for it. It never repeats text that err may have from elsewhere.
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
