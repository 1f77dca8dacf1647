package connect

import (
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/probes/guard"
	"github.com/pullprobe/pullprobe/probes/view"
)

// Prober probes hosts from this node. It resolves, dials and trusts as the
// runtime process does.
type Prober struct {
	view.Node // what the runtime process sees

	// Limits bounds a call in time; the zero value means the defaults.
	Limits Limits
	// Guard says which hosts may be contacted.
	Guard guard.Guard
	// ExpirySoon is how many days before its end a certificate is reported to
	// expire soon; 0: none is.
	ExpirySoon int
	// ResolverPort is the port of the resolvers; 0 means 53.
	ResolverPort uint16

	call *call // what is shared within one call; nil outside of one
}

const (
	UserAgent      = "pullprobe"
	MaxHeaderBytes = 16 << 10 // of one answer's header
)

// NewProber returns a prober for what the runtime process sees.
func NewProber(n *view.Node) *Prober { return &Prober{Node: *n, ExpirySoon: 14} }

// Limits are the deadlines of one call of a [Prober]. A deadline shorter than the
// runtime's own is marked in the evidence (deadline=true), so that a black hole
// costs seconds here and is still distinguished from a refusal. They leave room for
// one black hole at any step after a silent first resolver (which costs one second,
// see resolverGrace). A step that the end of the whole call cuts short is unknown,
// not failed.
type Limits struct {
	Overall time.Duration // the whole call; 4 s
	DNS     time.Duration // one host's name, all resolvers and search domains; 2.5 s
	Dial    time.Duration // one TCP connection, or the tunnel through a proxy; 2.5 s
	TLS     time.Duration // one handshake; 2 s
	HTTP    time.Duration // one request to the end of its answer; 2.5 s
}

// WithDefaults returns l with the default for each deadline that is not set.
func (l Limits) WithDefaults() Limits {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&l.Overall, 4*time.Second)
	set(&l.DNS, 2500*time.Millisecond)
	set(&l.Dial, 2500*time.Millisecond)
	set(&l.TLS, 2*time.Second)
	set(&l.HTTP, 2500*time.Millisecond)
	return l
}

// call is what all hosts of one call share.
type call struct {
	slowResolvers sync.Map // those (netip.AddrPort) that kept an answer back: waited for only once
	keepConns     bool     // a connection whose handshake passed is kept for the request that follows
}
