package httpclient

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/report"
)

// A limit that only a question met is no finding, and a host gets a bounded number of
// questions.
func TestBudgetOfQuestions(t *testing.T) {
	b := NewBudget()
	limit := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{}}
	b.spend(limit, "q.lab", true)
	if blocked := b.exhausted("q.lab", false); blocked == nil || blocked.Cause != "" {
		t.Errorf("after a limited question: %+v", blocked)
	}
	b.spend(limit, "q.lab", false)
	if blocked := b.exhausted("q.lab", true); blocked == nil || blocked.Cause != report.RateLimited {
		t.Errorf("after a limited request of the runtime: %+v", blocked)
	}
	b.sentTo("r.lab").Add(maxRequests)
	if b.exhausted("r.lab", true) == nil || b.exhausted("r.lab", false) != nil {
		t.Error("the bound of requests to one host is not one of questions")
	}
}

// A connection that was idle for too long may be closed.
func TestIdleConnection(t *testing.T) {
	idle, far := net.Pipe()
	defer far.Close()
	var c Client
	c.idle.Store(&connect.IdleConn{Conn: idle, Since: time.Now().Add(-2 * idleTTL)})
	if c.reuseIdle() != nil || c.idle.Load() != nil {
		t.Error("an old connection is used")
	}
}

// A host of a URL has more characters than any name or address.
func TestIsHostName(t *testing.T) {
	for in, want := range map[string]bool{
		"r.example": true, "r.example:5000": true, "[2001:db8::1%eth0]:443": true, "a_b": true, "bücher.example": true, "r。example": true,
		"": false, "a;b": false, "$(a)": false, "`a`": false, "a b": false, "a'b": false, "a\"b": false, "a&b": false, "a\x1bb": false,
	} {
		if IsHostName(in) != want {
			t.Errorf("%q: a host is %v", in, !want)
		}
	}
}
