package screen

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Text is text for people that grows line by line. What comes from the cluster loses control
// characters: a report is the claim of its node.
type Text struct {
	Style
	b strings.Builder
}

// NewText returns an empty text.
func NewText(s Style) *Text { return &Text{Style: s} }

// String returns the text.
func (t *Text) String() string { return t.b.String() }

// WriteTo writes the text.
func (t *Text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, t.String())
	return int64(n), err
}

// Blank adds an empty line, unless the text is empty.
func (t *Text) Blank() {
	if t.b.Len() > 0 {
		t.b.WriteByte('\n')
	}
}

// Line adds one line as it is.
func (t *Text) Line(format string, args ...any) { fmt.Fprintf(&t.b, format+"\n", args...) }

// Raw adds a text as it is.
func (t *Text) Raw(text string) { t.b.WriteString(text) }

// Para adds a text, wrapped.
func (t *Text) Para(text string) { t.wrap("", "", text) }

// Remark adds a text after a word such as "note: ". It is wrapped for a person only: a pipe gets
// one line, to be searched.
func (t *Text) Remark(head, text string) {
	if t.Terminal {
		t.wrap(head, "  ", text)
		return
	}
	t.Line("%s%s", head, t.printable(text))
}

// Head adds the first line of a group: what is wrong on the left, in the color of a fault,
// and how many are concerned on the right.
func (t *Text) Head(f report.Fault, left, right string) {
	left, right = t.printable(left), t.printable(right)
	gap := ""
	if right != "" {
		gap = strings.Repeat(" ", max(2, Width-columns(left)-columns(right)))
	}
	t.Line("%s", t.Fault(f, left)+gap+right)
}

// labelFormat pads a label to "not checked", as in a report's summary.
const labelFormat = "  %-11s  "

// Field adds a labelled text, wrapped with a hanging indent. Nothing is added for an empty one.
func (t *Text) Field(label, text string) {
	if text != "" {
		head := fmt.Sprintf(labelFormat, label)
		t.wrap(head, strings.Repeat(" ", len(head)), text)
	}
}

// Lines adds a labelled text that may have several lines. A command is not wrapped, so that it
// can be copied.
func (t *Text) Lines(label, text string) {
	if text == "" {
		return
	}
	head := fmt.Sprintf(labelFormat, label)
	indent := strings.Repeat(" ", len(head))
	for line := range strings.SplitSeq(text, "\n") {
		if readable.IsCommand(line) {
			t.Line("%s%s", head, t.printable(line))
		} else {
			t.wrap(head, indent, line)
		}
		head = indent
	}
}

// Step adds one line of a ladder: a mark, what was checked, how long it took, and the result.
func (t *Text) Step(o report.Outcome, what, took, result string) {
	const head = 25 // margin, mark, 11 for what, 7 for the time, and the gaps
	what = t.printable(what)
	line := fmt.Sprintf("%-11s %7s  ", what, took)
	t.wrapAfter("  "+t.Mark(o)+" "+line, 4+columns(line), strings.Repeat(" ", head), result)
}

// Item adds one line of a list: a mark, what it is about, and texts, each of which begins a line.
func (t *Text) Item(o report.Outcome, what string, texts ...string) {
	const head = 15 // mark, 11 for what, and the gaps
	before, taken := t.Mark(o)+" "+fmt.Sprintf("%-11s  ", t.printable(what)), head
	for _, text := range texts {
		t.wrapAfter(before, taken, strings.Repeat(" ", head), text)
		before = strings.Repeat(" ", head)
	}
}

// wrap adds a text after a head, in lines that begin with an indent.
func (t *Text) wrap(head, indent, text string) { t.wrapAfter(head, columns(head), indent, text) }

// wrapAfter is wrap for a head that takes this many columns.
func (t *Text) wrapAfter(head string, taken int, indent, text string) {
	line, col, first := head, taken, true
	for word := range strings.FieldsSeq(t.printable(text)) {
		if !first && col+1+columns(word) > Width {
			t.Line("%s", line)
			line, col, first = indent, columns(indent), true
		}
		if !first {
			line += " "
			col++
		}
		line += word
		col += columns(word)
		first = false
	}
	t.Line("%s", strings.TrimRight(line, " "))
}

// printable returns a text as it may be shown: one line without control characters, and of
// ASCII characters if the style asks for it.
func (s Style) printable(text string) string {
	text = readable.Sanitize(text)
	if !s.ASCII {
		return text
	}
	text = asciiOf.Replace(text)
	return strings.Map(func(r rune) rune {
		if r > 0x7e {
			return '?'
		}
		return r
	}, text)
}

// asciiOf replaces the characters that pullprobe's own texts have.
var asciiOf = strings.NewReplacer("…", "...", "–", "-", "—", "-", "→", "->", "×", "x", "≤", "<=", "≥", ">=",
	"“", `"`, "”", `"`, "’", "'", "·", "-")

// columns returns how many columns a text takes, without colors.
func columns(s string) int { return utf8.RuneCountInString(s) }

// Plural returns a number with a noun in the right form.
func Plural(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y") && !strings.HasSuffix(noun, "ey"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Indented adds a text after a head, with the following lines indented.
func (t *Text) Indented(head, indent, text string) { t.wrap(t.Keep(head), indent, text) }

// Keep returns one line as it may be shown, with its spaces.
func (s Style) Keep(line string) string {
	words := strings.Split(line, " ")
	for i := range words {
		words[i] = s.printable(words[i])
	}
	return strings.Join(words, " ")
}
