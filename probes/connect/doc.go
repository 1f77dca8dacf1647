// Package connect goes from the name of a host to a judged connection, as the
// runtime process would: DNS, TCP, proxy, TLS and clocks.
//
// A [Prober] reports facts, never opinions: it returns [report.Check] values and
// no error, because a failed probe is data. A check that could not run because
// another failed is present as skipped, with the id of the one that blocked it.
//
// Checks and their ids, per host:
//
//	dns/<host>                    the answer as the runtime would reach it
//	dns/<host>/<resolver>         the answer of one resolver
//	dial/<host>/<address>         TCP to one address
//	tls/<host>/<address>          handshake and certificate at one address
//	elsewhere/<host>/<address>    an address that only another resolver gives; off the path
//
// A step that the end of the whole call cut short, rather than its own
// deadline, is unknown, with the evidence unfinished=true. Where a host has
// several addresses, taken=true marks the one that the runtime's dialer would
// use: TLS there counts, a failure at the others is a remark.
package connect
