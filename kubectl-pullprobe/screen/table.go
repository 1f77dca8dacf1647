package screen

import "strings"

// Cell is one field of a table. Paint colors it; nil: no color.
type Cell struct {
	Text  string
	Paint func(string) string
}

// Cells returns cells without color.
func Cells(texts ...string) []Cell {
	out := make([]Cell, len(texts))
	for i, text := range texts {
		out[i].Text = text
	}
	return out
}

// gap is how far columns are apart, as in kubectl's tables.
const gap = "   "

// Table adds a table as kubectl prints it: columns as wide as their longest cell, an empty cell
// as "-".
func (t *Text) Table(header []string, rows [][]Cell) {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = columns(h)
	}
	for _, row := range rows {
		for i := range row {
			if row[i].Text = t.printable(row[i].Text); row[i].Text == "" {
				row[i].Text = "-"
			}
			widths[i] = max(widths[i], columns(row[i].Text))
		}
	}
	for _, row := range append([][]Cell{Cells(header...)}, rows...) {
		line := ""
		for i, c := range row {
			text := c.Text
			if c.Paint != nil {
				text = c.Paint(text)
			}
			line += text
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-columns(c.Text)) + gap
			}
		}
		t.Line("%s", strings.TrimRight(line, " "))
	}
}
