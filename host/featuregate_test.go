package host

import (
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

func TestAlphaGate(t *testing.T) {
	files := hosttest.Memory{
		"/on":       "featureGates: {X: true}",
		"/off":      "featureGates: {X: false, AllAlpha: true}",
		"/all":      "featureGates: {AllAlpha: true}",
		"/none":     "kind: KubeletConfiguration",
		"/broken":   "{",
		"/d/1.conf": "featureGates: {X: true}",
	}
	for args, want := range map[string]bool{
		"kubelet":                               false,
		"kubelet --feature-gates=A=true,X=true": true,
		"kubelet --feature-gates A=true --feature-gates X=true": true,
		"kubelet --feature-gates=X=true,X=false":                false,
		"kubelet --config=/none":                                false,
		"kubelet --config=/on":                                  true,
		"kubelet --config=/on --feature-gates=X=false":          false,
		"kubelet --config=/off --config-dir=/d":                 true,
		"kubelet --config=/off":                                 false,
		"kubelet --config=/all --feature-gates=A=true":          true,
	} {
		if got, err := alphaGate(files, strings.Fields(args), "/", "X"); got != want || err != nil {
			t.Errorf("%s: %v, %v", args, got, err)
		}
	}
	if _, err := alphaGate(files, []string{"kubelet", "--config=/broken"}, "/", "X"); err == nil {
		t.Error("a file that cannot be read is taken for one without the gate")
	}
}
