// Package probes looks at what stands between this node and an image: the
// reference, the node's name resolution, the network, TLS, the registry and
// its token service, the manifest, and the disk.
//
// Probes report facts, never opinions: each returns [report.Check] values and
// no error, because a failed probe is data. A check that could not run because
// another failed is present as skipped, with the id of the one that blocked it.
// All of them look with the eyes of the runtime process ([Node]), not with
// those of the process that runs them.
//
// The checks and their ids, per host that the runtime would try:
//
//	reference                     the image name
//	disk                          the runtime's image file system
//	runtime/ca                    the trust store, and whether it is newer than the runtime's process
//	hosts/<domain>                which hosts the runtime would ask, in order (hosts.toml)
//	dns/<host>                    the answer as the runtime would reach it
//	dns/<host>/<resolver>         what one resolver says
//	dial/<host>/<address>         TCP to one address
//	dial/<host>/proxy             the way through the runtime's proxy
//	tls/<host>/<address>          handshake and certificate of one address
//	elsewhere/<host>/<address>    what is at an address that only another resolver gives; off the path
//	clock/<host>                  the clocks of the host and its token service against the node's
//	registry/<host>               GET /v2/
//	token/<host>                  the token service that this host names; the way to it is
//	                              dns/<service>, dial/<service>/…, tls/<service>/…
//	manifest/<host>               HEAD of the manifest
//	image/<host>                  platform and size, of the first host that has it
//	blob/<host>                   one byte of a layer, from the hosts that the runtime asks
//
// A step that the end of the whole call cut short, rather than its own
// deadline, is unknown, with the evidence unfinished=true. Where a host has
// several addresses, taken=true marks the one that the runtime's dialer ends up
// with: TLS there decides, what fails at the others is a remark.
package probes
