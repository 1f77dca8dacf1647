package diagnosis

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// weaknessesOfMachines are those of answers that another machine of the host, or another
// host, may give otherwise.
func weaknessesOfMachines() []weakness {
	return []weakness{
		{"address-disputed", "the hosts file or the resolvers of the node lead to different machines, and only one answered", func(
			f finding, c report.Check,
		) (string, bool) {
			host := facts.AnsweringHost(c)
			name := f.Get(report.DNSID(host))
			says, other := name.Evidence[report.KeyDNSSays], "the other address of "+host
			if says != "" {
				other += " (" + says + ")"
			}
			question := "compare the answer of " + other + ": the one that answered may be an old machine" + atAddress(f, c, says)
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
				"): only one of them answered" + atAddress(f, c, "ADDRESS")
			if c.Evidence[report.KeyOtherMachines] != "" {
				question = "" // the others were compared
			}
			return question, facts.IsAnswer(c) && facts.SeveralMachines(f.Evidence, host) &&
				!facts.IsOneService(f.Evidence, host) && !facts.SameAnswer(c, report.KeyOtherMachines)
		}},
		{"manifest-from-another-host", "the registry redirects the request for the manifest, and only the other host answered", func(
			_ finding, c report.Check,
		) (string, bool) {
			other := c.Evidence[report.KeyRedirectedTo]
			return "check whether " + other + " has what " + c.Host + " has: it may lag behind",
				facts.IsAnswer(c) && c.Kind == report.KindManifest && other != "" && other != c.Host
		}},
		{"answered-by-a-cache", "a cache in front of the registry gave the answer", func(f finding, c report.Check) (string, bool) {
			return "the answer of " + c.Host + " came from a cache (" + c.Evidence[report.KeyCached] +
					") and may be out of date; compare it with that of the registry itself" + asManifest(f, c, "-H 'Cache-Control: no-cache' "),
				facts.IsAnswer(c) && c.Evidence[report.KeyCached] != ""
		}},
		{"public-registry-inside", "the name of a public registry leads to a private address", func(f finding, c report.Check) (string, bool) {
			return "check which machine answers for " + c.Host + " at " + f.Fact(report.DNSID(c.Host), report.KeyAddresses) +
				": a public registry has no private address", facts.IsAnswer(c) && facts.UnexpectedClass(f.Evidence, c.Host, "private", "shared")
		}},
		{"token-service-under-a-wildcard", "any name beside that of the token service leads to the same address", func(
			f finding, c report.Check,
		) (string, bool) {
			host := facts.AnsweringHost(c)
			return "check whether " + host + " is the token service of " + c.Host + ": any other name of its domain leads to the same address",
				facts.IsAnswer(c) && c.Kind == report.KindToken && host != c.Host && f.Fact(report.DNSID(host), report.KeySibling) == "same"
		}},
		{"sent-elsewhere", "a file of the node sends the pull to another registry, or another path, than the image names", func(
			f finding, c report.Check,
		) (string, bool) {
			question := "check whether " + f.Fact(report.HostsID(f.Domain()), report.KeyFile) + " should send pulls of " + f.Domain() + " to " +
				c.Host + f.PathOf(c.Host) + ", which is not what the image names"
			return question, facts.IsAnswer(c) && f.SentElsewhere(c.Host)
		}},
	}
}

// asManifest returns the command that requests the manifest of the image from the host of a
// check, after a colon; empty for a check of something else.
func asManifest(f finding, c report.Check, options string) string {
	reference := f.Get(report.IDReference).Evidence
	tag := cmp.Or(reference[report.KeyTag], reference[report.KeyDigest])
	if c.Kind != report.KindManifest || reference[report.KeyPath] == "" || tag == "" {
		return ""
	}
	return ":\ncurl -i " + options + "https://" + c.Host + "/v2/" + reference[report.KeyPath] + "/manifests/" + tag
}

// atAddress returns that command for one address of the host, or for ADDRESS; empty for what is
// no address.
func atAddress(f finding, c report.Check, address string) string {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil && address != "ADDRESS":
		return ""
	case ip.Is6():
		address = "[" + address + "]"
	}
	return asManifest(f, c, "--connect-to ::"+address+": ")
}

// weaknessesOfAnswers are those of answers that may mean something else.
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
