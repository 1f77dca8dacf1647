package main

import (
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"time"
)

const (
	charWidth  = 8.4 // of a monospaced font of 14 pixels
	lineHeight = 18
	margin     = 16

	longestWait = time.Second            // of the real pauses; what is longer is cut
	burst       = 300 * time.Millisecond // lines that come within this time appear together
	typing      = 500 * time.Millisecond // from a command to its output
)

// picture is a terminal of some columns and rows that shows a recording within length,
// again and again.
type picture struct {
	title, from, to string
	columns, rows   int
	length          time.Duration
}

// frame is some lines that appear together. Then there is a pause of wait, and time to
// read them.
type frame struct {
	rows  []row
	first bool // begins a block: a step of the demo, or a command with its output
	wait  time.Duration
	read  time.Duration
}

// row is what the terminal shows of a line. A long line has several rows.
type row struct {
	text  string
	class string // "step", "command" or empty
}

// draw writes the picture. It fails if p.from or p.to are not in the recording.
func (p picture) draw(out io.Writer, lines []line) error {
	lines, err := p.cut(lines)
	if err != nil {
		return err
	}
	frames := p.frames(lines)
	p.fit(frames)
	_, err = io.WriteString(out, p.svg(frames))
	return err
}

// cut returns the lines from p.from to p.to.
func (p picture) cut(lines []line) ([]line, error) {
	begin := 0
	for begin < len(lines) && !strings.HasPrefix(lines[begin].text, p.from) {
		begin++
	}
	end := begin
	for end < len(lines) && (p.to == "" || !strings.HasPrefix(lines[end].text, p.to)) {
		end++
	}
	switch {
	case begin == len(lines):
		return nil, fmt.Errorf("no line of the recording starts with %q", p.from)
	case p.to != "" && end == len(lines):
		return nil, fmt.Errorf("no line of the recording after %q starts with %q", p.from, p.to)
	}
	for end > begin && lines[end-1].text == "" {
		end--
	}
	return lines[begin:end], nil
}

// frames groups lines. A block starts with a step ("==> ") or a command ("$ ").
func (p picture) frames(lines []line) []frame {
	var frames []frame
	for i, l := range lines {
		first := startsBlock(lines[i:]) && (i == 0 || !startsBlock(lines[i-1:]) || lines[i-1].text != "")
		output := i > 0 && strings.HasPrefix(lines[i-1].text, "$ ")
		if i == 0 || first || output || l.at-lines[i-1].at > burst {
			if i > 0 {
				frames[len(frames)-1].wait = min(l.at-lines[i-1].at, longestWait)
			}
			frames = append(frames, frame{first: first})
		}
		f := &frames[len(frames)-1]
		f.rows = append(f.rows, wrap(l.text, p.columns)...)
	}
	return p.pages(frames)
}

// pages splits frames that are longer than the screen, and decides how long each needs to be
// read.
func (p picture) pages(frames []frame) []frame {
	var pages []frame
	for _, f := range frames {
		for len(f.rows) > p.rows {
			n := p.rows - 1
			for n > p.rows/2 && f.rows[n].text != "" { // better at an empty line
				n--
			}
			pages = append(pages, frame{rows: f.rows[:n], first: f.first, read: reading(f.rows[:n])})
			f.rows, f.first = f.rows[n:], true
		}
		f.read = reading(f.rows)
		if f.rows[len(f.rows)-1].class == "command" {
			f.wait, f.read = max(f.wait, typing), 0
		}
		pages = append(pages, f)
	}
	return pages
}

// reading returns how long it takes to read rows, compared with others.
func reading(rows []row) time.Duration {
	words := 0
	for _, r := range rows {
		words += len(strings.Fields(r.text))
	}
	return 400*time.Millisecond + time.Duration(words)*60*time.Millisecond
}

// fit scales the time to read, so that all of it takes p.length.
func (p picture) fit(frames []frame) {
	var wait, read time.Duration
	for _, f := range frames {
		wait, read = wait+f.wait, read+f.read
	}
	scale := max(0.1, (p.length-wait).Seconds()/read.Seconds())
	for i := range frames {
		frames[i].read = time.Duration(float64(frames[i].read) * scale)
	}
}

