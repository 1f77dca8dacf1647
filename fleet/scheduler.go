package fleet

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pullprobe/pullprobe/report/readable"
)

// This file alone reads the scheduler's messages. Their form is in FitError.Error of
// k8s.io/kubernetes/pkg/scheduler/framework/types.go, the reasons are in the plugins beside it.

// noNode is how a message begins that counts nodes.
var noNode = regexp.MustCompile(`^0/(\d+) nodes are available: `)

// counted is a reason with the number of nodes that it excludes.
var counted = regexp.MustCompile(`^(\d+) (.+)$`)

// schedulerReason is a reason of the scheduler, and the same in plain words.
type schedulerReason struct {
	begins string
	plain  string // %s is what follows
}

// schedulerReasons returns the reasons that are known; the first that fits counts.
func schedulerReasons() []schedulerReason {
	return []schedulerReason{
		{"Insufficient ", "too little free %s for the pod's request"},
		{"Too many pods", "as many pods as the node may have"},
		{"node(s) had untolerated taint(s)", "a taint that the pod does not tolerate"},
		{"node(s) had untolerated taint ", "a taint that the pod does not tolerate: %s"},
		{"node(s) had taints that the pod didn't tolerate", "a taint that the pod does not tolerate"},
		{"node(s) didn't match Pod's node affinity/selector", "not matched by the pod's nodeSelector or node affinity"},
		{"node(s) didn't match scheduler-enforced node affinity", "not matched by the scheduler's own node affinity"},
		{"node(s) didn't match the requested node name", "another node than the one that the pod names"},
		{"node(s) didn't match pod affinity rules", "no pod there that the pod's affinity wants"},
		{"node(s) didn't match pod anti-affinity rules", "a pod there that the pod's anti-affinity excludes"},
		{"node(s) didn't satisfy existing pods anti-affinity rules", "a pod there of which the anti-affinity excludes this pod"},
		{"node(s) didn't match pod topology spread constraints", "excluded by the pod's topology spread constraints"},
		{"node(s) didn't have free ports for the requested pod ports", "the pod's host port is in use"},
		{"node(s) were unschedulable", "cordoned"},
		{"node(s) exceed max volume count", "as many volumes as the node may have"},
		{"node(s) had no available volume zone", "in another zone than the pod's volume"},
		{"node(s) didn't match PersistentVolume's node affinity", "not a node of the pod's volume"},
		{"node(s) had volume node affinity conflict", "not a node of the pod's volume"},
		{"node(s) didn't find available persistent volumes to bind", "no persistent volume for the pod's claim"},
		{"node(s) did not have enough free storage", "too little free storage for the pod's volume"},
		{"node(s) had no available disk", "the pod's disk is in use there"},
		{"node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod", "the pod's claim is in use by another pod"},
		{"pod has unbound immediate PersistentVolumeClaims", "a PersistentVolumeClaim of the pod is not bound"},
	}
}

// plainReason returns a reason in plain words; one that is not known as it is.
func plainReason(s string) string {
	for _, r := range schedulerReasons() {
		if rest, ok := strings.CutPrefix(s, r.begins); ok {
			if strings.Contains(r.plain, "%s") {
				return fmt.Sprintf(r.plain, readable.Clean(rest, 120))
			}
			return r.plain
		}
	}
	return readable.Clean(s, 160)
}

// plainWords returns what keeps the scheduler from placing a pod, in plain words: how many
// nodes each reason excludes. A message of another form is returned as it is.
func plainWords(message string) string {
	m := noNode.FindStringSubmatch(message)
	if m == nil {
		return plainReason(message)
	}
	rest := message[len(m[0]):]
	// What follows is about pods that could be removed for this one.
	rest, _, _ = strings.Cut(rest, " preemption:")
	rest, _, _ = strings.Cut(rest, ". no new claims to deallocate")
	rest, _, _ = strings.Cut(rest, ". not found") // no such pods
	rest = strings.TrimSuffix(strings.TrimSpace(rest), ".")
	var out []string
	for _, part := range strings.Split(rest, ", ") {
		c := counted.FindStringSubmatch(part)
		switch {
		case c != nil:
			out = append(out, c[1]+" of "+m[1]+" nodes: "+plainReason(c[2]))
		case len(out) == 0:
			out = append(out, "all "+m[1]+" nodes: "+plainReason(part))
		default:
			out[len(out)-1] += ", " + readable.Clean(part, 120)
		}
	}
	return readable.Clean(strings.Join(out, "; "), 600)
}
