package agent

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/kube"
)

// scraper reads an agent's metrics port.
type scraper struct {
	t   testing.TB
	url string
}

func (s scraper) get(token string) (*http.Response, string) {
	s.t.Helper()
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		Timeout:   20 * time.Second,
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// expect checks the status of a request; only an authorized one returns metrics.
func (s scraper) expect(what, token string, want int) {
	s.t.Helper()
	resp, body := s.get(token)
	if resp.StatusCode != want || strings.Contains(body, "pullprobe_build_info") != (want == http.StatusOK) ||
		token != "" && strings.Contains(body, token) {
		s.t.Errorf("%s: %s, want %d: %.200s", what, resp.Status, want, body)
	}
	if got := resp.Header.Get("WWW-Authenticate"); (got == "Bearer") != (want == http.StatusUnauthorized) {
		s.t.Errorf("%s: WWW-Authenticate %q", what, got)
	}
}

// logged is a log of agents, with all levels.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// scraped returns a scraper, and an edit that opens the metrics port of an agent for
// it.
func (w *world) scraped(log *logged, auth bool) (scraper, func(*Agent)) {
	addr, scheme := freePort(), "https"
	if !auth {
		scheme = "http"
	}
	return scraper{w.t, scheme + "://" + addr + "/metrics"}, func(a *Agent) {
		a.opts.MetricsAddr, a.opts.MetricsAuth, a.log = addr, auth, log.logger()
	}
}

// account creates a ServiceAccount and returns a token of it.
func (w *world) account(name string) (token string) {
	w.t.Helper()
	path := "/api/v1/namespaces/" + w.ns + "/serviceaccounts"
	w.post(path, map[string]any{"metadata": map[string]any{"name": name}})
	return w.tokenFor(path+"/"+name, nil)
}

func (w *world) tokenFor(account string, audiences []string) string {
	w.t.Helper()
	code, body := w.do(http.MethodPost, account+"/token", "application/json", map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": map[string]any{"audiences": audiences},
	})
	var answer struct{ Status struct{ Token string } }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status.Token == "" {
		w.t.Fatalf("TokenRequest: %d %s", code, body)
	}
	return answer.Status.Token
}

// reader creates the role for scrapers, and binds it to ServiceAccounts and to a
// group.
func (w *world) reader(group string, accounts ...string) {
	w.t.Helper()
	name := "reader-" + w.node
	w.post(rbacPath+"clusterroles", map[string]any{
		"metadata": map[string]any{
			"name": name,
		}, "rules": []any{map[string]any{"nonResourceURLs": []string{"/metrics"}, "verbs": []string{"get"}}},
	})
	subjects := []any{map[string]any{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}}
	for _, a := range accounts {
		subjects = append(subjects, map[string]any{"kind": "ServiceAccount", "name": a, "namespace": w.ns})
	}
	w.post(rbacPath+"clusterrolebindings", map[string]any{
		"metadata": map[string]any{
			"name": name,
		}, "subjects": subjects, "roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
	})
}

