package lab

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Progress shows what is being done and for how long. On a terminal it updates one line.
// To a file or a pipe it writes a line at the start, one every 20 seconds and one at the
// end.
type Progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
}

// NewProgress returns a Progress that writes to w.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{w: w, began: time.Now()}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// Say writes one line with the time since the start.
func (p *Progress) Say(format string, args ...any) {
	fmt.Fprintf(p.w, "%6.1fs  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// Do runs f and shows its progress. f may call note to report how far it is.
func (p *Progress) Do(what string, f func(note func(string)) error) error {
	var (
		mu     sync.Mutex
		latest string
		began  = time.Now()
	)
	note := func(s string) {
		mu.Lock()
		latest = s
		mu.Unlock()
	}
	line := func() string {
		mu.Lock()
		defer mu.Unlock()
		s := fmt.Sprintf("%s: %ds", what, int(time.Since(began).Seconds()))
		if latest != "" {
			s += ", " + latest
		}
		return s
	}

	every := 20 * time.Second
	if p.terminal {
		every = 500 * time.Millisecond
	} else {
		p.Say("%s", what)
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				if p.terminal {
					fmt.Fprintf(p.w, "\r\x1b[K%.100s", line())
				} else {
					p.Say("%s", line())
				}
			}
		}
	}()
	err := f(note)
	close(done)
	<-stopped
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	if err == nil {
		p.Say("%s: done in %.1fs", what, time.Since(began).Seconds())
	}
	return err
}
