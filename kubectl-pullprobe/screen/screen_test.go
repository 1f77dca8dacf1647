package screen

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

// TestWrap checks that texts stay within the width, that a command stays one line, and that
// control characters go.
func TestWrap(t *testing.T) {
	text := NewText(Style{})
	long := strings.Repeat("word ", 40)
	text.Para(long)
	text.Field("why", long)
	text.Step(report.Fail, "dial", "2.5 s", long)
	text.Item(report.Pass, "daemonset", long, "fix: "+long)
	text.Head(report.FaultNode, "node-infrastructure ConnectionTimeout (likely)", "40 pods on 1 of 2 nodes, 15 s")
	for line := range strings.SplitSeq(text.String(), "\n") {
		if n := columns(line); n > Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	text = NewText(Style{})
	command := "kubectl -n shop create secret docker-registry regcred --docker-server=auth.example --docker-username=<USER>"
	text.Lines("fix", "create it:\n"+command+"\x1b[31m\r")
	if !strings.Contains(text.String(), command) || strings.ContainsAny(text.String(), "\x1b\r") {
		t.Errorf("%q", text)
	}
}

// TestASCII checks that with --ascii nothing else is written.
func TestASCII(t *testing.T) {
	text := NewText(Style{ASCII: true})
	text.Step(report.Pass, "dns", "", "registry… → 192.0.2.7 – “yes” é")
	text.Step(report.Fail, "dial", "", "")
	text.Step(report.Skipped, "tls", "", "")
	text.Table([]string{"A"}, [][]Cell{Cells("→"), Cells("")})
	for _, r := range text.String() {
		if r > 0x7e {
			t.Errorf("%q in %q", r, text)
		}
	}
}

// TestStyle checks when there is color, and that a pipe gets no progress.
func TestStyle(t *testing.T) {
	var b bytes.Buffer
	none := func(string) string { return "" }
	for color, want := range map[string]bool{"auto": false, "always": true, "never": false} {
		s, err := NewStyle(&b, color, false, none)
		if err != nil || s.Color != want || s.Terminal {
			t.Errorf("%s: %+v, %v", color, s, err)
		}
	}
	if _, err := NewStyle(&b, "red", false, none); err == nil {
		t.Error("a color that does not exist is accepted")
	}
	p := NewProgress(&b, Style{}, "waiting")
	p.Say("a message")
	p.Close()
	if b.String() != "a message\n" {
		t.Errorf("%q", b.String())
	}
}
