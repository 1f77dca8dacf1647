package examine

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownAddressTTL is the age at which the node's addresses are read again.
const ownAddressTTL = 10 * time.Second

// ownAddresses caches the addresses of the node. They are the node's only if this
// process shares its network; otherwise they are those of the pod.
type ownAddresses struct {
	mu   sync.Mutex
	list []netip.Addr
	at   time.Time
}

func (a *ownAddresses) get() []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < ownAddressTTL {
		return a.list
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return a.list // the previous addresses remain valid
	}
	a.list, a.at = exclude(all, interfaceAddresses(ipvsInterface)), time.Now()
	return a.list
}

// ipvsInterface is where kube-proxy in IPVS mode binds the addresses of all
// Services, on every node. A registry behind a Service is not on this node for
// that.
const ipvsInterface = "kube-ipvs0"

// interfaceAddresses returns the addresses of an interface; none if it does not
// exist.
func interfaceAddresses(name string) []net.Addr {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	list, err := i.Addrs()
	if err != nil {
		return nil
	}
	return list
}

// exclude returns the addresses in all that are not among others. Link-local
// addresses are left out: they are refused in any case.
func exclude(all, others []net.Addr) (out []netip.Addr) {
	excluded := map[netip.Addr]bool{}
	for _, a := range others {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			excluded[p.Addr().Unmap()] = true
		}
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !excluded[p.Addr().Unmap()] && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
