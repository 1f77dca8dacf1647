package readable

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Width is the number of columns that summaries are wrapped to.
const Width = 80

// LabelFormat indents a label and pads it to the longest, "not checked".
const LabelFormat = "  %-11s  "

// Field writes a labelled text, wrapped with a hanging indent. It does not break
// words longer than a line: they are names to be copied.
func Field(w io.Writer, label, text string) {
	Wrap(w, fmt.Sprintf(LabelFormat, label), text)
}

// Lines writes a labelled text that may have several lines. A command is not wrapped, so
// that it can be copied.
func Lines(w io.Writer, label, text string) {
	LinesAfter(w, fmt.Sprintf(LabelFormat, label), text)
}

// LinesAfter writes the lines of a text after a head, as [Lines] does.
func LinesAfter(w io.Writer, head, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		if IsCommand(line) {
			fmt.Fprintln(w, head+line)
		} else {
			Wrap(w, head, line)
		}
		head = strings.Repeat(" ", len(head))
	}
}

// Wrap writes a text after a head, in lines that are indented as far as the head
// reaches.
func Wrap(w io.Writer, head, text string) { WrapTo(w, head, len(head), text) }

// WrapTo writes a text after a head, with the following lines indented.
func WrapTo(w io.Writer, head string, indent int, text string) {
	line, col, first := head, len(head), true
	for word := range strings.FieldsSeq(text) {
		if !first && col+1+len(word) > Width {
			fmt.Fprintln(w, line)
			line, col, first = strings.Repeat(" ", indent), indent, true
		}
		if !first {
			line += " "
			col++
		}
		line += word
		col += len(word)
		first = false
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// Plural returns a number with a noun in the right form.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
