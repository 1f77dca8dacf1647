// Package guard decides which hosts the probes may contact. It does no I/O.
//
// Image names come from tenants, token realms and redirects from servers. None
// of them may direct the probes at this node or at a metadata service.
package guard
