package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/agent/publish"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/report"
)

// apiServer is a real kube-apiserver with its etcd, shared by the tests of this
// package. Each test has a Node of its own.
type apiServer struct {
	url   *url.URL
	token string
	bin   string // directory of the program
	stop  func()
	// restart ends this program and starts it again, for the same objects.
	restart func() error
	// beside starts a second kube-apiserver for the same objects, with additional flags.
	beside func(flags ...string) (*apiServer, error)
}

var sharedAPI = sync.OnceValues(func() (*apiServer, error) {
	api, err := startAPIServer()
	if err == nil {
		startedAPI.Store(api)
	}
	return api, err
})

var errNoAPIServer = errors.New("no kube-apiserver and etcd: name the former with PULLPROBE_KUBE_APISERVER or put both on PATH")

func TestMain(m *testing.M) {
	os.Exit(hosttest.InOwnMounts(func() int {
		code := m.Run()
		if api := startedAPI.Load(); api != nil {
			api.stop()
		}
		return code
	}))
}

var startedAPI atomic.Pointer[apiServer]

func startAPIServer() (api *apiServer, err error) {
	program := os.Getenv("PULLPROBE_KUBE_APISERVER")
	if program == "" {
		if program, err = exec.LookPath("kube-apiserver"); err != nil {
			return nil, errNoAPIServer
		}
	}
	etcd := filepath.Join(filepath.Dir(program), "etcd")
	if _, err := os.Stat(etcd); err != nil {
		return nil, errNoAPIServer
	}
	dir, err := os.MkdirTemp("", "agent-api")
	if err != nil {
		return nil, err
	}
	var commands []*exec.Cmd
	stop := func() {
		for _, c := range commands {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		_ = os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	run := func(name string, args ...string) (*exec.Cmd, error) {
		out, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
		if err != nil {
			return nil, err
		}
		defer out.Close()
		c := exec.Command(name, args...)
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			return nil, err
		}
		commands = append(commands, c)
		return c, nil
	}
	client, peer := freePort(), freePort()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	const token = "test-administrator"
	keyFile, tokens := filepath.Join(dir, "sa.key"), filepath.Join(dir, "tokens.csv")
	if err := errors.Join(
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600),
	); err != nil {
		return nil, err
	}
	if _, err := run(etcd, "--data-dir="+dir+"/etcd", "--unsafe-no-fsync", "--log-level=warn", "--listen-client-urls=http://"+client,
		"--advertise-client-urls=http://"+client, "--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer,
		"--initial-cluster=default=http://"+peer); err != nil {
		return nil, err
	}
	serve := func(flags ...string) (*apiServer, error) {
		secure := freePort()
		host, port, _ := net.SplitHostPort(secure)
		api := &apiServer{url: &url.URL{Scheme: "https", Host: secure}, token: token, bin: filepath.Dir(program), stop: stop}
		var running *exec.Cmd
		api.restart = func() (err error) {
			if running != nil {
				_ = running.Process.Kill()
				_ = running.Wait()
			}
			running, err = run(program, append([]string{"--etcd-servers=http://" + client, "--bind-address=" + host, "--secure-port=" + port, "--cert-dir=" + dir,
				"--service-account-issuer=https://test", "--service-account-key-file=" + keyFile, "--service-account-signing-key-file=" + keyFile,
				"--token-auth-file=" + tokens, "--authorization-mode=Node,RBAC", "--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.96.0.0/24",
				"--advertise-address=127.0.0.1", "--profiling=false", "--allow-privileged=true"}, flags...)...)
			if err != nil {
				return err
			}
			return api.ready()
		}
		if err := api.restart(); err != nil {
			text, _ := os.ReadFile(filepath.Join(dir, filepath.Base(program)+".log"))
			return nil, fmt.Errorf("%w: %.2000s", err, text)
		}
		return api, nil
	}
	if api, err = serve(); err != nil {
		return nil, err
	}
	api.beside = serve
	return api, nil
}

// ready waits until the API server answers, and has made the roles that every user has.
func (api *apiServer) ready() error {
	front := api.proxy()
	defer front.Close()
	answers := func(path string) bool {
		resp, err := http.Get(front.URL + path)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if answers("/api/v1/namespaces/default") && answers("/readyz") {
			return nil
		}
	}
	return errors.New("kube-apiserver is not ready")
}

