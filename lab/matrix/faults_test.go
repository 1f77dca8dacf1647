//go:build matrix

package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

// Faults of a host: what it does instead of forwarding a request to the registry.

// respondError answers the requests that which selects with a status and an error of the
// distribution specification.
func respondError(which func(*http.Request) bool, code int, registryCode string, headers ...string) func(http.Handler) http.Handler {
	return replaceResponse(which, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		lab.RegistryError(w, code, registryCode, "as the matrix wants it")
	})
}

// replaceResponse answers the requests that which selects with f.
func replaceResponse(which func(*http.Request) bool, f http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if which(r) {
				f(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func anyRequest(*http.Request) bool { return true }

// isManifest reports whether the request is for a manifest.
func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

// servePortal answers every request with a login page.
func servePortal(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<html><title>Sign in to the guest network</title><form action=/login></form></html>")
}

// serveWebServer answers like a web server that is not a registry.
func serveWebServer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "<html><title>404 Not Found</title></html>")
}

// serveNever accepts the request and never answers.
func serveNever(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// serveEndless sends a response that does not end. It is slow, so that the client has read
// about as much as was sent.
func serveEndless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	for tick := time.NewTicker(time.Millisecond); r.Context().Err() == nil; <-tick.C {
		if _, err := w.Write([]byte(strings.Repeat(`{"x":`, 200))); err != nil {
			return
		}
	}
}

// untouchedBytes is the size up to which blobs are not changed: a configuration, a range
// of one byte.
const untouchedBytes = 1 << 10

// truncateLayers sends half of every layer and resets the connection.
// containerd connects 23 times for such a layer, see [patiently].
func truncateLayers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lab.IsBlob(r) {
			w = &truncateWriter{w, r}
		}
		next.ServeHTTP(w, r)
	})
}

// patiently gives a test pull more time than a handshake takes on a busy machine.
var patiently = []string{"--timeout", "50s"}

type truncateWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (h *truncateWriter) Write(b []byte) (int, error) {
	// containerd requests the rest repeatedly, with "bytes=N-".
	if rest := strings.HasSuffix(h.r.Header.Get("Range"), "-"); len(b) < untouchedBytes && !rest {
		return h.ResponseWriter.Write(b)
	}
	h.ResponseWriter.Write(b[:len(b)/2])
	http.NewResponseController(h.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// stallLayers sends half of every layer and then nothing.
func stallLayers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lab.IsBlob(r) {
			w = &stallWriter{w, r}
		}
		next.ServeHTTP(w, r)
	})
}

type stallWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (s *stallWriter) Write(b []byte) (int, error) {
	if len(b) < untouchedBytes {
		return s.ResponseWriter.Write(b)
	}
	s.ResponseWriter.Write(b[:len(b)/2])
	http.NewResponseController(s.ResponseWriter).Flush()
	<-s.r.Context().Done()
	panic(http.ErrAbortHandler)
}

// corruptLayers changes one byte of every layer.
func corruptLayers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lab.IsBlob(r) {
			w = &corruptWriter{w}
		}
		next.ServeHTTP(w, r)
	})
}

type corruptWriter struct{ http.ResponseWriter }

func (s *corruptWriter) Write(b []byte) (int, error) {
	if len(b) < untouchedBytes {
		return s.ResponseWriter.Write(b)
	}
	b = slices.Clone(b)
	b[len(b)/2] ^= 0xff
	return s.ResponseWriter.Write(b)
}

// shiftDate shifts the Date header by off.
func shiftDate(off time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			next.ServeHTTP(&dateWriter{w, off}, r)
		})
	}
}

// dateWriter overwrites the date that the handler sets.
type dateWriter struct {
	http.ResponseWriter
	off time.Duration
}

func (d *dateWriter) WriteHeader(status int) {
	d.Header().Set("Date", time.Now().Add(d.off).UTC().Format(http.TimeFormat))
	d.ResponseWriter.WriteHeader(status)
}

// requireBasicAuth accepts only l, as in RFC 7617.
func requireBasicAuth(l *login) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, ok := r.BasicAuth(); !ok || (login{user, password}) != *l {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				lab.RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// forbidOtherLogins accepts only l. It answers 403 to other users, and 401 to anonymous
// requests.
func forbidOtherLogins(l *login) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		inner := requireBasicAuth(l)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, ok := r.BasicAuth(); ok && (login{user, password}) != *l {
				lab.RegistryError(w, http.StatusForbidden, "DENIED", "as the matrix wants it")
				return
			}
			inner.ServeHTTP(w, r)
		})
	}
}

// tokenService is a token service that follows distribution's specification, with the
// registry's part of it.
type tokenService struct {
	// grant returns the status for a login and whether the token of a 200 gives
	// access. A nil login is anonymous.
	grant func(*login) (status int, access bool)

	mu    sync.Mutex
	valid map[string]bool
}

// grantAll gives every user, and anonymous requests, a token with access.
func grantAll(*login) (int, bool) { return http.StatusOK, true }

// grantOnly gives only l a token with access, and anonymous requests one without.
func grantOnly(l *login) func(*login) (int, bool) {
	return func(have *login) (int, bool) {
		switch {
		case have == nil:
			return http.StatusOK, false
		case *have != *l:
			return http.StatusUnauthorized, false
		}
		return http.StatusOK, true
	}
}

func (t *tokenService) setGrant(grant func(*login) (int, bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grant = grant
}

// ServeHTTP issues tokens: GET with basic auth or none, POST with a password.
func (t *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var user *login
	if name, password, ok := r.BasicAuth(); ok {
		user = &login{name, password}
	} else if r.Method == http.MethodPost {
		user = &login{r.PostFormValue("username"), r.PostFormValue("password")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	status, access := t.grant(user)
	if status != http.StatusOK {
		lab.RegistryError(w, status, "DENIED", "as the matrix wants it")
		return
	}
	token := randomWord() + randomWord()
	tokenIssuers.Store(token, strings.TrimSuffix(r.Host, ":443"))
	if access {
		if t.valid == nil {
			t.valid = map[string]bool{}
		}
		t.valid[token] = true
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// requireToken accepts requests with a token that gives access, and refers others to
// realm.
func (t *tokenService) requireToken(realm string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				t.ServeHTTP(w, r)
				return
			}
			token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			t.mu.Lock()
			ok := given && t.valid[token]
			t.mu.Unlock()
			if ok {
				next.ServeHTTP(w, r)
				return
			}
			challenge := fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm)
			if _, rest, ok := strings.Cut(r.URL.Path, "/v2/"); ok && rest != "" {
				for _, end := range []string{"/manifests/", "/blobs/", "/tags/"} {
					if repository, _, ok := strings.Cut(rest, end); ok {
						challenge += fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
					}
				}
			}
			if given {
				challenge += `,error="insufficient_scope"`
			}
			w.Header().Set("WWW-Authenticate", challenge)
			lab.RegistryError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		})
	}
}

// realmOf returns the URL of a host's token service.
func realmOf(h *host) string { return "https://" + h.String() + "/token" }