// TestMetricsPort checks with a real API server who gets an agent's metrics.
func TestMetricsPort(t *testing.T) {
	w := newWorld(t)
	good, stranger := w.account("scraper"), w.account("stranger")
	elsewhere := w.tokenFor("/api/v1/namespaces/"+w.ns+"/serviceaccounts/scraper", []string{"https://elsewhere.example"})
	// A user that has the role by a group.
	of := *w
	of.ns += "-of-a-group"
	w.post("/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": of.ns}})
	grouped := of.account("scraper")
	w.reader("system:serviceaccounts:"+of.ns, "scraper")
	// RBAC takes a while, and a decision is cached.
	k, err := kube.New(kubeconfig(t, w.testProxy.URL), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	w.until("the role is bound", 15*time.Second, func() bool {
		status, err := k.Authorize(t.Context(), good)
		return err == nil && status == http.StatusOK
	})
	var log logged
	s, open := w.scraped(&log, true)
	w.agent(open)
	w.until("the first report", 20*time.Second, func() bool { _, _, ok := w.report(); return ok })
	reviews := func() string {
		return fmt.Sprintf(
			"%d tokens, %d accesses",
			w.agentProxy.count("POST tokenreviews"),
			w.agentProxy.count("POST subjectaccessreviews"),
		)
	}

	s.expect("no token", "", http.StatusUnauthorized)
	if got := reviews(); got != "0 tokens, 0 accesses" {
		t.Errorf("no token: %s", got)
	}
	garbage := "garbage-5bd1e995"
	forged := good[:len(good)-8] + "AAAAAAAA"
	for range 3 {
		s.expect("garbage", garbage, http.StatusUnauthorized)
		s.expect("another's signature", forged, http.StatusUnauthorized)
		s.expect("for another audience", elsewhere, http.StatusUnauthorized)
		s.expect("without the role", stranger, http.StatusForbidden)
		s.expect("with the role", good, http.StatusOK)
		s.expect("with the role by a group", grouped, http.StatusOK)
	}
	if got := reviews(); got != "6 tokens, 3 accesses" {
		t.Errorf("six tokens, three times each: %s", got)
	}

	// There is nothing else, and nothing at all for unauthorized callers.
	other := scraper{t, strings.Replace(s.url, "/metrics", "/healthz", 1)}
	if resp, _ := other.get(good); resp.StatusCode != http.StatusNotFound {
		t.Errorf("/healthz: %s", resp.Status)
	}
	if resp, _ := other.get(""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("/healthz without a token: %s", resp.Status)
	}
	plain := strings.Replace(s.url, "https:", "http:", 1)
	if resp, err := http.Get(plain); err == nil { // or it hangs up before that is read
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP: %s", resp.Status)
		}
	}

	// Without the API server no new token is accepted.
	fresh := w.tokenFor("/api/v1/namespaces/"+w.ns+"/serviceaccounts/scraper", nil)
	w.agentProxy.set(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	s.expect("the API server is away", fresh+"x", http.StatusServiceUnavailable)
	s.expect("its decision is cached", good, http.StatusOK)
	w.agentProxy.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
	s.expect("half a review", w.tokenFor("/api/v1/namespaces/"+w.ns+"/serviceaccounts/stranger", nil), http.StatusServiceUnavailable)
	const reviewTimeout = 4 * time.Second // package metrics
	w.agentProxy.set(func(http.ResponseWriter, *http.Request, http.Handler) { time.Sleep(reviewTimeout + time.Second) })
	began := time.Now()
	s.expect("it never answers", garbage+"y", http.StatusServiceUnavailable)
	if took := time.Since(began); took > reviewTimeout+time.Second {
		t.Errorf("it never answers: after %v", took)
	}
	w.agentProxy.set(nil)

	for _, token := range []string{good, stranger, elsewhere, forged, grouped, fresh, garbage} {
		if parts := strings.Split(token, "."); strings.Contains(log.String(), parts[len(parts)-1]) {
			t.Errorf("a token is in the log: %s", log.String())
		}
	}
	if !strings.Contains(log.String(), "metrics requests denied: token review failed") {
		t.Errorf("the log does not tell of the API server: %s", log.String())
	}
}

// TestMetricsPortWithoutAuthentication checks that an agent without authentication
// serves its metrics to every caller, and warns if other hosts reach the port.
func TestMetricsPortWithoutAuthentication(t *testing.T) {
	for name, tt := range map[string]struct {
		addr  string
		warns bool
	}{"loopback": {"127.0.0.1", false}, "every address": {"", true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var log logged
			s, open := w.scraped(&log, false)
			stop := w.agent(open, func(a *Agent) { a.opts.MetricsAddr = strings.Replace(a.opts.MetricsAddr, "127.0.0.1", tt.addr, 1) })
			w.until("the first report", 20*time.Second, func() bool { _, _, ok := w.report(); return ok })
			s.expect("no token", "", http.StatusOK)
			s.expect("any token", "any-5bd1e995", http.StatusOK)
			if n := w.agentProxy.count("POST tokenreviews"); n > 0 {
				t.Errorf("%d reviews", n)
			}
			stop()
			if n := strings.Count(log.String(), "metrics are served without authentication"); (n == 1) != tt.warns || n > 1 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}
