//go:build load

package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/kube"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
)

// TestRotatedToken checks that the agent reads the file of its token again within a
// minute. The kubelet rotates the token, and allows two minutes for that.
func TestRotatedToken(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	token := filepath.Join(t.TempDir(), "token")
	hosttest.Write(t, token, "first")
	var valid atomic.Pointer[string]
	first, second := "Bearer first", "Bearer second"
	valid.Store(&first)
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("X-Came-With") != *valid.Load() {
			refuse(rw, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
			return
		}
		next.ServeHTTP(rw, r)
	})
	secure := httptest.NewTLSServer(w.agentProxy.Config.Handler) // no token is sent without TLS
	t.Cleanup(secure.Close)
	k, err := kube.New(
		kubeconfigWith(t, fmt.Sprintf("server: %q, insecure-skip-tls-verify: true", secure.URL), "tokenFile: "+token),
		"test",
		"",
	)
	if err != nil {
		t.Fatal(err)
	}
	w.agent(func(a *Agent) { *a.kube = *k })
	w.pod("before", image, backOff)
	w.diagnosed("before", anyDiagnosis)
	hosttest.Write(t, token, "second")
	valid.Store(&second)
	secure.CloseClientConnections()
	w.pod("after", image, backOff)
	w.until("a diagnosis with the new token", 75*time.Second, func() bool { n, _, _ := w.report(); return len(n.Diagnoses) == 2 })
}
