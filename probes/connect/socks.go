package connect

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
)

// errNotSOCKS is the error of a proxy that answers in another protocol.
var errNotSOCKS = errors.New("not a SOCKS5 answer")

// Replies of a SOCKS5 proxy (RFC 1928 section 6) and two of our own.
const (
	socksNotAllowed = 2
	socksNoMethod   = 0xff // none of the authentication methods that we offer (section 3)
	socksBadLogin   = 0xfe // user name or password refused (RFC 1929)
)

// socksConnect requests a connection to name and port from the SOCKS5 proxy at the
// other end of conn. Like Go's net/http it lets the proxy resolve the name, for
// socks5 as for socks5h. (golang.org/x/net/proxy would turn the reply code into
// text.)
func socksConnect(conn net.Conn, name, port string, user *url.Userinfo) error {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(name) > 255 {
		return errNotSOCKS
	}
	methods := []byte{5, 1, 0}
	if user != nil {
		methods = []byte{5, 2, 0, 2}
	}
	if _, err := conn.Write(methods); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch {
	case answer[0] != 5:
		return errNotSOCKS
	case answer[1] == 2 && user != nil:
		password, _ := user.Password()
		if len(user.Username()) > 255 || len(password) > 255 {
			return &ProxyError{socks: socksBadLogin}
		}
		login := append([]byte{1, byte(len(user.Username()))}, user.Username()...)
		login = append(append(login, byte(len(password))), password...)
		if _, err := conn.Write(login); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer[:]); err != nil {
			return err
		}
		if answer[1] != 0 {
			return &ProxyError{socks: socksBadLogin}
		}
	case answer[1] != 0:
		return &ProxyError{socks: socksNoMethod}
	}

	ask := []byte{5, 1, 0}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is4() {
		ask = append(append(ask, 1), addr.AsSlice()...)
	} else if err == nil {
		ask = append(append(ask, 4), addr.AsSlice()...)
	} else {
		ask = append(append(ask, 3, byte(len(name))), name...)
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint16(ask, uint16(number))); err != nil {
		return err
	}
	var head [5]byte // version, reply, 0, kind of address, its first byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[0] != 5 {
		return errNotSOCKS
	}
	if head[1] != 0 {
		return &ProxyError{socks: int(head[1])}
	}
	rest, ok := map[byte]int{1: 4, 3: int(head[4]) + 1, 4: 16}[head[3]]
	if !ok {
		return errNotSOCKS
	}
	_, err = io.ReadFull(conn, make([]byte, rest-1+2))
	return err
}

// socksFailure returns what the reply of a SOCKS5 proxy means.
func socksFailure(reply int) Failure {
	number := strconv.Itoa(reply)
	f := Failure{
		Cause:   report.RegistryUnavailable,
		Message: "the proxy could not connect (SOCKS reply " + number + ")",
		Facts:   evidence.Facts{report.KeySOCKSReply: number, report.KeyStep: "connect", report.KeyProxyStatus: "SOCKS " + number},
	}
	switch reply {
	case socksNotAllowed:
		f.Cause, f.Message = report.ProxyDenied, "the proxy does not allow the connection (SOCKS reply 2)"
	case socksNoMethod:
		f.Cause, f.Message = report.ProxyDenied, "the proxy requires another kind of login than the runtime has"
	case socksBadLogin:
		f.Cause, f.Message = report.ProxyDenied, "the proxy rejects the login in its URL"
	case 3:
		f.addInner(report.NetworkUnreachable, "network unreachable")
	case 4:
		f.addInner(report.NetworkUnreachable, "host unreachable")
	case 5:
		f.addInner(report.ConnectionRefused, "connection refused")
	case 6:
		f.addInner(report.ConnectionTimeout, "timed out")
	}
	return f
}
