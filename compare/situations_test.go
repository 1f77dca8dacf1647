package compare_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/compare"
	"github.com/pullprobe/pullprobe/compare/nodefacts"
	"github.com/pullprobe/pullprobe/report"
)

var now = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

const (
	reg    = "registry.example"
	image  = "registry.example/shop/web:1"
	maxAge = 10 * time.Minute
)

// ago returns a stamp of so many seconds before now.
func ago(seconds int) nodefacts.Stamp {
	return nodefacts.StampOf(now.Add(-time.Duration(seconds) * time.Second))
}

// up is a host that has been reachable for an hour.
func up(change ...func(*nodefacts.Host)) nodefacts.Host {
	h := nodefacts.Host{
		Name: reg, State: report.Reachable, Since: ago(3600), Checked: ago(10),
		Addresses: []string{"192.0.2.7"}, Certificate: "c0ffee", Issuer: "aaaa",
	}
	for _, c := range change {
		c(&h)
	}
	return h
}

// down is a host that has failed for a minute. A failure before TLS has no certificate, and
// one of the name no address.
func down(c report.Cause, change ...func(*nodefacts.Host)) nodefacts.Host {
	h := up()
	h.State, h.Cause, h.Since, h.Checked = report.Unreachable, c, ago(60), ago(5)
	if c == report.RateLimited {
		h.State = report.Limited
	}
	if c.BeforeTLS() {
		h.Certificate, h.Issuer = "", ""
	}
	if c.Stage() == report.StageDNS {
		h.Addresses = nil
	}
	for _, c := range change {
		c(&h)
	}
	return h
}

func at(address ...string) func(*nodefacts.Host) {
	return func(h *nodefacts.Host) { h.Addresses = address }
}

func shows(certificate, issuer string) func(*nodefacts.Host) {
	return func(h *nodefacts.Host) { h.Certificate, h.Issuer = certificate, issuer }
}

func status(code int) func(*nodefacts.Host) { return func(h *nodefacts.Host) { h.Status = code } }

func times(since, checked int) func(*nodefacts.Host) {
	return func(h *nodefacts.Host) { h.Since, h.Checked = ago(since), ago(checked) }
}

func clock(seconds int) func(*nodefacts.Host) { return func(h *nodefacts.Host) { h.Clock = &seconds } }

func claims(f report.Fault) func(*nodefacts.Host) { return func(h *nodefacts.Host) { h.Fault = f } }

func named(host string) func(*nodefacts.Host) { return func(h *nodefacts.Host) { h.Name = host } }

func onlyAsked(h *nodefacts.Host) { h.Asked = true }

// mirrored has a hosts.toml that names further hosts; none: it names the host itself alone.
func mirrored(mirrors ...string) func(*nodefacts.Host) {
	return func(h *nodefacts.Host) { h.Mirrors, h.HostsTOML = mirrors, "70a1" }
}

// sure is a node's own verdict that the registry is at fault.
func sure(c report.Cause) nodefacts.Image {
	i := misses(c, 30)
	i.Confidence = report.Confirmed
	return i
}

func flapping(h *nodefacts.Host) { h.Flapping = true }

// option changes a node.
type option func(*Node)

// node returns a node of its own zone and subnet, with its own resolver and egress, so that
// nothing is shared by accident.
func node(name string, what ...any) Node {
	n := Node{
		Name: name,
		Traits: Traits{
			TraitZone: "zone-" + name, TraitSubnet: "subnet-" + name, TraitArch: "amd64", TraitEgress: "198.51.100." + fmt.Sprint(len(name)) + name,
		},
		Facts: &nodefacts.Facts{
			Version: 1, At: ago(5), Control: report.Pass,
			Node: nodefacts.Traits{Resolvers: []string{"resolver-" + name}, Proxy: report.None, CA: "ca"},
		},
	}
	for _, w := range what {
		switch w := w.(type) {
		case nodefacts.Host:
			n.Facts.Hosts = append(n.Facts.Hosts, w)
		case nodefacts.Image:
			n.Facts.Images = append(n.Facts.Images, w)
		case option:
			w(&n)
		default:
			panic(fmt.Sprintf("%T", w))
		}
	}
	return n
}

