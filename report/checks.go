package report

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// The ids of checks that occur once in a diagnosis.
const (
	IDReference           = "reference"
	IDSuggested           = "reference/suggested"
	IDPod                 = "pod"
	IDQueue               = "queue"
	IDCredentials         = "credentials"
	IDCredentialsNode     = "credentials/node"
	IDCredentialsAccount  = "credentials/account"
	IDCredentialProviders = "credentials/providers"
	IDRuntime             = "runtime"
	IDRuntimeProcess      = "runtime/process"
	IDRuntimeConfig       = "runtime/config.toml"
	IDRuntimeEnvironment  = "runtime/environment"
	IDRuntimeCA           = "runtime/ca"
	IDRuntimeProxy        = "runtime/proxy"
	IDRuntimeSandbox      = "runtime/sandbox"
	IDRuntimeResolvConf   = "runtime/resolv.conf"
	IDRuntimeHosts        = "runtime/hosts"
	IDRuntimeNsswitch     = "runtime/nsswitch.conf"
	IDDisk                = "disk"
	IDClock               = "clock"
	IDPull                = "pull"
	IDControl             = "control"
	IDImageElsewhere      = "elsewhere/image" // what other nodes found of the image; no registry has this name
)

// The families of checks that occur once for each host, address or resolver.
const (
	familyLocal     = "local"
	familyHosts     = "hosts"
	familyDNS       = "dns"
	familyDial      = "dial"
	familyTLS       = "tls"
	familyElsewhere = "elsewhere"
	FamilyClock     = "clock"
	familyRegistry  = "registry"
	familyToken     = "token"
	familyManifest  = "manifest"
	familyImage     = "image"
	FamilyBlob      = "blob"
	FamilyProvider  = "credentials/provider"
)

// What a pod or a container does that does not wait for an image: values of the evidence
// "state" of the check "pod".
const (
	PodDeleting           = "deleting"
	PodSucceeded          = "succeeded"
	PodFailed             = "failed"
	ContainerRunning      = "running"
	ContainerInitializing = "initializing" // it comes after an init container that has not ended
	ContainerWaiting      = "waiting"      // it has its image, and lacks something else
	ContainerCrashed      = "crashed"      // it does not start, or does not keep running
	ContainerEnded        = "ended"
)

// joinID joins the parts of a check's id.
func joinID(family, host string, more ...string) string {
	return strings.Join(append([]string{family, host}, more...), "/")
}

// LocalID is the check of what the node has of a registry already.
func LocalID(host string) string { return joinID(familyLocal, host) }

// LocalImageID is the check of the image itself, if the node has it.
func LocalImageID(host string) string { return joinID(familyLocal, host, "image") }

// HostsID is the check of the runtime's configuration for a registry.
func HostsID(host string) string { return joinID(familyHosts, host) }

// DNSID is the check of a host's name, or of one resolver's answer for it.
func DNSID(host string, resolver ...string) string { return joinID(familyDNS, host, resolver...) }

// DialID is the check of a connection to one address of a host.
func DialID(host string, address ...string) string { return joinID(familyDial, host, address...) }

// TLSID is the check of the handshake with one address of a host.
func TLSID(host string, address ...string) string { return joinID(familyTLS, host, address...) }

// ElsewhereID is the check of an address that the runtime does not use: only
// another resolver returns it.
func ElsewhereID(host string, address ...string) string {
	return joinID(familyElsewhere, host, address...)
}

// OpinionID is the check of what other nodes see of a host.
func OpinionID(host string) string { return joinID(familyElsewhere, host) }

// ClockID is the check of the node's clock against a host's.
func ClockID(host string) string { return joinID(FamilyClock, host) }

// RegistryID is the check of a host's answer to GET /v2/.
func RegistryID(host string) string { return joinID(familyRegistry, host) }

// TokenID is the check of the token service of a host.
func TokenID(host string) string { return joinID(familyToken, host) }

// ManifestID is the check of the manifest on a host.
func ManifestID(host string) string { return joinID(familyManifest, host) }

// ImageID is the check of what the manifest on a host describes.
func ImageID(host string) string { return joinID(familyImage, host) }

// BlobID is the check of a layer that a host serves.
func BlobID(host string) string { return joinID(FamilyBlob, host) }

// CredentialID is the check of the nth credential, counted from 1.
func CredentialID(n int) string { return joinID(IDCredentials, strconv.Itoa(n)) }

// ProviderID is the check of one credential provider.
func ProviderID(name string) string { return joinID(FamilyProvider, name) }

// Elsewhere reports whether the check is about an address that the runtime does
// not use.
func (c Check) Elsewhere() bool {
	return strings.HasPrefix(c.ID, familyElsewhere+"/") && c.Kind != KindElsewhere
}

// Find returns the check with this id. A check that is missing is Unknown and
// has only its id.
func Find(checks []Check, id string) Check {
	if i := slices.IndexFunc(checks, func(c Check) bool { return c.ID == id }); i >= 0 {
		return checks[i]
	}
	return Check{ID: id}
}

// Below returns the checks whose ids continue this one: Below(checks,
// DialID(host)) returns the checks of every address of a host.
func Below(checks []Check, id string) []Check {
	var out []Check
	for _, c := range checks {
		if strings.HasPrefix(c.ID, id+"/") {
			out = append(out, c)
		}
	}
	return out
}

// Same reports whether two verdicts agree on who must act, on the cause and on
// how certain both are.
func (v Verdict) Same(other Verdict) bool {
	return v.Fault == other.Fault && v.Cause == other.Cause && v.Confidence == other.Confidence
}

// True is the value of a fact that holds.
const True = "true"

// Is reports whether the evidence has this fact as true.
func (c Check) Is(key string) bool { return c.Evidence[key] == True }

// ByHand asks to make a check that was not made, for the reason in its summary.
func (c Check) ByHand() string { return "check " + c.ID + " by hand: " + c.Summary }

// NeedsRuntimeView reports whether the check needs what the runtime or its process sees.
func (c Check) NeedsRuntimeView() bool {
	return c.ID == IDCredentialsNode || strings.HasPrefix(c.ID, IDRuntime+"/") || strings.HasPrefix(c.ID, familyHosts+"/")
}

// Sentence returns the check's summary, with its host where that is not in it.
func (c Check) Sentence() string {
	switch c.Kind {
	case KindDNS, KindDial, KindTLS, KindRegistry, KindManifest, KindBlob:
	default:
		return c.Summary
	}
	name := c.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if c.Summary == "" || strings.Contains(c.Summary, name) {
		return c.Summary
	}
	return c.Host + ": " + c.Summary
}
