package report_test

import (
	"os"
	"os/exec"
	"testing"
)

// The package compiles for systems that run no agent, so that saved evidence can
// be read and replayed on a workstation.
func TestCompilesForWorkstations(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library for two systems")
	}
	for _, system := range []string{"darwin", "windows"} {
		cmd := exec.Command("go", "build", ".")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", system, err, out)
		}
	}
}
