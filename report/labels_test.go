package report_test

import (
	"testing"

	. "github.com/pullprobe/pullprobe/report"
)

func TestConfigMapName(t *testing.T) {
	long := make([]byte, 250)
	for i := range long {
		long[i] = 'n'
	}
	for _, tt := range []struct{ node, uid, want string }{
		{"node-a", "uid", "pullprobe-node-a"},
		{"fleet", "uid", "pullprobe--fleet"}, // the other one is the fleet's
		{string(long[:243]), "uid", "pullprobe-" + string(long[:243])},
		{string(long[:244]), "uid", "pullprobe-uid"},
	} {
		if got := ConfigMapName(tt.node, tt.uid); got != tt.want {
			t.Errorf("%.10s (%d bytes): %q, want %q", tt.node, len(tt.node), got, tt.want)
		}
	}
}
