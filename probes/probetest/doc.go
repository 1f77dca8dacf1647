// Package probetest has what the tests of the probes share: certificate
// authorities, TLS servers, registries, DNS servers and file trees. It is for
// tests only: no package of the product may import it.
package probetest
