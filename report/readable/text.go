// Package readable makes text and figures readable. Everything that people read passes
// through here: one policy for foreign text, one ellipsis, one unit system, one form for
// durations and for times, one width of lines.
package readable

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Ellipsis ends every text that was cut. The redactor depends on it: the end of a text
// before an ellipsis may be the beginning of a secret.
const Ellipsis = "…"

// Sanitize returns s as one line of printable text. Runs of white space become
// one space, white space at both ends goes. Invalid UTF-8, U+FFFD, control and
// format characters (terminal escapes, bidirectional overrides), private use,
// unassigned and invisible characters go.
func Sanitize(s string) string {
	return strings.Join(strings.FieldsFunc(StripUnprintable(s), isSpace), " ")
}

// StripUnprintable removes the characters that [Sanitize] removes, and replaces every
// white space character, a line break too, by one space. It neither merges spaces nor
// trims them.
func StripUnprintable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r), unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return -1
		}
		return r
	}, s)
}

func isSpace(r rune) bool { return r == ' ' }

// Truncate returns s if it has at most limit bytes. Else it returns the longest
// beginning of s that fits with an ellipsis, cut between characters.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit - len(Ellipsis)
	if cut < 0 {
		return ""
	}
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + Ellipsis
}

// Clean returns the sanitized text of s, truncated to limit bytes. Of a very long
// text it reads only the beginning.
func Clean(s string, limit int) string {
	if len(s) > 4*limit {
		return Truncate(Sanitize(s[:4*limit])+Ellipsis, limit)
	}
	return Truncate(Sanitize(s), limit)
}

// Bytes returns a size in binary units with one decimal: "512 B", "1.5 KiB",
// "41.0 GiB".
func Bytes[N int | int64 | uint64](n N) string {
	const kibi = 1024
	v := float64(n)
	if math.Abs(v) < kibi {
		return strconv.FormatInt(int64(n), 10) + " B"
	}
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		v /= kibi
		if math.Abs(v) < kibi-0.05 { // else it would read 1024.0
			return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
		}
	}
	return strconv.FormatFloat(v/kibi, 'f', 1, 64) + " TiB"
}

// Duration returns a duration for people, with the two largest units that
// matter: "250 ms", "1.5 s", "12 s", "3 min", "2 h 5 min", "3 days 4 h". Use
// [Roughly] for an estimate.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(d.Abs())
	}
	switch {
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return "1 ms" // something, and no more
	case d.Round(time.Millisecond) < time.Second:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d.Round(100*time.Millisecond) < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	case d.Round(time.Second) < time.Minute:
		return count(d.Round(time.Second), time.Second, "s")
	case d.Round(time.Second) < time.Hour:
		return twoUnits(d.Round(time.Second), time.Minute, "min", time.Second, "s")
	case d.Round(time.Minute) < 48*time.Hour:
		return twoUnits(d.Round(time.Minute), time.Hour, "h", time.Minute, "min")
	}
	return twoUnits(d.Round(time.Hour), 24*time.Hour, "days", time.Hour, "h")
}

// Roughly returns a duration for people in its largest unit only: "5 h",
// "40 min", "3 days".
func Roughly(d time.Duration) string {
	if d < 0 {
		return "-" + Roughly(d.Abs())
	}
	switch {
	case d.Round(time.Second) < time.Minute:
		return Duration(d.Round(time.Second))
	case d.Round(time.Minute) < 90*time.Minute:
		return count(d.Round(time.Minute), time.Minute, "min")
	case d.Round(time.Hour) < 48*time.Hour:
		return count(d.Round(time.Hour), time.Hour, "h")
	}
	return count(d.Round(24*time.Hour), 24*time.Hour, "days")
}

func count(d, unit time.Duration, name string) string {
	return strconv.FormatInt(int64(d/unit), 10) + " " + name
}

func twoUnits(d, unit time.Duration, name string, part time.Duration, partName string) string {
	s := count(d, unit, name)
	if rest := d % unit; rest >= part {
		s += " " + count(rest, part, partName)
	}
	return s
}

// Time returns a time for people, in UTC and in seconds:
// "2026-11-28 20:33:50 UTC".
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// When returns a time for people as of another: how far it is, and the time in UTC:
// "in 4 min (2026-11-28 20:33:50 UTC)", "5 h ago (…)", "now".
func When(t, asOf time.Time) string {
	d := t.Sub(asOf)
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d > 0:
		return "in " + Roughly(d) + " (" + Time(t) + ")"
	default:
		return Roughly(-d) + " ago (" + Time(t) + ")"
	}
}

// Join joins names of any type with commas.
func Join[T ~string](names []T) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// Abbreviate sorts names and joins up to four. Of more it joins three and counts the others:
// "a, b, c and 4 more".
func Abbreviate(names []string) string {
	const most = 3
	names = slices.Sorted(slices.Values(names))
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(len(names)-most) + " more"
}

// programs are those whose commands a fix may have.
var programs = []string{
	"kubectl", "oc", "crictl", "curl", "openssl", "systemctl", "journalctl", "talosctl", "dmesg", "du", "df", "ip", "grep",
	"nslookup", "getent", "docker",
}

// IsCommand reports whether a line of a fix is a command to be copied.
func IsCommand(line string) bool {
	first, _, _ := strings.Cut(line, " ")
	return slices.Contains(programs, first)
}

// partLabel matches the labels of the parts of an Event, and those of the text report.
var partLabel = regexp.MustCompile(`(?i)\b(who acts|fix|to confirm|also|retry|check again)\s*:`)

// NeutralizeLabels removes the colon from what looks like the label of a part. A verdict may
// quote a registry, which must not add a fix of its own.
func NeutralizeLabels(s string) string { return partLabel.ReplaceAllString(s, "$1 -") }
