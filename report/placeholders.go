package report

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// placeholders are the names that summaries and fixes mention. Each has a
// stand-in, so that a line reads well when the check that would name it is
// missing.
type placeholders struct {
	image, registry, repository, tag string // of the reference
	host, address                    string // of the deciding check
	namespace, pod, container        string
	serviceAccount                   string
	secret                           string // the first secret that is missing, malformed or for another registry
	node, hostsDir, disk             string
	issuer                           string
	hostsFile                        string // hosts.toml of the registry
	layers                           string // the host that serves the layers
	resolver                         string // the one whose answer decided
	stale                            string // files that are newer than the runtime's process
	resets                           string // when a rate limit ends
	behind                           string // what a queued pull waits for
	sandbox                          string // the runtime's sandbox image
	source                           string // of the credential that decided
	owner                            string // what kubectl set image changes: the pod, or the controller that owns it
	where                            string // the container or image volume that has the image
	hostport                         string // the host with its port
	restart                          string // how to restart the runtime
	unit, runtime                    string // systemd's name of the runtime, and its own
	ip                               string // the address of the deciding check, without its port
	provider                         string // the credential provider that was not run, or that the node lacks
}

// fill fills the {names} of a template.
func (p placeholders) fill(template string) string {
	return strings.NewReplacer(
		"{image}", p.image, "{registry}", p.registry, "{repository}", p.repository, "{tag}", p.tag,
		"{host}", p.host, "{address}", p.address,
		"{ns}", p.namespace, "{pod}", p.pod, "{container}", p.container, "{sa}", p.serviceAccount, "{secret}", p.secret,
		"{node}", p.node, "{hostsDir}", p.hostsDir, "{hostsFile}", p.hostsFile, "{disk}", p.disk, "{issuer}", p.issuer,
		"{layers}", p.layers, "{resolver}", p.resolver, "{stale}", p.stale, "{resets}", p.resets,
		"{behind}", p.behind, "{sandbox}", p.sandbox, "{source}", p.source,
		"{unit}", p.unit, "{runtime}", p.runtime, "{ip}", p.ip,
		"{owner}", p.owner, "{where}", p.where, "{hostport}", p.hostport, "{restart}", p.restart, "{provider}", p.provider,
	).Replace(template)
}

// blanks are the stand-ins that no command may have: who reads it could not fill
// them in without knowing what is missing.
var blanks = []string{"{ns}", "{pod}", "{container}", "{secret}"}

// hasBlanks reports whether a template names what is not known.
func (p placeholders) hasBlanks(template string) bool {
	return slices.ContainsFunc(blanks, func(name string) bool {
		value := p.fill(name)
		return strings.Contains(template, name) && strings.ToUpper(value) == value && strings.ToLower(value) != value
	})
}

// WithPort returns the host with its port, which is 443 if it names none.
func WithPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "443")
}

// StandIns returns the placeholders of a diagnosis of which nothing is known.
func StandIns() placeholders {
	return placeholders{
		image:          "the image",
		registry:       "the registry",
		repository:     "the repository",
		tag:            "the tag",
		host:           "the registry",
		address:        "the registry",
		namespace:      "NAMESPACE",
		pod:            "POD",
		container:      "CONTAINER",
		serviceAccount: "default",
		secret:         "SECRET",
		node:           "this node",
		disk:           "/var/lib/containerd",
		issuer:         "that signed its certificate",
		hostsFile:      "the registry's hosts.toml",
		layers:         "the host that serves the layers",
		resolver:       "the first resolver of /etc/resolv.conf",
		stale:          "its configuration",
		resets:         "until the limit resets",
		behind:         "the other pull",
		sandbox:        "the sandbox image of its configuration",
		source:         "the pull credentials",
		owner:          "pod/POD",
		where:          "the pod's manifest",
		restart:        "restart the runtime",
		unit:           "containerd",
		runtime:        "the runtime",
	}
}

// Advice returns what a cause means and how to fix it, where only the registry's
// host and the image's name may be known. Empty ones get stand-ins.
func Advice(c Cause, who Fault, host, image string) (summary, fix string) {
	p := StandIns()
	p.host, p.registry, p.address = cmp.Or(host, p.host), cmp.Or(host, p.registry), cmp.Or(host, p.address)
	p.image = cmp.Or(image, p.image)
	p.hostport, p.ip = WithPort(p.host), "the address of "+p.host
	p.repository, p.tag = "REPOSITORY", "TAG"
	return p.fill(c.Meaning()), p.fill(p.withoutBlanks(c, c.Fix(who)))
}

// withoutBlanks returns the template of a fix of the cause; or, if it is a command
// with blanks, the one that says what to do.
func (p placeholders) withoutBlanks(c Cause, template string) string {
	if text := c.FixInWords(); text != "" && p.hasBlanks(template) {
		return text
	}
	return template
}
