package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/pullprobe/pullprobe/flags"
	"github.com/pullprobe/pullprobe/report"
)

// isTerminal reports whether w is a terminal that can erase a line and show colours.
func (p process) isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && p.getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// colored reports whether standard output gets colours. "auto" is: on a terminal, unless
// NO_COLOR is set (https://no-color.org).
func (p process) colored(when string) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return p.getenv("NO_COLOR") == "" && p.isTerminal(p.stdout), nil
	}
	return false, fmt.Errorf("--color=%s: must be auto, always or never", when)
}

// writeDiagnosis writes a diagnosis for people, with the places that name the image. In
// color, its first line, the verdict, is green if nothing is at fault, yellow if the cause
// is not known, and red otherwise.
func writeDiagnosis(w io.Writer, d report.Diagnosis, origin []string, color bool) {
	var b bytes.Buffer
	d.Text(&b)
	head, body, _ := bytes.Cut(b.Bytes(), []byte("\n"))
	if color {
		code := 31 // red
		switch exitCode(d.Verdict) {
		case exitOK:
			code = 32 // green
		case exitUnknown:
			code = 33 // yellow
		}
		head = fmt.Appendf(nil, "\x1b[1;%dm%s\x1b[0m", code, head)
	}
	image, body, _ := bytes.Cut(body, []byte("\n"))
	fmt.Fprintf(w, "%s\n%s\n", head, image)
	for _, o := range origin {
		lines := flags.Wrap(o, 80-len(fromLabel))
		fmt.Fprintf(w, "%s%s\n", fromLabel, strings.Join(lines, "\n"+strings.Repeat(" ", len(fromLabel))))
	}
	_, _ = w.Write(body)
}

// fromLabel begins the lines that name a place of an image, in the layout of a diagnosis.
const fromLabel = "  from         "

// progress shows on a terminal how far the checks are, in one line that is erased at the
// end. Nothing is shown within the first second, and nothing at all by the zero progress.
type progress struct {
	w        io.Writer
	all      int
	deadline time.Duration

	mu     sync.Mutex
	ended  int
	closed chan struct{}
	done   chan struct{}
}

// newProgress begins to show the progress of so many images on w.
func newProgress(w io.Writer, images int, deadline time.Duration) *progress {
	p := &progress{w: w, all: images, deadline: deadline, closed: make(chan struct{}), done: make(chan struct{})}
	go p.show()
	return p
}

func (p *progress) show() {
	defer close(p.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for began, shown := time.Now(), false; ; shown = true {
		select {
		case <-tick.C:
			p.mu.Lock()
			fmt.Fprintf(p.w, "\r\x1b[Kchecking: %d of %d images done, %v of at most %v",
				p.ended, p.all, time.Since(began).Round(time.Second), p.deadline)
			p.mu.Unlock()
		case <-p.closed:
			if shown {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		}
	}
}

// end counts one image that was checked.
func (p *progress) end() {
	p.mu.Lock()
	p.ended++
	p.mu.Unlock()
}

// close erases the line.
func (p *progress) close() {
	if p.closed == nil {
		return // nothing is shown
	}
	close(p.closed)
	<-p.done
}