// svg draws all lines below each other. Each frame becomes visible at its time, and the
// whole moves up where a block has no more room.
func (p picture) svg(frames []frame) string {
	var total time.Duration
	rows := 0
	for _, f := range frames {
		total, rows = total+f.wait+f.read, rows+len(f.rows)
	}
	percent := func(at time.Duration) string { return fmt.Sprintf("%.2f%%", 100*at.Seconds()/total.Seconds()) }
	var style, text strings.Builder
	var at time.Duration
	y, top := 0, 0
	scroll := "0%{transform:translateY(0)}"
	for i, f := range frames {
		if f.first && y+min(blockRows(frames[i:]), p.rows)-top > p.rows {
			top = y
			if f.rows[0].text == "" {
				top++
			}
			top = min(top, rows-p.rows) // the last picture is full
			scroll += fmt.Sprintf("%s{transform:translateY(-%dpx)}", percent(at), top*lineHeight)
		}
		fmt.Fprintf(&style, "@keyframes f%d{0%%{opacity:0}%s{opacity:1}}#f%d{animation-name:f%d}\n", i, percent(at), i, i)
		fmt.Fprintf(&text, "<g id=\"f%d\">\n", i)
		for _, r := range f.rows {
			if n := len([]rune(r.text)); n > 0 {
				length := float64(n) * charWidth
				fmt.Fprintf(&text, "<text y=\"%d\" textLength=\"%.1f\">%s</text>\n", y*lineHeight+14, length, colored(r))
			}
			y++
		}
		text.WriteString("</g>\n")
		at += f.wait + f.read
	}
	width, height := float64(p.columns)*charWidth, p.rows*lineHeight
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img">
<title>%s</title>
<style>
g{animation:%.1fs step-end infinite}
@keyframes scroll{%s}
#scroll{animation-name:scroll;transform:translateY(-%dpx)}
%s@media (prefers-reduced-motion:reduce){g{animation:none}}
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d1d7e0;white-space:pre}
.step{fill:#79c0ff}.command{fill:#fff;font-weight:bold}.verdict{fill:#ffa657;font-weight:bold}
</style>
<rect width="100%%" height="100%%" rx="8" fill="#151b23" stroke="#656c76"/>
<svg x="%d" y="%d" width="%.0f" height="%d" xml:space="preserve">
<g id="scroll">
%s</g>
</svg>
</svg>
`, width+2*margin, height+2*margin, html.EscapeString(p.title), total.Seconds(), scroll, top*lineHeight, style.String(),
		margin, margin, width, height, text.String())
}

// blockRows returns the number of rows of the block with which frames begin.
func blockRows(frames []frame) int {
	n := len(frames[0].rows)
	for _, f := range frames[1:] {
		if f.first {
			break
		}
		n += len(f.rows)
	}
	return n
}

// startsBlock reports whether lines begin with a step or a command, or with an empty line
// before one.
func startsBlock(lines []line) bool {
	if len(lines) > 1 && lines[0].text == "" {
		lines = lines[1:]
	}
	return strings.HasPrefix(lines[0].text, "==> ") || strings.HasPrefix(lines[0].text, "$ ")
}

// verdict is a fault with its cause and confidence, or the last two, as in the summary.
var verdict = regexp.MustCompile(`((cluster-config|node-infrastructure|registry|undetermined) +(/ )?)?` +
	`[A-Z]\w+ +\((confirmed|likely|undetermined)\)`)

// colored returns a row as the content of an SVG text.
func colored(r row) string {
	span := func(class, s string) string {
		return `<tspan class="` + class + `">` + html.EscapeString(s) + `</tspan>`
	}
	if r.class != "" {
		return span(r.class, r.text)
	}
	m := verdict.FindStringIndex(r.text)
	if m == nil {
		return html.EscapeString(r.text)
	}
	return html.EscapeString(r.text[:m[0]]) + span("verdict", r.text[m[0]:m[1]]) + html.EscapeString(r.text[m[1]:])
}

// wrap splits s as a terminal does.
func wrap(s string, columns int) []row {
	class := ""
	switch {
	case strings.HasPrefix(s, "==> "):
		class = "step"
	case strings.HasPrefix(s, "$ "):
		class = "command"
	}
	runes := []rune(strings.ReplaceAll(s, "\t", "        "))
	var rows []row
	for len(runes) > columns {
		rows, runes = append(rows, row{string(runes[:columns]), class}), runes[columns:]
	}
	return append(rows, row{string(runes), class})
}

func trimEnd(s string) string { return strings.TrimRight(s, " \r\n") }