func trait(name, value string) option { return func(n *Node) { n.Traits[name] = value } }
func resolver(r ...string) option     { return func(n *Node) { n.Facts.Node.Resolvers = r } }
func proxy(p string) option           { return func(n *Node) { n.Facts.Node.Proxy = p } }
func fresh(seconds int) option        { return func(n *Node) { n.Facts.Fresh = seconds } }
func pool(digest string) option       { return func(n *Node) { n.Facts.Node.CA = digest } }
func silent() option                  { return func(n *Node) { n.Facts = nil } }
func cutOff(c report.Cause) option {
	return func(n *Node) { n.Facts.Control, n.Facts.Cause = report.Fail, c }
}
func asks(host ...string) option { return func(n *Node) { n.Facts.Asks = host } }
func guess() option              { return func(n *Node) { n.Facts.Weak = true } }

// many returns nodes that are the same but for their names.
func many(prefix string, count int, of func(name string) Node) []Node {
	var out []Node
	for i := range count {
		out = append(out, of(fmt.Sprintf("%s%02d", prefix, i)))
	}
	return out
}

func misses(c report.Cause, checked int, missing ...string) nodefacts.Image {
	return nodefacts.Image{
		Name: image, Cause: c, Fault: c.DefaultFault(), Confidence: report.Likely, Checked: ago(checked), Host: reg, Missing: missing,
	}
}

func has(checked int, found ...string) nodefacts.Image {
	return nodefacts.Image{
		Name: image, Cause: report.Healthy, Fault: report.FaultNone, Confidence: report.Confirmed, Checked: ago(checked), Found: found,
	}
}

type situation struct {
	name  string
	nodes []Node
	want  []string // "rule name: fault cause confidence; apart by traits", in order
}

func (s situation) input() Input { return Input{Now: now, MaxAge: maxAge, Nodes: s.nodes} }

// short returns a finding as a situation writes it.
func short(f Finding) string {
	name := f.Name
	if f.Also.Count > 0 {
		name += fmt.Sprintf(" (and %d more)", f.Also.Count)
	}
	s := fmt.Sprintf("%s %s: %s %s %s", f.Rule, name, f.Fault, f.Cause, f.Confidence)
	var apart []string
	for _, a := range f.SetsApart {
		apart = append(apart, a.Trait+" "+a.Value)
	}
	if len(apart) > 0 {
		s += "; apart by " + strings.Join(apart, ", ")
	}
	return s
}

func situations() []situation {
	return slices.Concat(hostSituations(), imageSituations(), nodeSituations())
}

func hostSituations() []situation {
	return slices.Concat(whereSomeFail(), aboutTime(), whereAllFail(), aboutNames(), aboutCertificates(), aboutAnswers())
}

func whereSomeFail() []situation {
	timeout := report.ConnectionTimeout
	untrusted := report.CertificateUntrusted
	subnet := trait(TraitSubnet, "10.1.9.0/24")
	return []situation{
		{"all get through", []Node{node("a", up()), node("b", up()), node("c", up())}, nil},
		{
			"firewall on one", []Node{node("a", down(timeout)), node("b", up()), node("c", up())},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed"},
		},
		{
			"firewall on one, a single other has checked", []Node{node("a", down(timeout)), node("b", up())},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"firewall on two that share a subnet",
			[]Node{node("a", down(timeout), subnet), node("b", down(timeout), subnet), node("c", up()), node("d", up())},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed; apart by subnet 10.1.9.0/24"},
		},
		{
			"a node of that subnet gets through",
			[]Node{node("a", down(timeout), subnet), node("b", down(timeout), subnet), node("c", up()), node("d", up(), subnet)},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed"},
		},
		{
			"two traits set them apart",
			[]Node{
				node("a", down(timeout), subnet, pool("0ca")), node("b", down(timeout), subnet, pool("0ca")), node("c", up()), node("d", up()),
			},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed; apart by subnet 10.1.9.0/24, CA pool 0ca"},
		},
		{
			"a trait that is not known of one",
			[]Node{
				node("a", down(timeout), pool("0ca")), node("b", down(timeout), pool("0ca")), node("c", up()), node("d", up(), pool("")),
			},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed"},
		},
		{
			"refused here and no answer there",
			[]Node{node("a", down(timeout)), node("b", down(report.ConnectionRefused)), node("c", up()), node("d", up())},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionRefused confirmed"},
		},
		{
			"two different failures", []Node{node("a", down(timeout)), node("b", down(untrusted)), node("c", up()), node("d", up())},
			[]string{
				"same-certificate registry.example: node-infrastructure CertificateUntrusted confirmed",
				"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed",
			},
		},
		{
			"other addresses, and who gets through has many",
			[]Node{node("a", down(timeout, at("192.0.2.1"))), node("b", up(at("192.0.2.2"))), node("c", up(at("192.0.2.3")))},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"no handshake on one, at another address", []Node{
				node("a", down(report.TLSHandshakeFailed, at("192.0.2.1"))), node("b", up(at("192.0.2.2"))), node("c", up(at("192.0.2.3"))),
			},
			[]string{"these-nodes registry.example: node-infrastructure TLSHandshakeFailed likely"},
		},
		{
			"a node that is reachable by turns", []Node{node("a", down(timeout, flapping)), node("b", up()), node("c", up())},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"a cause that is not known here", []Node{node("a", down(report.Undetermined)), node("b", up()), node("c", up())},
			[]string{"these-nodes registry.example: node-infrastructure Undetermined likely"},
		},
		{
			"one gets through and many do not", append(many("n", 5, func(n string) Node { return node(n, down(timeout)) }), node("x", up())),
			[]string{"one-against-many registry.example: undetermined ConnectionTimeout undetermined"},
		},
	}
}

