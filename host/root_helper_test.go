package host

import (
	"testing"

	"github.com/pullprobe/pullprobe/host/hosttest"
)

// rootOf returns a root directory with these files in it.
func rootOf(t testing.TB, files map[string]string) *Root {
	t.Helper()
	r, err := OpenRoot(hosttest.Tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
