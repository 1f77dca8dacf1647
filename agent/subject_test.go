package agent

import (
	"testing"

	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

// TestSandboxSubject checks that no secret of the pod is read for the sandbox image,
// and that there is no test pull.
func TestSandboxSubject(t *testing.T) {
	e := &examine.Examiner{Node: &examine.NodeReader{AllowLoopback: true}}
	found := e.Examine(t.Context(), sandboxSubject("127.0.0.1:1/pause:3"), nil)
	for _, c := range found.Checks {
		switch c.ID {
		case "credentials":
			if c.Outcome != report.Pass || c.Evidence["fatal"] != "" {
				t.Errorf("%+v", c)
			}
		case "pull":
			if c.Outcome != report.Skipped {
				t.Errorf("%+v", c)
			}
		}
	}
}
