package advice

import (
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// fixOfPlatform returns the fix where the label kubernetes.io/arch of nodes does not tell
// which of them can run the image: the image is for another operating system, or for
// another variant of the same architecture.
func (a adviser) fixOfPlatform() string {
	wanted := strings.Split(a.Decided(report.KeyWanted), "/")
	offered := a.Decided(report.KeyPlatforms) + a.Decided(report.KeyPlatform)
	if a.Cause != report.PlatformMismatch || a.Fault == report.FaultRegistry || len(wanted) < 2 || offered == "" {
		return ""
	}
	onlyVariant := false
	for p := range strings.SplitSeq(offered, ", ") {
		have := strings.Split(p, "/")
		switch {
		case have[0] != wanted[0]:
		case len(have) < 2 || have[1] != wanted[1]:
			return "" // the label tells
		default:
			onlyVariant = true
		}
	}
	publish := "publish {image} for " + strings.Join(wanted, "/")
	if onlyVariant {
		return publish + ": what it has (" + offered + ") needs other processors"
	}
	return publish + ", or keep the pod on nodes of its operating system with the nodeSelector kubernetes.io/os"
}
