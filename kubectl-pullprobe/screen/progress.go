package screen

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress is a line on a terminal that says what is waited for, with the seconds that have
// passed. It is erased at the end. On anything else than a terminal nothing is written.
type Progress struct {
	w     io.Writer
	began time.Time

	mu     sync.Mutex
	what   string
	closed chan struct{}
	done   chan struct{}
}

// NewProgress begins to show progress on w, if it is a terminal of this style.
func NewProgress(w io.Writer, s Style, what string) *Progress {
	p := &Progress{w: w, began: time.Now(), what: what, closed: make(chan struct{}), done: make(chan struct{})}
	if !s.Terminal {
		close(p.done)
		return p
	}
	go p.show(s)
	return p
}

// Set changes what is waited for.
func (p *Progress) Set(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

// Close erases the line.
func (p *Progress) Close() {
	close(p.closed)
	<-p.done
}

// tick is how often the line changes.
const tick = 250 * time.Millisecond

func (p *Progress) show(s Style) {
	defer close(p.done)
	frames := []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"}
	if s.ASCII {
		frames = []string{"|", "/", "-", `\`}
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for i := 0; ; i++ {
		p.mu.Lock()
		what := p.what
		p.mu.Unlock()
		line := fmt.Sprintf("%s %s: %d s", frames[i%len(frames)], s.printable(what), int(time.Since(p.began).Seconds()))
		if runes := []rune(line); len(runes) > Width-1 {
			line = string(runes[:Width-1]) // a line that wraps cannot be erased
		}
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		select {
		case <-ticker.C:
		case <-p.closed:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		}
	}
}
