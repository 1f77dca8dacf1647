package diagnosis

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// weaknessesOfMachines returns the weaknesses of answers from one machine, where another
// machine of the host, or another host, may answer differently.
func weaknessesOfMachines() []weakness {
	return []weakness{
		{"address-disputed", "the hosts file or the resolvers of the node disagree about the host's address, and only one machine answered", func(
			f finding, c report.Check,
		) (string, bool) {
			host := facts.AnsweringHost(c)
			name := f.Get(report.DNSID(host))
			says, other := name.Evidence[report.KeyDNSSays], "the other address of "+host
			if says != "" {
				other += " (" + says + ")"
			}
			question := "compare the answer of " + other + ": the one that answered may be an old machine" + manifestRequestAt(f, c, says)
			if name.Evidence[report.KeyFrom] == "hosts" && !strings.ContainsAny(says, ".:") { // an rcode, or no answer
				question = "check whether the address of " + host + " in the hosts file of this node is right: DNS does not know the name"
			}
			pinned := name.Evidence[report.KeyFrom] == "hosts" && (says == "" || name.Is(report.KeyDisagree))
			// The resolvers of a public registry's name give different addresses by design.
			return question, facts.IsAnswer(c) && !facts.SameAnswer(c, report.KeyAnswerElsewhere) &&
				(pinned || name.Is(report.KeyDisagree) && !facts.IsOneService(f.Evidence, host))
		}},
		{"one-machine-of-several", "the host has several addresses, and only the first machine answered", func(
			f finding, c report.Check,
		) (string, bool) {
			host := facts.AnsweringHost(c)
			question := "compare the answers of all machines of " + host + " (" + f.Fact(report.DNSID(host), report.KeyAddresses) +
				"): only one of them answered" + manifestRequestAt(f, c, "ADDRESS")
			if c.Evidence[report.KeyOtherMachines] != "" {
				question = "" // the others were compared
			}
			return question, facts.IsAnswer(c) && facts.SeveralMachines(f.Evidence, host) &&
				!facts.IsOneService(f.Evidence, host) && !facts.SameAnswer(c, report.KeyOtherMachines)
		}},
		{"manifest-from-another-host", "the registry redirects the request for the manifest, and only the host of the redirect answered", func(
			_ finding, c report.Check,
		) (string, bool) {
			other := c.Evidence[report.KeyRedirectedTo]
			return "check whether " + other + " has what " + c.Host + " has: it may lag behind",
				facts.IsAnswer(c) && c.Kind == report.KindManifest && other != "" && other != c.Host
		}},
		{"answered-by-a-cache", "a cache in front of the registry gave the answer", func(f finding, c report.Check) (string, bool) {
			return "the answer of " + c.Host + " came from a cache (" + c.Evidence[report.KeyCached] +
					") and may be out of date; compare it with that of the registry itself" + manifestRequest(f, c, "-H 'Cache-Control: no-cache' "),
				facts.IsAnswer(c) && c.Evidence[report.KeyCached] != ""
		}},
		{"public-registry-inside", "the name of a public registry resolves to a private address", func(f finding, c report.Check) (string, bool) {
			return "check which machine answers for " + c.Host + " at " + f.Fact(report.DNSID(c.Host), report.KeyAddresses) +
				": a public registry has no private address", facts.IsAnswer(c) && facts.UnexpectedClass(f.Evidence, c.Host, "private", "shared")
		}},
		{"token-service-under-a-wildcard", "any other name of the token service's domain resolves to the same address", func(
			f finding, c report.Check,
		) (string, bool) {
			host := facts.AnsweringHost(c)
			return "check whether " + host + " is the token service of " + c.Host + ": any other name of its domain resolves to the same address",
				facts.IsAnswer(c) && c.Kind == report.KindToken && host != c.Host && f.Fact(report.DNSID(host), report.KeySibling) == "same"
		}},
		{"sent-elsewhere", "a file of the node sends the pull to another registry, or another path, than the image names", func(
			f finding, c report.Check,
		) (string, bool) {
			file := f.Fact(report.HostsID(f.Domain()), report.KeyFile)
			question := "check that " + file + " is right: it sends pulls of " + f.Domain() + " to " + c.Host + f.PathOf(c.Host) +
				", and the image name points elsewhere"
			return question, facts.IsAnswer(c) && f.SentElsewhere(c.Host)
		}},
	}
}

// manifestRequest returns a colon and the curl command that requests the manifest of the
// image from the host of the check; empty for a check of something else.
func manifestRequest(f finding, c report.Check, options string) string {
	reference := f.Get(report.IDReference).Evidence
	tag := cmp.Or(reference[report.KeyTag], reference[report.KeyDigest])
	if c.Kind != report.KindManifest || reference[report.KeyPath] == "" || tag == "" {
		return ""
	}
	return ":\ncurl -i " + options + "https://" + c.Host + "/v2/" + reference[report.KeyPath] + "/manifests/" + tag
}

// manifestRequestAt returns the command of [manifestRequest], sent to one address of the host
// or to the placeholder ADDRESS; empty if address is neither.
func manifestRequestAt(f finding, c report.Check, address string) string {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil && address != "ADDRESS":
		return ""
	case ip.Is6():
		address = "[" + address + "]"
	}
	return manifestRequest(f, c, "--connect-to ::"+address+": ")
}

// weaknessesOfAnswers returns the weaknesses of answers that may mean something else than
// their status says: a rejected login, a missing layer.
func weaknessesOfAnswers() []weakness {
	return []weakness{
		{"rejected-for-another-reason", "the token service's text gives another reason than a wrong login", func(
			_ finding, c report.Check,
		) (string, bool) {
			reason := c.Evidence[report.KeyRefusedFor]
			return "read the text of the token service's 401: it gives another reason than a wrong user name or password",
				c.Kind == report.KindToken && (c.Cause == report.CredentialsRejected || c.Cause == report.CredentialsExpired) &&
					reason != "" && reason != "none"
		}},
		{"layer-404-without-a-code", "the 404 for a layer has no error code of a registry", func(_ finding, c report.Check) (string, bool) {
			from := cmp.Or(c.Evidence[report.KeyBlobHost], c.Host)
			missing := c.Kind == report.KindBlob && c.Cause == report.LayerCorrupt && c.Evidence[report.KeyStatus] == "404"
			return "request the layer from another network: the 404 of " + from + " has no error code of a registry",
				missing && c.Evidence[report.KeyCode] == ""
		}},
	}
}
