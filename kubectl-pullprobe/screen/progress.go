package screen

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress is a line on a terminal that says what is waited for, with the seconds that have
// passed. It is erased at the end. On anything else than a terminal there is none.
type Progress struct {
	w     io.Writer
	style Style
	began time.Time

	mu     sync.Mutex
	what   string
	closed chan struct{}
	done   chan struct{}
}

// NewProgress begins to show progress on w, if it is a terminal of this style.
func NewProgress(w io.Writer, s Style, what string) *Progress {
	p := &Progress{w: w, style: s, began: time.Now(), what: what, closed: make(chan struct{}), done: make(chan struct{})}
	if !s.Terminal {
		close(p.done)
		return p
	}
	go p.show()
	return p
}

// Say writes a text above the line.
func (p *Progress) Say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.style.Terminal {
		fmt.Fprint(p.w, erase)
	}
	t := NewText(p.style)
	t.Remark("", text)
	fmt.Fprint(p.w, t)
}

// erase begins the line again.
const erase = "\r\x1b[K"

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

func (p *Progress) show() {
	defer close(p.done)
	s := p.style
	frames := []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"}
	if s.ASCII {
		frames = []string{"|", "/", "-", `\`}
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for i := 0; ; i++ {
		p.draw(frames[i%len(frames)])
		select {
		case <-ticker.C:
		case <-p.closed:
			fmt.Fprint(p.w, erase)
			return
		}
	}
}

func (p *Progress) draw(frame string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("%s %s: %d s", frame, p.style.printable(p.what), int(time.Since(p.began).Seconds()))
	if runes := []rune(line); len(runes) > Width-1 {
		line = string(runes[:Width-1]) // a line that wraps cannot be erased
	}
	fmt.Fprint(p.w, erase+line)
}
