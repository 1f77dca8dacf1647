// Package requests knows what containerd sends to a registry: the requests of each step,
// and after which answers it repeats one. It sends nothing.
//
// The table is the only source of the probes' own requests on the runtime's path; every
// other request is a question, whose answer is evidence and never a failed step. It is by
// the source of containerd, core/remotes/docker (remotes/docker before 2.0): resolver.go
// (Resolve, doWithRetries, retryRequest), fetcher.go (Fetch), authorizer.go (doBearerAuth)
// and auth/fetch.go. containerd never sends GET /v2/, and never lists tags.
package requests
