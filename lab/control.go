package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Each init serves HTTP on a Unix socket, run/<space>.sock: the services of its
// namespace, and in infra the DNS table. A socket with a path is reachable from
// every network namespace.

func controlSocket(d Dir, space string) string { return d.Run(space + ".sock") }

// controlHandler returns the HTTP API of a supervisor.
func controlHandler(s *supervisor) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(s.status())
	})
	mux.HandleFunc("POST /services/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		verbs := map[string]func(string) error{"start": s.start, "stop": s.stop, "kill": s.kill}
		verb, ok := verbs[r.PathValue("verb")]
		if !ok {
			http.Error(w, "start, stop or kill", http.StatusNotFound)
			return
		}
		if err := verb(r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return mux
}

func serveControl(d Dir, space string, h http.Handler) error {
	path := controlSocket(d, space)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go http.Serve(l, h)
	return nil
}

// control sends a request to an init. in and out are JSON and may be nil.
func control(ctx context.Context, d Dir, space, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, body)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", controlSocket(d, space))
		},
	}
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		return fmt.Errorf("the init of %s does not answer: %w", space, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("%s: %s", space, strings.TrimSpace(string(b)))
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
