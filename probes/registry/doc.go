// Package registry asks the registries for an image as the runtime would:
// configuration, connection, registry API, token service, manifest, platform
// and one layer.
//
// [Probe] does so for one image, [Survey] for a list of hosts without an image, and
// [Glance] asks one registry whether it has another image. Probe and Survey return checks
// and no error, because a failed probe is data. Where the
// runtime would send credentials and the probes must not, a check is skipped and
// has the evidence runtimeWouldSend=true.
//
// A session is the conversation with one host. What it sends is in the packages requests
// and httpclient, what it may send in logins, how it gets a token in tokens, and what an
// answer means in answers, refusal and imagemanifest. Why no host has the image is in
// missing.
//
// Checks and their ids, per host that the runtime would contact, beside those of
// package connect:
//
//	hosts/<domain>        which hosts the runtime contacts for a domain, in order
//	dial/<host>           skipped: the host must not be contacted, or its port is not one
//	dial/<host>/proxy     the connection through the runtime's proxy
//	clock/<host>          the clocks of the host and its token service against the node's
//	registry/<host>       GET /v2/
//	token/<host>          the token service that this host names; the checks on the path to it
//	                      are dns/<service>, dial/<service>/…, tls/<service>/…
//	manifest/<host>       HEAD of the manifest
//	image/<host>          platform and size, of the first host that has it
//	blob/<host>           one byte of a layer, from the hosts that the runtime asks
package registry
