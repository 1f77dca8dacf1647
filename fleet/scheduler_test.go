package fleet

import (
	"strings"
	"testing"
)

// The messages are those of kube-scheduler 1.36 and of older ones.
func TestPlainWords(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{
			"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
			"1 of 3 nodes: too little free cpu for the pod's request; 2 of 3 nodes: a taint that the pod does not tolerate",
		},
		{
			"0/5 nodes are available: 5 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }. preemption: 0/5 nodes are available.",
			"5 of 5 nodes: a taint that the pod does not tolerate: {node-role.kubernetes.io/control-plane: }",
		},
		{
			"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 No preemption victims found.",
			"all 2 nodes: a PersistentVolumeClaim of the pod is not bound",
		},
		{`0/2 nodes are available: persistentvolumeclaim "absent" not found. not found`, `all 2 nodes: persistentvolumeclaim "absent" not found`},
		{"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.", "1 of 1 nodes: the pod's host port is in use"},
		{"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", "1 of 1 nodes: not matched by the pod's nodeSelector or node affinity"},
		{"0/4 nodes are available: 4 the moon is full, and so is the node.", "4 of 4 nodes: the moon is full, and so is the node"},
		{"something else \x1b[2J", "something else [2J"},
		{"", ""},
	} {
		if got := plainWords(tt.in); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func FuzzPlainWords(f *testing.F) {
	f.Add("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}. preemption: x")
	f.Fuzz(func(t *testing.T, s string) {
		if got := plainWords(s); len(got) > 700 || strings.ContainsAny(got, "\n\x1b") {
			t.Errorf("%q", got)
		}
	})
}
