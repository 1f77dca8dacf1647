package connect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// answerClass is the class of one resolver's answer to one query, as Go's resolver
// distinguishes them (net/dnsclient_unix.go: checkHeader and skipToAnswer).
type answerClass uint8

const (
	silent  answerClass = iota // no answer: Go queries the next resolver
	failed                     // an unusable answer, such as SERVFAIL or REFUSED: Go queries the next resolver
	absent                     // NXDOMAIN: final
	empty                      // the name has no record of this type: final
	present                    // addresses: final
)

func (c answerClass) final() bool { return c >= absent }

// answer is that of one resolver to one query.
type answer struct {
	class    answerClass
	addrs    []netip.Addr
	rcode    string // "NXDOMAIN"; empty when silent
	note     string // what is unusual about the answer
	err      error  // why it is silent
	deadline bool   // silent because the probe did not wait longer
	tcp      bool   // queried again over TCP because the answer was truncated
	took     time.Duration
}

// resend is when an unanswered UDP query is sent again.
const resend = 400 * time.Millisecond

// askResolver sends one query to one resolver, over UDP first unless tcp.
func askResolver(ctx context.Context, server netip.AddrPort, name string, qtype uint16, tcp bool) answer {
	start := time.Now()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.AuthenticatedData = true
	m.SetEdns0(1232, false) // as Go does

	network := "udp"
	if tcp {
		network = "tcp"
	}
	r, err := exchangeDNS(ctx, network, server, m)
	if err == nil && r.Truncated && !tcp {
		network = "tcp"
		r, err = exchangeDNS(ctx, network, server, m)
	}
	a := answer{err: err, took: time.Since(start), tcp: network == "tcp" && !tcp}
	if err != nil {
		a.deadline = ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)
		if errors.As(err, new(*malformedError)) || errors.As(err, new(*dns.Error)) {
			a.class, a.note = failed, "an answer that is not DNS"
			if errors.Is(err, dns.ErrId) {
				a.note = "only answers to other queries"
			}
		}
		return a
	}
	a.read(r, name, qtype)
	return a
}

// read classifies a response.
func (a *answer) read(r *dns.Msg, name string, qtype uint16) {
	a.rcode = dns.RcodeToString[r.Rcode]
	for _, rr := range r.Answer[:min(len(r.Answer), 256)] {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			if qtype == dns.TypeA {
				ip = rr.A
			}
		case *dns.AAAA:
			if qtype == dns.TypeAAAA {
				ip = rr.AAAA
			}
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && len(a.addrs) < maxAddresses {
			a.addrs = append(a.addrs, addr.Unmap())
		}
	}
	additional := len(r.Extra)
	if r.IsEdns0() != nil {
		additional--
	}
	switch {
	case r.Rcode == dns.RcodeNameError:
		a.class, a.addrs = absent, nil
	case r.Rcode != dns.RcodeSuccess:
		a.class, a.addrs = failed, nil
	case len(a.addrs) > 0:
		a.class = present
	case !r.Authoritative && !r.RecursionAvailable && len(r.Answer) == 0 && additional == 0:
		a.class, a.note = failed, "a referral: this server does not resolve for clients"
	default:
		a.class = empty
	}
}

// exchangeDNS sends m and waits for the matching response until ctx ends.
func exchangeDNS(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	conn := &dns.Conn{Conn: c, UDPSize: 1232}
	defer conn.Close()
	past := time.Unix(1, 0)
	defer context.AfterFunc(ctx, func() { c.SetDeadline(past) })()

	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	if network == "udp" {
		again := time.AfterFunc(resend, func() { conn.WriteMsg(m) })
		defer again.Stop()
	}
	for range maxStray {
		r, err := readDNS(conn)
		if err != nil {
			return nil, err
		}
		if r.Id == m.Id && r.Response && len(r.Question) == 1 &&
			strings.EqualFold(r.Question[0].Name, m.Question[0].Name) && r.Question[0].Qtype == m.Question[0].Qtype {
			return r, nil
		}
		// An answer to another query: late, or forged. Over TCP there is none.
		if network != "udp" {
			break
		}
	}
	return nil, dns.ErrId
}

// maxStray bounds the answers to other queries that are read.
const maxStray = 64

// readDNS reads one message. Unlike miekg/dns, and like Go, it does not accept fewer
// answers than the header announces.
func readDNS(conn *dns.Conn) (*dns.Msg, error) {
	var header dns.Header
	raw, err := conn.ReadMsgHeader(&header)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return nil, &malformedError{err}
	}
	if len(m.Answer) != int(header.Ancount) && !m.Truncated {
		return nil, &malformedError{dns.ErrShortRead}
	}
	return m, nil
}

// malformedError is an answer that is not DNS.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }
func (e *malformedError) Unwrap() error { return e.err }
