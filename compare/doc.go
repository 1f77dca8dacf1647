// Package compare says what the reports of many nodes show together: which nodes get
// through to a registry and which do not, who must act, and what sets the failing nodes
// apart. Like package diagnosis it is pure: no clock, no I/O, no cluster.
//
// What a node says is its claim. An observation that is too old, or made by a node that
// reaches nothing at all, does not count. One that is missing is not a good one.
package compare
