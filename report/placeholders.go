package report

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// Placeholders are the names that summaries and fixes mention. Each has a
// stand-in, so that a line reads well when the check that would name it is
// missing.
type Placeholders struct {
	Image, Registry, Repository, Tag string // of the reference
	Host, Address                    string // of the deciding check
	Namespace, Pod, Container        string
	ServiceAccount                   string
	Secret                           string // the first secret that is missing, malformed or for another registry
	NewSecret                        string // a name for a pull secret of the registry that the pod does not list
	Node, HostsDir, Disk             string
	Issuer                           string
	HostsFile                        string // hosts.toml of the registry, or what it is generated from; see Reload
	HostsCA, HostsClient             string // what names a CA, and a client certificate, in HostsFile
	Layers                           string // the host that serves the layers
	Resolver                         string // the one whose answer decided
	Stale                            string // files that are newer than the runtime's process
	Resets                           string // when a rate limit ends
	Behind                           string // what a queued pull waits for
	Sandbox                          string // the runtime's sandbox image
	Source                           string // of the credential that decided
	Owner                            string // what kubectl set image changes: the pod, or the controller that owns it
	Where                            string // the container or image volume that has the image
	HostPort                         string // the host with its port
	Restart                          string // how to restart the runtime
	Attach                           string // how to have the pod use a secret that was created
	KubeletLog                       string // a command that shows what the kubelet says of credential providers
	Unit, Runtime                    string // systemd's name of the runtime, and its own
	IP                               string // the address of the deciding check, without its port
	Provider                         string // the credential provider that was not run, or that the node lacks
}

// Reload is a part of HostsFile and Source, of a runtime that reads them at its start only. A
// template that names such a file ends with the restart.
const Reload = "{reload}"

// Fill fills the {names} of a template.
func (p Placeholders) Fill(template string) string {
	template = p.withReload(template)
	template = strings.ReplaceAll(template, "{attach}", p.Attach)
	if strings.Contains(p.Tag, ":") { // a digest
		template = strings.ReplaceAll(template, "{repository}:{tag}", "{repository}@{tag}")
	}
	return strings.NewReplacer(
		"{image}", p.Image, "{registry}", p.Registry, "{repository}", p.Repository, "{tag}", p.Tag,
		"{host}", p.Host, "{address}", p.Address,
		"{ns}", p.Namespace, "{pod}", p.Pod, "{container}", p.Container, "{sa}", p.ServiceAccount,
		"{secret}", p.Secret, "{newSecret}", p.NewSecret,
		"{node}", p.Node, "{hostsDir}", p.HostsDir, "{hostsFile}", p.HostsFile,
		"{hostsCA}", p.HostsCA, "{hostsClient}", p.HostsClient, "{disk}", p.Disk, "{issuer}", p.Issuer,
		"{layers}", p.Layers, "{resolver}", p.Resolver, "{stale}", p.Stale, "{resets}", p.Resets,
		"{behind}", p.Behind, "{sandbox}", p.Sandbox, "{source}", p.Source,
		"{unit}", p.Unit, "{kubeletLog}", p.KubeletLog, "{runtime}", p.Runtime, "{ip}", p.IP,
		"{owner}", p.Owner, "{where}", p.Where, "{hostport}", p.HostPort, "{restart}", p.Restart, "{provider}", p.Provider,
	).Replace(template)
}

// withReload fills {hostsFile} and {source} if they have [Reload] in them, and adds the restart.
func (p Placeholders) withReload(template string) string {
	for name, value := range map[string]string{"{hostsFile}": p.HostsFile, "{source}": p.Source} {
		if strings.Contains(value, Reload) {
			template = strings.ReplaceAll(template, name, value)
		}
	}
	if strings.Contains(template, Reload) && !strings.Contains(template, "{restart}") {
		template += "\nthen {restart}"
	}
	return strings.ReplaceAll(template, Reload, "")
}

// blanks are the stand-ins that no command may have: who reads it could not fill
// them in without knowing what is missing.
var blanks = []string{"{ns}", "{pod}", "{container}", "{secret}"}

// HasBlanks reports whether a template names what is not known.
func (p Placeholders) HasBlanks(template string) bool {
	return slices.ContainsFunc(blanks, func(name string) bool {
		value := p.Fill(name)
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
func StandIns() Placeholders {
	return Placeholders{
		Image:          "the image",
		Registry:       "the registry",
		Repository:     "the repository",
		Tag:            "the tag",
		Host:           "the registry",
		Address:        "the registry",
		Namespace:      "NAMESPACE",
		Pod:            "POD",
		Container:      "CONTAINER",
		ServiceAccount: "default",
		Secret:         "SECRET",
		NewSecret:      "NAME",
		Node:           "this node",
		Disk:           "/var/lib/containerd",
		Issuer:         "that signed its certificate",
		HostPort:       "the registry:443",
		IP:             "ADDRESS",
		HostsFile:      "the registry's hosts.toml",
		HostsCA:        "ca = …",
		HostsClient:    "client = …",
		Layers:         "the host that serves the layers",
		Resolver:       "the first resolver of /etc/resolv.conf",
		Stale:          "its configuration",
		Resets:         "until the limit resets",
		Behind:         "the other pull",
		Sandbox:        "the sandbox image of its configuration",
		Source:         "the pull credentials",
		Owner:          "pod/POD",
		Where:          "the pod's manifest",
		Restart:        "restart the runtime",
		Unit:           "containerd",
		Attach:         "list it in imagePullSecrets of the pod (or of its ServiceAccount), and create the pod again",
		KubeletLog:     "journalctl -u kubelet | grep -i credential",
		Runtime:        "the runtime",
	}
}

// Advice returns what a cause means and how to fix it, where no more is known than a
// message says. What it does not name gets stand-ins.
func Advice(c Cause, who Fault, r Reading) (summary, fix string) {
	p := StandIns()
	p.Registry = cmp.Or(r.Registry, r.Host, p.Registry)
	p.Host = cmp.Or(r.Host, r.Registry, p.Host)
	p.Address, p.HostPort = p.Host, WithPort(p.Host)
	p.Repository, p.Tag = cmp.Or(r.Repository, "REPOSITORY"), cmp.Or(r.Reference, "TAG")
	switch {
	case r.Repository == "":
	case r.Reference == "":
		p.Image = p.Fill("{registry}/{repository}")
	default:
		p.Image = p.Fill("{registry}/{repository}:{tag}")
	}
	summary, fix = p.Fill(c.Meaning()), p.WithoutBlanks(c, c.Fix(who))
	if r.Registry == "" && r.Host == "" {
		// "the registry" is no part of a name.
		fix = strings.NewReplacer("{registry}/", "REGISTRY/", "{host}/", "REGISTRY/").Replace(fix)
	}
	return summary, p.Fill(fix)
}

// WithoutBlanks returns the template of a fix of the cause; or, if it is a command
// with blanks, the one that says what to do.
func (p Placeholders) WithoutBlanks(c Cause, template string) string {
	if text := c.FixInWords(); text != "" && p.HasBlanks(template) {
		return text
	}
	return template
}
