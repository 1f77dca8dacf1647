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

// What a host does instead of passing a request on to the registry.

// refuses answers what which picks with a status and an error of the
// distribution specification.
func respondError(which func(*http.Request) bool, code int, registryCode string, headers ...string) func(http.Handler) http.Handler {
	return replaceResponse(which, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		lab.RegistryError(w, code, registryCode, "as the matrix wants it")
	})
}

// instead answers what which picks by f.
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

// isManifest says whether a manifest is asked for.
func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

// portal is a login page that answers everything.
func servePortal(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<html><title>Sign in to the guest network</title><form action=/login></form></html>")
}

// notARegistry is a web server that knows nothing of registries.
func serveWebServer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "<html><title>404 Not Found</title></html>")
}

// neverAnswers takes the request and keeps it.
func serveNever(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// endless is an answer without an end, slow enough that what the client has
// read and what has been sent is much the same.
func serveEndless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	for tick := time.NewTicker(time.Millisecond); r.Context().Err() == nil; <-tick.C {
		if _, err := w.Write([]byte(strings.Repeat(`{"x":`, 200))); err != nil {
			return
		}
	}
}

// small is how many bytes of a blob pass unspoilt: a configuration, a range of
// one byte.
const untouchedBytes = 1 << 10

// cutOff sends half of every layer and breaks the connection.
func truncateLayers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lab.IsBlob(r) {
			w = &truncateWriter{w, r}
		}
		next.ServeHTTP(w, r)
	})
}

type truncateWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (h *truncateWriter) Write(b []byte) (int, error) {
	// containerd asks for the rest again and again, with "bytes=N-".
	if rest := strings.HasSuffix(h.r.Header.Get("Range"), "-"); len(b) < untouchedBytes && !rest {
		return h.ResponseWriter.Write(b)
	}
	h.ResponseWriter.Write(b[:len(b)/2])
	http.NewResponseController(h.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// stalls sends half of every layer and then nothing.
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

// spoils changes a byte of every layer.
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

// dated puts another time into the Date header.
func shiftDate(off time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			next.ServeHTTP(&dateWriter{w, off}, r)
		})
	}
}

// datedWriter keeps what is behind it from setting the date.
type dateWriter struct {
	http.ResponseWriter
	off time.Duration
}

func (d *dateWriter) WriteHeader(status int) {
	d.Header().Set("Date", time.Now().Add(d.off).UTC().Format(http.TimeFormat))
	d.ResponseWriter.WriteHeader(status)
}

// basicAuth lets only l through, after RFC 7617.
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

// forbidsLogin answers 403 to whoever is not l and 401 to nobody.
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

// tokens is a token service after distribution's specification, and the
// registry's side of it.
type tokenService struct {
	// grant says with which status a login is answered, and whether the token
	// that comes with 200 opens the registry. nil is nobody in particular.
	grant func(*login) (status int, opens bool)

	mu    sync.Mutex
	valid map[string]bool
}

// anybody and known are who gets a token that opens.
func grantAll(*login) (int, bool) { return http.StatusOK, true }

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

// ServeHTTP gives tokens: GET with basic auth or none, POST with a password.
func (t *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var who *login
	if user, password, ok := r.BasicAuth(); ok {
		who = &login{user, password}
	} else if r.Method == http.MethodPost {
		who = &login{r.PostFormValue("username"), r.PostFormValue("password")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	status, opens := t.grant(who)
	if status != http.StatusOK {
		lab.RegistryError(w, status, "DENIED", "as the matrix wants it")
		return
	}
	token := randomWord() + randomWord()
	if opens {
		if t.valid == nil {
			t.valid = map[string]bool{}
		}
		t.valid[token] = true
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// guard lets through who has a token that opens, and sends others to realm.
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

// realm is the token service of a host.
func realmOf(h *host) string { return "https://" + h.String() + "/token" }
