// Package fleet is the program pullprobe-fleet: it compares what the nodes of a cluster
// report, publishes what they show together, and answers nodes that want a second opinion.
// It has no privilege on any node. One of several replicas is the leader, by a Lease; the
// others wait and watch nothing.
package fleet
