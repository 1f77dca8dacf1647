package agent

import (
	"testing"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/report"
)

// For the sandbox image no secret of the pod is asked for, and nothing pulled.
func TestSandboxSubject(t *testing.T) {
	e := &Examiner{AllowLoopback: true}
	found := e.Examine(t.Context(), sandboxSubject("127.0.0.1:1/pause:3", "1"), nil)
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

// A runtime that does not answer has no sandbox image to be missed.
func TestSandboxInTheWayUnknown(t *testing.T) {
	if got := (&Examiner{}).SandboxInTheWay(t.Context(), "1"); got != "" {
		t.Error(got)
	}
	client, err := cri.New(t.TempDir() + "/none.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got := (&Examiner{Runtime: client}).SandboxInTheWay(t.Context(), "1"); got != "" {
		t.Error(got)
	}
}