func aboutTime() []situation {
	timeout := report.ConnectionTimeout
	return []situation{
		{
			"a good observation from before the failure", []Node{
				node("a", down(timeout)), node("b", down(timeout)), node("c", down(timeout)), node("d", up(times(3600, 90))),
			},
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{
			"most have not checked since",
			[]Node{node("a", down(timeout)), node("b", up(times(3600, 90))), node("c", up(times(3600, 61)))},
			[]string{"too-few-since registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"it came back, and one has not checked again", []Node{
				node("a", down(timeout, times(300, 200))), node("b", up(times(100, 10))), node("c", up(times(100, 10))),
			},
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"an old failure that its node says is still so",
			[]Node{node("a", down(timeout, times(3600, 601)), fresh(900)), node("b", up(times(7200, 650)), fresh(900)), node("c", up(times(7200, 3601)), fresh(7200))},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"an old failure", []Node{node("a", down(timeout, times(3600, 601))), node("b", up()), node("c", up())},
			nil,
		},
		{
			"old good observations",
			[]Node{node("a", down(timeout, times(3600, 5))), node("b", up(times(7200, 601))), node("c", up(times(7200, 601)))},
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"good observations from the future",
			[]Node{node("a", down(timeout)), node("b", up(times(60, -600))), node("c", up(times(60, -600)))},
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"others could not check", []Node{
				node("a", down(timeout)), node("b", up(func(h *nodefacts.Host) { h.State = report.ReachUnknown })), node("c", silent()),
			},
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"an expired certificate that one node has seen", []Node{node("a", down(report.CertificateExpired, claims(report.FaultRegistry))), node("b"), node("c")},
			[]string{"one-node registry.example: registry CertificateExpired likely"},
		},
		{
			"a rate limit that one node has met", []Node{node("a", down(report.RateLimited, claims(report.FaultRegistry))), node("b")},
			[]string{"one-node registry.example: registry RateLimited likely"},
		},
		{
			"a certificate that one node does not trust; the others got through before", []Node{
				node("a", down(report.CertificateUntrusted, claims(report.FaultNode))), node("b", up(times(3600, 90))),
			},
			[]string{"too-few-since registry.example: node-infrastructure CertificateUntrusted likely"},
		},
		{
			"a host that does not answer the only node that has checked: the claim of the node does not count", []Node{node("a", down(timeout, claims(report.FaultNode))), node("b")},
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"the verdict of the only node on an image", []Node{
				node("a", down(timeout), nodefacts.Image{
					Name: image, Host: reg, Cause: timeout, Fault: report.FaultNode, Confidence: report.Confirmed, Checked: ago(5),
				}), node("b"),
			},
			[]string{"one-node registry.example: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"the only other node is cut off", []Node{node("a", down(timeout)), node("b", down(timeout), cutOff(timeout))},
			[]string{
				"reaches-nothing b: node-infrastructure ConnectionTimeout likely",
				"one-node registry.example: undetermined ConnectionTimeout undetermined",
			},
		},
	}
}

func whereAllFail() []situation {
	timeout := report.ConnectionTimeout
	nowhere := report.HostNotFound
	oneProxy := proxy("http://proxy.example:3128")
	subnet := trait(TraitSubnet, "10.1.9.0/24")
	return []situation{
		{
			"down for all", []Node{node("a", down(timeout)), node("b", down(timeout)), node("c", down(report.ConnectionRefused))},
			[]string{"down-for-all registry.example: registry ConnectionTimeout confirmed"},
		},
		{
			"down for two", []Node{node("a", down(timeout)), node("b", down(timeout))},
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{
			"down for all behind one resolver", many("n", 3, func(n string) Node { return node(n, down(timeout), resolver("10.0.0.2")) }),
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{
			"down for all behind one egress",
			many("n", 3, func(n string) Node { return node(n, down(timeout), trait(TraitEgress, "198.51.100.1")) }),
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{
			"down for all in one subnet", many("n", 3, func(n string) Node { return node(n, down(timeout), subnet) }),
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{
			"an error for all behind one proxy",
			many("n", 3, func(n string) Node { return node(n, down(report.RegistryUnavailable), oneProxy) }),
			[]string{"answers-all registry.example: registry RegistryUnavailable likely"},
		},
		{
			"an error for all", many("n", 3, func(n string) Node { return node(n, down(report.RegistryUnavailable)) }),
			[]string{"answers-all registry.example: registry RegistryUnavailable confirmed"},
		},
		{
			"an error for two", many("n", 2, func(n string) Node { return node(n, down(report.RegistryUnavailable)) }),
			[]string{"answers-all registry.example: registry RegistryUnavailable likely"},
		},
		{
			"an error for two, and each has confirmed it",
			many("n", 2, func(n string) Node {
				return node(n, down(report.RegistryUnavailable), sure(report.RegistryUnavailable))
			}),
			[]string{"answers-all registry.example: registry RegistryUnavailable confirmed"},
		},
		{
			"an error for two behind one proxy, and each has confirmed it", many("n", 2, func(n string) Node {
				return node(n, down(report.RegistryUnavailable), sure(report.RegistryUnavailable), oneProxy)
			}),
			[]string{"answers-all registry.example: registry RegistryUnavailable likely"},
		},
		{
			"an error for two, and one has confirmed it", []Node{
				node("a", down(report.RegistryUnavailable), sure(report.RegistryUnavailable)), node("b", down(report.RegistryUnavailable)),
			},
			[]string{"answers-all registry.example: registry RegistryUnavailable likely"},
		},
		{
			"an error that one node alone has confirmed",
			[]Node{node("a", down(report.RegistryUnavailable, claims(report.FaultRegistry)), sure(report.RegistryUnavailable)), node("b")},
			[]string{"one-node registry.example: registry RegistryUnavailable likely"},
		},
		{
			"no connection for two, and each has confirmed it",
			many("n", 2, func(n string) Node {
				i := sure(timeout)
				i.Fault = report.FaultRegistry
				return node(n, down(timeout), i)
			}),
			[]string{"down-for-all registry.example: registry ConnectionTimeout likely"},
		},
		{"who only was asked fails, and no other", []Node{node("a", down(timeout, onlyAsked)), node("b", up()), node("c", up())}, nil},
		{
			"who only was asked fails in another way",
			[]Node{node("a", down(timeout, onlyAsked)), node("b", down(report.RegistryUnavailable)), node("c", up()), node("d", up())},
			[]string{"answers-some registry.example: undetermined RegistryUnavailable undetermined"},
		},
		{
			"who only was asked fails, and a node that asks has the host in no sweep",
			[]Node{node("a", asks(reg)), node("b", down(timeout, onlyAsked)), node("c", up(onlyAsked)), node("d", up(onlyAsked))},
			nil,
		},
		{
			"an error for one", []Node{node("a", down(report.RegistryUnavailable)), node("b", up()), node("c", up())},
			[]string{"answers-some registry.example: undetermined RegistryUnavailable undetermined"},
		},
		{
			"an error for two of four", []Node{node("a", down(report.RegistryUnavailable)), node("b", down(report.RegistryUnavailable)), node("c", up()), node("d", up())},
			[]string{"answers-some registry.example: registry RegistryUnavailable likely"},
		},
		{
			"down for all, and no route from a node without the family",
			append(many("n", 3, func(n string) Node { return node(n, down(timeout, at("2001:db8::1"))) }),
				node("v4", down(report.NetworkUnreachable, at("2001:db8::1")), trait(TraitSubnet, "10.1.9.0/24"))),
			[]string{"down-for-all registry.example: registry ConnectionTimeout confirmed"},
		},
		{
			"down for one, and no route from nodes without the family",
			append(many("v4", 3, func(n string) Node {
				return node(n, down(report.NetworkUnreachable, at("2001:db8::1")), trait(TraitSubnet, "10.1.9.0/24"))
			}), node("n", down(timeout, at("2001:db8::1")))),
			[]string{"one-node registry.example: undetermined ConnectionTimeout undetermined"},
		},
		{
			"no handshake for all", many("n", 3, func(n string) Node { return node(n, down(report.TLSHandshakeFailed)) }),
			[]string{"down-for-all registry.example: registry TLSHandshakeFailed confirmed"},
		},
		{
			"no resolver answers",
			many("n", 3, func(n string) Node { return node(n, down(report.ResolverUnreachable), resolver("10.0.0.2")) }),
			[]string{"node-cause-everywhere registry.example: node-infrastructure ResolverUnreachable likely"},
		},
		{
			"all fail, and none says why", many("n", 3, func(n string) Node { return node(n, down(report.Undetermined)) }),
			[]string{"unclear-for-all registry.example: undetermined Undetermined undetermined"},
		},
		{
			"all fail in different ways", []Node{node("a", down(nowhere)), node("b", down(timeout)), node("c", down(timeout))},
			[]string{
				"all-differ registry.example: undetermined ConnectionTimeout undetermined",
				"all-differ registry.example: undetermined HostNotFound undetermined",
			},
		},
	}
}

func aboutNames() []situation {
	timeout := report.ConnectionTimeout
	nowhere := report.HostNotFound
	return []situation{
		{
			"a name that exists nowhere", many("n", 3, func(n string) Node { return node(n, down(nowhere)) }),
			[]string{"name-nowhere registry.example: cluster-config HostNotFound confirmed"},
		},
		{
			"a name that one resolver has not", many("n", 3, func(n string) Node { return node(n, down(nowhere), resolver("10.0.0.2")) }),
			[]string{"name-nowhere registry.example: cluster-config HostNotFound likely"},
		},
		{
			"a name that two nodes cannot resolve", many("n", 2, func(n string) Node { return node(n, down(nowhere)) }),
			[]string{"name-nowhere registry.example: cluster-config HostNotFound likely"},
		},
		{
			"a name that one node's hosts.toml has", []Node{
				node("a", down(nowhere), nodefacts.Image{
					Name: "elsewhere.lab/app:1", Host: reg, Cause: nowhere, Fault: report.FaultNode, Confidence: report.Likely,
				}),
				node("b", down(nowhere)),
			},
			[]string{"name-in-a-file registry.example: node-infrastructure HostNotFound likely"},
		},
		{
			"a mirror's name that no node resolves, and pulls go to the upstream",
			[]Node{node("a", down(nowhere), up(named("up.example"), mirrored(reg, "up.example"))), node("b", down(nowhere, onlyAsked))},
			[]string{"name-in-a-file registry.example: node-infrastructure HostNotFound likely"},
		},
		{
			"a name that images have too", []Node{
				node("a", down(nowhere), nodefacts.Image{
					Name: "elsewhere.lab/app:1", Host: reg, Cause: nowhere, Fault: report.FaultNode, Confidence: report.Likely,
				}, nodefacts.Image{
					Name: reg + "/app:1", Host: reg, Cause: nowhere, Fault: report.FaultConfig, Confidence: report.Likely,
				}),
				node("b", down(nowhere)),
			},
			[]string{"name-nowhere registry.example: cluster-config HostNotFound likely"},
		},
		{
			"a public registry that no node resolves", many("n", 3, func(n string) Node {
				h := down(nowhere)
				h.Name = "registry-1.docker.io"
				return node(n, h)
			}),
			[]string{"public-name-nowhere registry-1.docker.io: node-infrastructure HostNotFound likely"},
		},
		{
			"a name that one resolver alone knows", []Node{node("a", down(nowhere)), node("b", down(nowhere)), node("c", up())},
			[]string{"name-known-elsewhere registry.example: node-infrastructure HostNotFound likely"},
		},
		{
			"a name that one resolver alone lacks", []Node{node("a", down(nowhere)), node("b", up()), node("c", up())},
			[]string{"name-known-elsewhere registry.example: node-infrastructure HostNotFound confirmed"},
		},
		{
			"one resolver has the name by turns", []Node{
				node("a", down(nowhere), resolver("10.0.0.2")), node("b", up(), resolver("10.0.0.2")), node("c", up(), resolver("10.0.0.2")),
			},
			[]string{"name-known-elsewhere registry.example: node-infrastructure HostNotFound likely"},
		},
		{
			"another address on one", []Node{node("a", down(timeout, at("192.0.2.99"))), node("b", up()), node("c", up())},
			[]string{"another-address registry.example: node-infrastructure ResolverWrongAnswer likely"},
		},
		{
			"this machine as the address",
			[]Node{node("a", down(report.ConnectionRefused, at("127.0.0.1"))), node("b", up()), node("c", up())},
			[]string{"another-address registry.example: node-infrastructure ResolverWrongAnswer confirmed"},
		},
		{
			"an address of this machine, where others have one too", []Node{
				node("a", down(report.ConnectionRefused, at("127.0.0.2"))), node("b", up(at("127.0.0.1"))), node("c", up(at("127.0.0.1"))),
			},
			[]string{"another-address registry.example: node-infrastructure ResolverWrongAnswer likely"},
		},
		{
			"an error from another address",
			[]Node{node("a", down(report.RegistryUnavailable, at("192.0.2.99"))), node("b", up()), node("c", up())},
			[]string{"answers-some registry.example: undetermined RegistryUnavailable undetermined"},
		},
	}
}

func aboutCertificates() []situation {
	untrusted := report.CertificateUntrusted
	return []situation{
		{
			"another certificate on one", []Node{node("a", down(untrusted, shows("bad", "bbbb"))), node("b", up()), node("c", up())},
			[]string{"another-certificate registry.example: node-infrastructure TLSIntercepted confirmed"},
		},
		{
			"another issuer, by its name alone", []Node{
				node("a", down(untrusted, shows("", "bbbb"))), node("b", up(shows("", "aaaa"))), node("c", up(shows("", "aaaa"))),
			},
			[]string{"another-certificate registry.example: node-infrastructure TLSIntercepted likely"},
		},
		{
			"another certificate, by an issuer that is not known",
			[]Node{node("a", down(untrusted, shows("bad", ""))), node("b", up(shows("c0ffee", ""))), node("c", up(shows("c0ffee", "")))},
			[]string{"another-certificate registry.example: node-infrastructure TLSIntercepted likely"},
		},
		{
			"another certificate at another address",
			[]Node{node("a", down(untrusted, at("192.0.2.99"), shows("bad", "bbbb"))), node("b", up()), node("c", up(at("192.0.2.8")))},
			[]string{"another-certificate registry.example: node-infrastructure TLSIntercepted likely"},
		},
		{
			"every node sees another certificate",
			[]Node{node("a", down(untrusted, shows("bad", "bbbb"))), node("b", up(shows("beef", "aaaa"))), node("c", up())},
			[]string{"another-certificate registry.example: node-infrastructure TLSIntercepted likely"},
		},
		{
			"another certificate of the same issuer",
			[]Node{node("a", down(untrusted, shows("new", "aaaa"))), node("b", up()), node("c", up())},
			[]string{"these-nodes registry.example: node-infrastructure CertificateUntrusted likely"},
		},
		{
			"CA missing on two of three",
			[]Node{node("a", down(untrusted), pool("0ca")), node("b", down(untrusted), pool("0ca")), node("c", up())},
			[]string{"same-certificate registry.example: node-infrastructure CertificateUntrusted likely"},
		},
		{
			"CA missing on two of four", []Node{
				node("a", down(untrusted), pool("0ca")), node("b", down(untrusted), pool("0ca")), node("c", up()), node("d", up()),
			},
			[]string{"same-certificate registry.example: node-infrastructure CertificateUntrusted confirmed; apart by CA pool 0ca"},
		},
		{
			"expired for one that has the same certificate",
			[]Node{node("a", down(report.CertificateExpired)), node("b", up()), node("c", up())},
			[]string{"same-certificate registry.example: node-infrastructure CertificateExpired likely"},
		},
		{
			"an expired certificate on one machine",
			[]Node{node("a", down(report.CertificateExpired, shows("old", "aaaa"))), node("b", up()), node("c", up())},
			[]string{"answers-some registry.example: undetermined CertificateExpired undetermined"},
		},
		{
			"expired for all", many("n", 3, func(n string) Node { return node(n, down(report.CertificateExpired, clock(0))) }),
			[]string{"answers-all registry.example: registry CertificateExpired confirmed"},
		},
		{
			"expired for all, by clocks that differ from the registry's", many("n", 3, func(n string) Node {
				return node(n, down(report.CertificateExpired, clock(86400)))
			}),
			[]string{"answers-all registry.example: registry CertificateExpired likely"},
		},
		{
			"expired for a clock that is wrong", []Node{
				node("a", down(report.CertificateExpired, clock(86400), times(60-86400, 5-86400))), node("b", up(clock(0))), node("c", up(clock(1))),
			},
			[]string{
				"their-clock registry.example: node-infrastructure ClockSkewed confirmed",
				"clock-differs a: node-infrastructure ClockSkewed confirmed",
			},
		},
	}
}

func aboutAnswers() []situation {
	return []situation{
		{
			"forbidden on one", []Node{node("a", up(status(403))), node("b", up()), node("c", up())},
			[]string{"forbidden-some registry.example: node-infrastructure AccessForbidden likely"},
		},
		{"forbidden for all, as some registries answer", many("n", 3, func(n string) Node { return node(n, up(status(403))) }), nil},
		{
			"limited for some", []Node{node("a", down(report.RateLimited)), node("b", up()), node("c", up())},
			[]string{"limited-some registry.example: registry RateLimited likely"},
		},
		{
			"limited behind one egress", []Node{
				node("a", down(report.RateLimited), trait(TraitEgress, "198.51.100.1")),
				node("b", down(report.RateLimited), trait(TraitEgress, "198.51.100.1")), node("c", up()), node("d", up()),
			},
			[]string{"limited-some registry.example: registry RateLimited confirmed; apart by egress address 198.51.100.1"},
		},
		{
			"limited though others behind the same egress are not", many("n", 4, func(n string) Node {
				h := up()
				if n < "n02" {
					h = down(report.RateLimited)
				}
				return node(n, h, trait(TraitEgress, "198.51.100.1"))
			}),
			[]string{"limited-some registry.example: registry RateLimited likely"},
		},
		{
			"limited for all", many("n", 3, func(n string) Node { return node(n, down(report.RateLimited)) }),
			[]string{"limited-all registry.example: registry RateLimited confirmed"},
		},
	}
}

func imageSituations() []situation {
	const mirror = "mirror.example"
	missing := report.TagNotFound
	return []situation{
		{
			"a mirror lacks a tag", []Node{node("a", misses(missing, 30, mirror)), node("b", has(60, reg)), node("c", has(10, reg))},
			[]string{"mirror-lacks-it " + image + ": node-infrastructure MirrorFaulty confirmed"},
		},
		{
			"a mirror lacks a tag that a node finds whose own pull is still running",
			[]Node{node("a", misses(missing, 30, mirror)), node("b", func() nodefacts.Image {
				i := has(60, reg)
				i.Cause, i.Fault, i.Confidence = report.Undetermined, report.FaultUndetermined, report.ConfidenceUndetermined
				return i
			}())},
			[]string{"mirror-lacks-it " + image + ": node-infrastructure MirrorFaulty likely"},
		},
		{
			"a mirror lacked a tag before it was seen",
			[]Node{node("a", misses(missing, 60, mirror)), node("b", has(30, reg)), node("c", has(10, reg))},
			[]string{"mirror-lacks-it " + image + ": node-infrastructure MirrorFaulty likely"},
		},
		{
			"a mirror lacks a tag that was seen before only",
			[]Node{node("a", misses(missing, 5, mirror)), node("b", has(30, reg)), node("c", has(10, reg))},
			[]string{"mirror-lacks-it " + image + ": node-infrastructure MirrorFaulty likely"},
		},
		{
			"the registry lacks what a mirror keeps",
			[]Node{node("a", misses(missing, 30, reg)), node("b", has(60, mirror)), node("c", has(10, mirror))},
			[]string{"found-elsewhere " + image + ": undetermined TagNotFound undetermined"},
		},
		{
			"mirror and registry lack a tag that others found in the registry",
			[]Node{node("a", misses(missing, 30, mirror, reg)), node("b", has(60, reg)), node("c", has(10, reg))},
			[]string{"found-elsewhere " + image + ": undetermined TagNotFound undetermined"},
		},
		{
			"a tag that was there for one", []Node{node("a", misses(missing, 30, reg)), node("b", has(60, reg))},
			[]string{"found-elsewhere " + image + ": undetermined TagNotFound undetermined"},
		},
		{
			"a tag that no node finds, and none is certain",
			many("n", 3, func(n string) Node { return node(n, misses(missing, 30, reg)) }),
			[]string{"image-everywhere " + image + ": cluster-config TagNotFound likely"},
		},
		{
			"a tag that no node finds", many("n", 2, func(n string) Node {
				i := misses(missing, 30, reg)
				i.Confidence = report.Confirmed
				return node(n, i)
			}),
			[]string{"image-everywhere " + image + ": cluster-config TagNotFound confirmed"},
		},
		{"a tag that one node does not find", []Node{node("a", misses(missing, 30, reg)), node("b")}, nil},
		{
			"credentials on some",
			[]Node{node("a", misses(report.CredentialsMissing, 30)), node("b", has(30, reg)), node("c", has(30, reg))},
			nil,
		},
		{
			"a credential provider on one",
			[]Node{node("a", misses(report.CredentialProviderFailed, 30)), node("b", has(30, reg)), node("c", has(30, reg))},
			[]string{"image-some " + image + ": node-infrastructure CredentialProviderFailed likely"},
		},
		{
			"two pods lack a login in different ways",
			[]Node{node("a", misses(report.CredentialsMissing, 30)), node("b", misses(report.PullSecretMissing, 30))},
			nil,
		},
		{
			"credentials on all", many("n", 3, func(n string) Node { return node(n, misses(report.CredentialsMissing, 30)) }),
			nil,
		},
		{
			"no image for one platform", []Node{
				node("a", misses(report.PlatformMismatch, 30), trait(TraitArch, "arm64")),
				node("b", misses(report.PlatformMismatch, 30), trait(TraitArch, "arm64")), node("c", has(30, reg)), node("d", has(30, reg)),
			},
			[]string{"platform " + image + ": cluster-config PlatformMismatch confirmed; apart by architecture arm64"},
		},
		{
			"no image for the platform of some", []Node{
				node("a", misses(report.PlatformMismatch, 30)), node("c", has(30, reg)), node("d", has(30, reg)),
			},
			[]string{"platform " + image + ": cluster-config PlatformMismatch likely"},
		},
		{
			"a full disk on one", []Node{node("a", misses(report.DiskFull, 30)), node("b", has(30, reg)), node("c", has(30, reg))},
			[]string{"image-some " + image + ": node-infrastructure DiskFull likely"},
		},
		{
			"what keeps nodes from the host is said of the host", []Node{
				node("a", misses(report.ConnectionTimeout, 30), down(report.ConnectionTimeout)), node("b", up()), node("c", up()),
			},
			[]string{"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed"},
		},
	}
}

func nodeSituations() []situation {
	timeout, dead := report.ConnectionTimeout, report.ResolverUnreachable
	return []situation{
		{
			"one node cut off", []Node{node("a", down(timeout), cutOff(timeout)), node("b", up()), node("c", up())},
			[]string{"reaches-nothing a: node-infrastructure ConnectionTimeout confirmed"},
		},
		{
			"one resolver dead", []Node{node("a", down(dead), cutOff(dead)), node("b", up()), node("c", up())},
			[]string{"reaches-nothing a: node-infrastructure ResolverUnreachable confirmed"},
		},
		{
			"one node cut off, as it guesses",
			[]Node{node("a", down(timeout), cutOff(timeout), guess()), node("b", up()), node("c", up())},
			[]string{"reaches-nothing a: node-infrastructure ConnectionTimeout likely"},
		},
		{
			"all cut off", many("n", 3, func(n string) Node { return node(n, down(timeout), cutOff(timeout)) }),
			[]string{"reaches-nothing n00: node-infrastructure ConnectionTimeout likely"},
		},
		{"cut off long ago", []Node{node("a", down(timeout, times(9000, 8000)), cutOff(timeout)), node("b", up()), node("c", up())}, nil},
		{
			"a clock that is wrong",
			[]Node{node("a", up(clock(300), times(3600-300, 10-300))), node("b", up(clock(0))), node("c", up(clock(1)))},
			[]string{"clock-differs a: node-infrastructure ClockSkewed confirmed"},
		},
		{"the host's own clock is wrong", many("n", 3, func(n string) Node { return node(n, up(clock(-7200))) }), nil},
		{"most clocks differ from each other", []Node{
			node("a", up(clock(0))), node("b", up(clock(300))), node("c", up(clock(300))), node("d", up(clock(600))), node("e", up(clock(900))),
		}, nil},
		{"two clocks differ, and nobody knows which is right", []Node{node("a", up(clock(300))), node("b", up(clock(0)))}, nil},
		{
			"its observations count by the right clock", []Node{
				node("a", down(timeout, clock(-1200), times(60+1200, 5+1200))), node("b", up(clock(0))), node("c", up(clock(0))),
			},
			[]string{
				"these-nodes registry.example: node-infrastructure ConnectionTimeout confirmed",
				"clock-differs a: node-infrastructure ClockSkewed confirmed",
			},
		},
		{
			"one node says that all registries are down", []Node{
				node("liar", down(timeout), down(timeout, named("other.example"))),
				node("b", up(), up(named("other.example"))), node("c", up(), up(named("other.example"))),
			},
			[]string{
				"these-nodes other.example (and 1 more): node-infrastructure ConnectionTimeout confirmed",
			},
		},
	}
}

func TestSituations(t *testing.T) {
	names := map[string]bool{}
	for _, s := range situations() {
		if names[s.name] {
			t.Errorf("two situations are called %q", s.name)
		}
		names[s.name] = true
		t.Run(s.name, func(t *testing.T) {
			var got []string
			for _, f := range Compare(s.input()).Findings {
				got = append(got, short(f))
			}
			if d := cmp.Diff(s.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