// freePort returns a free address, below the ports that the kernel gives to
// connections (ip_local_port_range), so that no connection takes it before it is used.
func freePort() string {
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.N(12000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
}

// apiProxy is a proxy to the API server that counts requests and can be made to fail.
type apiProxy struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []string // "METHOD resource"
	tamper func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func (api *apiServer) proxy() *apiProxy {
	proxy := httputil.NewSingleHostReverseProxy(api.url)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 16}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	f := &apiProxy{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Came-With", r.Header.Get("Authorization"))
		// Read it first: a proxy that still reads a request when the response is there
		// can lose both.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+api.token)
		f.mu.Lock()
		parts := strings.Split(r.URL.Path, "/")
		resource := parts[len(parts)-1]
		if len(parts) > 6 {
			resource = parts[5]
		}
		f.seen = append(f.seen, r.Method+" "+resource)
		tamper := f.tamper
		f.mu.Unlock()
		if tamper != nil {
			tamper(w, r, proxy)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	return f
}

func (f *apiProxy) set(tamper func(http.ResponseWriter, *http.Request, http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tamper = tamper
}

// count returns how often a request was made, as "METHOD resource".
func (f *apiProxy) count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.seen {
		if s == request {
			n++
		}
	}
	return n
}

// world is a Node in a real API server, and its agents.
type world struct {
	t          testing.TB
	node       string
	ns         string
	testProxy  *apiProxy // of the test
	agentProxy *apiProxy // of the agents

	runtime string    // socket; empty: one that is not there
	logs    io.Writer // of the agents; nil: the test's own output
}

var nodes atomic.Int32

func newWorld(t testing.TB) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a kube-apiserver")
	}
	api, err := sharedAPI()
	if errors.Is(err, errNoAPIServer) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if t, ok := t.(*testing.T); ok {
		t.Parallel() // each has a Node and a namespace of its own
	}
	return newWorldAt(t, api)
}

// newWorldAt is newWorld with an API server of its own.
func newWorldAt(t testing.TB, api *apiServer) *world {
	t.Helper()
	w := &world{t: t, testProxy: api.proxy(), agentProxy: api.proxy()}
	t.Cleanup(w.testProxy.Close)
	t.Cleanup(func() { w.agentProxy.CloseClientConnections(); w.agentProxy.Close() })
	w.node = fmt.Sprintf("node-%d", nodes.Add(1))
	w.ns = "ns-" + w.node
	w.post("/api/v1/nodes", map[string]any{"metadata": map[string]any{"name": w.node}})
	w.post("/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": w.ns}})
	return w
}

func (w *world) do(method, path, contentType string, body any) (int, []byte) {
	w.t.Helper()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), method, w.testProxy.URL+path, sent)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, out
}

func (w *world) post(path string, body any) {
	w.t.Helper()
	if code, out := w.do(http.MethodPost, path, "application/json", body); code/100 != 2 {
		w.t.Fatalf("POST %s: %d %s", path, code, out)
	}
}

func (w *world) patch(path string, body any) {
	w.t.Helper()
	if code, out := w.do(http.MethodPatch, path, "application/merge-patch+json", body); code/100 != 2 {
		w.t.Fatalf("PATCH %s: %d %s", path, code, out)
	}
}

func (w *world) podPath(name string) string { return "/api/v1/namespaces/" + w.ns + "/pods/" + name }

// pod creates a pod on the node, in the state that a kubelet would report.
func (w *world) pod(name, image string, state corev1.ContainerStateWaiting, secrets ...string) {
	w.t.Helper()
	spec := corev1.PodSpec{NodeName: w.node, Containers: []corev1.Container{{Name: "app", Image: image}}}
	for _, s := range secrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	w.post("/api/v1/namespaces/"+w.ns+"/pods", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})
	w.setWaiting(name, state)
}

// setWaiting sets the waiting state of the pod's container, as a kubelet does.
func (w *world) setWaiting(name string, state corev1.ContainerStateWaiting) {
	w.t.Helper()
	w.patch(w.podPath(name)+"/status", map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodPending, StartTime: &metav1.Time{Time: time.Now().Add(-time.Minute)},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Waiting: &state}}},
	}})
}

