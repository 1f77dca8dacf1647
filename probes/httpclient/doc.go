// Package httpclient sends the HTTP requests of a diagnosis to registries, token services
// and stores of layers, and bounds what they may cost.
//
// A [Client] belongs to one host. It connects to addresses that were checked or that pass
// the guard, follows redirects as the runtime does, and reads answers within a [Budget]
// that all hosts share. It is the only place that puts a login into a request: over TLS,
// to the host that the login is for, and never along a redirect.
package httpclient
