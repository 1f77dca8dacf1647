package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine/examinetest"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// refuse answers like an API server that refuses a request.
func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Message: message, Code: int32(code),
	})
}

// TestAPIServerThatFails checks that an API server that is overloaded, broken or
// reports conflicts gets the report and each Event once, as soon as it accepts them.
func TestAPIServerThatFails(t *testing.T) {
	w := newWorld(t)
	w.logs = &buffer{}
	w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
	var writes atomic.Int32
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet {
			next.ServeHTTP(rw, r)
			return
		}
		switch writes.Add(1) {
		case 1, 5:
			rw.Header().Set("Retry-After", "1")
			refuse(rw, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "overloaded")
		case 2, 6:
			refuse(rw, http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd is not there")
		case 3, 7:
			refuse(rw, http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified")
		default:
			next.ServeHTTP(rw, r)
		}
	})
	w.agent()
	w.diagnosed("stuck", anyDiagnosis)
	w.until("its Event", 20*time.Second, func() bool { return len(w.events("stuck")) > 0 })
	if n := len(w.events("stuck")); n != 1 {
		t.Errorf("%d Events", n)
	}
	if !strings.Contains(fmt.Sprint(w.logs), "cannot publish, will retry") {
		t.Errorf("it is not logged: %s", w.logs)
	}
}

// TestWatchIsClosedRepeatedly checks that no pod is missed when the watch is closed
// again and again, or has expired.
func TestWatchIsClosedRepeatedly(t *testing.T) {
	w := newWorld(t)
	image := examinetest.StartImages(t).Absent()
	var watches atomic.Int32
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("watch") == "" {
			next.ServeHTTP(rw, r)
			return
		}
		switch watches.Add(1) % 4 {
		case 0:
			refuse(rw, http.StatusGone, metav1.StatusReasonExpired, "too old resource version")
			return
		case 1:
			panic(http.ErrAbortHandler)
		}
		ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
		defer cancel()
		next.ServeHTTP(rw, r.WithContext(ctx))
	})
	w.agent()
	for i := range 3 {
		seen := watches.Load()
		w.until("further watches", 40*time.Second, func() bool { return watches.Load() > seen+1 })
		w.pod(fmt.Sprintf("pod-%d", i), image, backOff)
	}
	w.until("all verdicts", 40*time.Second, func() bool { n, _, _ := w.report(); return n.Stuck == 3 && podsOf(n) == 3 })
	if code, out := w.do(http.MethodDelete, w.podPath("pod-0")+"?gracePeriodSeconds=0", "application/json", nil); code/100 != 2 {
		t.Fatalf("%d %s", code, out)
	}
	w.until("the end of one", 40*time.Second, func() bool { n, _, _ := w.report(); return n.Stuck == 2 && podsOf(n) == 2 })
}

// TestNamespaceIsBeingDeleted checks that the agent goes on when a namespace is being
// deleted and accepts neither the report nor Events. Events in other namespaces are
// still written.
func TestNamespaceIsBeingDeleted(t *testing.T) {
	w := newWorld(t)
	w.logs = &buffer{}
	image := examinetest.StartImages(t).Absent()
	elsewhere := w.ns + "-other"
	w.post("/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": elsewhere}})
	w.pod("here", image, backOff)
	// There is no controller that empties it, so it stays so.
	if code, out := w.do(http.MethodDelete, "/api/v1/namespaces/"+w.ns, "application/json", nil); code/100 != 2 {
		t.Fatalf("%d %s", code, out)
	}
	w.agent()
	w.until("refusals of the report", 20*time.Second, func() bool { return w.agentProxy.count("PATCH configmaps") > 1 })
	there := *w
	there.ns = elsewhere
	there.pod("there", image, backOff)
	w.until("an Event in the other namespace", 20*time.Second, func() bool { return len(w.eventsIn(elsewhere, "there")) == 1 })
	if n := len(w.events("here")); n != 0 {
		t.Errorf("%d Events in the namespace that is being deleted", n)
	}
	for _, text := range []string{"Event refused", "cannot publish, will retry", "is being terminated"} {
		if !strings.Contains(fmt.Sprint(w.logs), text) {
			t.Errorf("%q is not logged: %s", text, w.logs)
		}
	}
}

// TestBrokenJournal checks that the agent reports a journal directory with any
// content, or one that is not writable, and examines without test pulls.
func TestBrokenJournal(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T) string{
		"files that are no entries": func(t *testing.T) string {
			dir := t.TempDir()
			hosttest.Write(t, filepath.Join(dir, "1.pull.json"), "{")
			hosttest.Write(t, filepath.Join(dir, "2.pull.json"), strings.Repeat("[", 2<<20))
			hosttest.Write(t, filepath.Join(dir, "3.pull.json"), "")
			for _, err := range []error{
				os.Mkdir(filepath.Join(dir, "4.pull.json"), 0o755), syscall.Mkfifo(filepath.Join(dir, "5.pull.json"), 0o600),
				os.Symlink("/dev/zero", filepath.Join(dir, "6.pull.json")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			return dir
		},
		"no directory": func(t *testing.T) string {
			file := filepath.Join(t.TempDir(), "file")
			hosttest.Write(t, file, "")
			return filepath.Join(file, "journal")
		},
		"a full disk": fullDisk,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			logs := &buffer{}
			w.logs = logs
			dir := spoil(t)
			w.pod("stuck", examinetest.StartImages(t).Absent(), backOff)
			w.agent(func(a *Agent) { a.puller.Journal = cri.NewJournal(dir) })
			w.diagnosed("stuck", func(d report.Diagnosis) bool { return report.Find(d.Checks, "pull").Summary != "" })
			if name == "files that are no entries" {
				w.until("a log line for each entry", 10*time.Second, func() bool { return strings.Count(logs.String(), "test pull settled") >= 4 })
			}
		})
	}
}

// fullDisk returns a directory on a full file system.
func fullDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	dir := t.TempDir()
	if err := syscall.Mount("full", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skip("cannot mount here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	_ = os.WriteFile(filepath.Join(dir, "1.pull.json"), make([]byte, 64<<10), 0o600) // as far as it goes
	return dir
}
