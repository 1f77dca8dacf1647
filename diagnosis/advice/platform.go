package advice

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// fixOfPlatform returns the fix with the platforms that the image has. The label
// kubernetes.io/arch of nodes does not tell which of them can run it if the image is for
// another operating system, or for another variant of the same architecture.
func (a adviser) fixOfPlatform() string {
	wanted := strings.Split(a.Decided(report.KeyWanted), "/")
	offered := a.Decided(report.KeyPlatforms) + a.Decided(report.KeyPlatform)
	if a.Cause != report.PlatformMismatch || a.Fault == report.FaultRegistry || len(wanted) < 2 || offered == "" {
		return ""
	}
	var architectures []string
	onlyVariant := false
	for p := range strings.SplitSeq(offered, ", ") {
		have := strings.Split(p, "/")
		switch {
		case have[0] != wanted[0]:
		case len(have) < 2:
			return ""
		case have[1] != wanted[1]:
			if !slices.Contains(architectures, have[1]) {
				architectures = append(architectures, have[1])
			}
		default:
			onlyVariant = true
		}
	}
	publish := "publish {image} for " + strings.Join(wanted, "/")
	if len(architectures) > 0 {
		return "the image is for " + offered + "; see whether the cluster has such nodes:\n" +
			"kubectl get nodes -L kubernetes.io/arch\nif so, keep the pod on them" + a.selectNodes(architectures) + "if not, " + publish
	}
	if onlyVariant {
		return publish + ": what it has (" + offered + ") needs other processors"
	}
	return publish + ", or keep the pod on nodes of its operating system with the nodeSelector kubernetes.io/os"
}

// selectNodes returns how to keep a pod on nodes of the architectures that an image has.
func (a adviser) selectNodes(architectures []string) string {
	pod := a.Get(report.IDPod).Evidence
	kind, _, _ := strings.Cut(pod[report.KeyOwner], "/")
	name := architectures[0] // the image's publisher wrote it
	plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
	if len(architectures) > 1 || !plain || !slices.Contains(templated, kind) || kind == "daemonset" || a.names.HasBlanks("{ns}{pod}") {
		return " (nodeSelector kubernetes.io/arch); "
	}
	return ":\n" + patchTemplate(a.Evidence, kind, `{"nodeSelector":{"kubernetes.io/arch":"`+name+`"}}`) + "\n"
}