func (w *world) annotate(name string, value any) {
	w.t.Helper()
	w.patch(w.podPath(name), map[string]any{"metadata": map[string]any{"annotations": map[string]any{"probe": value}}})
}

var backOff = corev1.ContainerStateWaiting{
	Reason:  "ImagePullBackOff",
	Message: `Back-off pulling image: ErrImagePull: failed to resolve image: not found`,
}

// agent runs an agent on the node until the returned function is called, or the test
// ends.
func (w *world) agent(edit ...func(*Agent)) (stop func()) {
	w.t.Helper()
	opts, err := config.Parse([]string{
		"--node-name=" + w.node, "--namespace=" + w.ns, "--kubeconfig=" + kubeconfig(w.t, w.agentProxy.URL), "--health-addr=", "--sweep-interval=0",
		"--runtime-endpoint=" + cmp.Or(w.runtime, filepath.Join(w.t.TempDir(), "absent.sock")), "--journal-dir=" + w.t.TempDir(),
	}, func(string) string { return "" })
	if err != nil {
		w.t.Fatal(err)
	}
	logs := w.logs
	if logs == nil {
		logs = w.t.Output()
	}
	a, err := New(opts, slog.New(slog.NewTextHandler(logs, nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	a.examiner.Node.AllowLoopback = true
	for _, f := range edit {
		f(a)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// report returns the node's ConfigMap and its report; ok is false if there is none.
func (w *world) report() (n report.NodeReport, cm corev1.ConfigMap, ok bool) {
	w.t.Helper()
	code, body := w.do(http.MethodGet, "/api/v1/namespaces/"+w.ns+"/configmaps/pullprobe-"+w.node, "application/json", nil)
	if code == http.StatusNotFound {
		return n, cm, false
	}
	if err := errors.Join(json.Unmarshal(body, &cm), json.Unmarshal([]byte(cm.Data[publish.ReportKey]), &n)); err != nil {
		w.t.Fatalf("%v: %s", err, body)
	}
	return n, cm, true
}

func (w *world) events(pod string) []corev1.Event { return w.eventsIn(w.ns, pod) }

func (w *world) eventsIn(ns, name string) []corev1.Event {
	w.t.Helper()
	var list corev1.EventList
	_, body := w.do(http.MethodGet, "/api/v1/namespaces/"+ns+"/events?fieldSelector=involvedObject.name="+name, "application/json", nil)
	if err := json.Unmarshal(body, &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// until polls for a condition that cannot be watched.
func (w *world) until(what string, limit time.Duration, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			n, _, _ := w.report()
			w.t.Fatalf("not within %v: %s; the report: %d stuck, %+v", limit, what, n.Stuck, n.Diagnoses)
		}
	}
}

// diagnosed waits until the report has a diagnosis of the pod that satisfies ok.
func (w *world) diagnosed(pod string, ok func(report.Diagnosis) bool) (found report.Diagnosis) {
	w.t.Helper()
	w.until("a diagnosis of "+pod, 20*time.Second, func() bool {
		n, _, _ := w.report()
		for _, d := range diagnosesOf(n, w.ns+"/"+pod) {
			if ok(d) {
				found = d
				return true
			}
		}
		return false
	})
	return found
}

// diagnosesOf returns the diagnoses that name a pod, each as if it were the pod's alone
// and with all its checks.
func diagnosesOf(n report.NodeReport, pod string) (of []report.Diagnosis) {
	for _, d := range n.Diagnoses {
		for _, p := range d.Refs() {
			if p.Pod == pod {
				d.Checks = n.ChecksOf(d)
				d.Pod, d.UID, d.Container, d.Volume, d.Asked, d.Announced = p.Pod, p.UID, p.Container, p.Volume, p.Asked, p.Announced
				of = append(of, d)
			}
		}
	}
	return of
}

// podsOf returns how many pods the diagnoses of a report are about.
func podsOf(n report.NodeReport) int {
	pods := 0
	for _, d := range n.Diagnoses {
		pods += d.Pods.Count
	}
	return pods
}

func anyDiagnosis(report.Diagnosis) bool { return true }
