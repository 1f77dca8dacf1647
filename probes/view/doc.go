// Package view reads what the runtime process sees of the node: resolv.conf, the
// hosts file, the trust store and the proxy of its environment. It reads files
// only and sends nothing.
//
// Checks and their ids:
//
//	runtime/ca              the trust store, and whether it changed after the runtime started
//	runtime/resolv.conf     skipped: it cannot be read
//	runtime/hosts           skipped: it cannot be read
//	runtime/nsswitch.conf   skipped: it cannot be read
//	runtime/proxy           skipped: the runtime's environment cannot be read
package view
