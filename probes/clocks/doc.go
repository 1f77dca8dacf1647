// Package clocks judges the clocks of servers against this node's: which of them is wrong,
// and what that means for a host's certificate and token. It sends nothing.
package clocks
