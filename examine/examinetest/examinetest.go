// Package examinetest holds what the tests of examine and agent share. Nothing
// of the product imports it.
package examinetest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// Images is a real registry, on loopback over plain HTTP, that counts.
type Images struct {
	*httptest.Server
	Asked atomic.Int32 // for the manifest of the missing image
}

// StartImages starts a registry on loopback until the test ends.
func StartImages(t testing.TB) *Images {
	i := &Images{}
	registry := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/manifests/absent") {
			i.Asked.Add(1)
		}
		registry.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

// Absent names an image of the registry that is not there.
func (i *Images) Absent() string { return strings.TrimPrefix(i.URL, "http://") + "/app:absent" }

// Silent accepts connections and never answers.
func Silent(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l
}

// Executed waits until a process that was started has its command line and its
// environment: Start returns in the middle of exec(2).
func Executed(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		switch {
		case err == nil && len(env) > 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("process %d does not begin: %v", pid, err)
		}
	}
}
