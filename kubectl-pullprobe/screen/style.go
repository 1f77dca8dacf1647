// Package screen writes text for a terminal or a pipe: colours, marks, labelled fields,
// tables, and a line that shows progress.
package screen

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/pullprobe/pullprobe/report"
)

// Width is the number of columns that text is wrapped to.
const Width = 80

// Style is how to write on one stream. The zero value is that of a pipe.
type Style struct {
	Color    bool
	ASCII    bool // no character beyond ASCII
	Terminal bool // a person watches: lines may be erased
}

// NewStyle returns how to write on a stream. "auto" color is: on a terminal, unless NO_COLOR
// is set (https://no-color.org).
func NewStyle(w io.Writer, color string, ascii bool, getenv func(string) string) (Style, error) {
	f, ok := w.(*os.File)
	s := Style{ASCII: ascii, Terminal: ok && getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))}
	switch color {
	case "always":
		s.Color = true
	case "never":
	case "auto":
		s.Color = s.Terminal && getenv("NO_COLOR") == ""
	default:
		return s, fmt.Errorf("--color=%s: must be auto, always or never", color)
	}
	return s, nil
}

// The colors of texts, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

// paint returns a text in a color, if there are colors.
func (s Style) paint(code, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold returns a text in bold.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Faint returns a text that is less important.
func (s Style) Faint(text string) string { return s.paint(faint, text) }

// Fault returns a text in the color of a fault: green if nothing is at fault, yellow if it is
// not known, and red otherwise.
func (s Style) Fault(f report.Fault, text string) string {
	switch f {
	case report.FaultNone:
		return s.paint("1;"+green, text)
	case report.FaultUndetermined:
		return s.paint("1;"+yellow, text)
	default:
		return s.paint("1;"+red, text)
	}
}

// Mark returns one character for an outcome, in its color. It is never the only sign: the
// text beside it names what failed.
func (s Style) Mark(o report.Outcome) string {
	marks := map[report.Outcome][2]string{
		report.Pass: {"✓", "+"}, report.Fail: {"✗", "x"}, report.Skipped: {"–", "-"}, report.Unknown: {"?", "?"}, report.Error: {"!", "!"},
	}
	colors := map[report.Outcome]string{
		report.Pass: green, report.Fail: red, report.Error: yellow, report.Unknown: yellow, report.Skipped: faint,
	}
	mark := marks[o][0]
	if s.ASCII {
		mark = marks[o][1]
	}
	return s.paint(colors[o], mark)
}
