//go:build matrix

package matrix

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// isBase reports whether the request is for the API's root, which containerd never requests.
func isBase(r *http.Request) bool { return r.URL.Path == "/v2/" }

// isManifestGET reports whether the request reads a manifest.
func isManifestGET(r *http.Request) bool { return isManifest(r) && r.Method == http.MethodGet }

// rewrite changes the answers to the requests that which selects.
func rewrite(which func(*http.Request) bool, change func(h http.Header, body []byte) []byte) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !which(r) {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			body := change(w.Header(), rec.Body.Bytes())
			w.WriteHeader(rec.Code)
			w.Write(body)
		})
	}
}

// withoutHeader removes a header from the answers to HEAD of manifests, or to all requests
// of manifests.
func withoutHeader(header string, get bool) func(http.Handler) http.Handler {
	which := func(r *http.Request) bool { return isManifest(r) && (get || r.Method == http.MethodHead) }
	return rewrite(which, func(h http.Header, body []byte) []byte {
		h.Del(header)
		if header == "Content-Type" {
			h[header] = nil // otherwise net/http guesses one
		}
		return body
	})
}

// firstOf applies a fault to the first n requests that which selects, counted for each
// examination and for containerd.
func (s *scene) firstOf(n int64, which func(*http.Request) bool, f http.HandlerFunc) func(http.Handler) http.Handler {
	var product, runtime atomic.Int64
	return replaceResponse(func(r *http.Request) bool {
		if !which(r) {
			return false
		}
		if strings.HasPrefix(r.UserAgent(), productAgent) {
			return product.Add(1) <= n
		}
		return runtime.Add(1) <= n
	}, f)
}

// after applies a fault to what pullprobe and its test pull request after their first n
// requests: to a limit that the kubelet's own pull did not reach.
func (s *scene) after(n int64, which func(*http.Request) bool, f http.HandlerFunc) func(http.Handler) http.Handler {
	var count atomic.Int64
	return replaceResponse(func(r *http.Request) bool {
		return which(r) && s.log.client(r) != byRuntime && count.Add(1) > n
	}, f)
}

// requestRows returns the rows in which the requests of containerd, and their order, decide.
func requestRows() []row {
	// quirk makes a registry with a fault; the fix removes it.
	quirk := func(name string, runtime runtimeResult, w want, fault func(*scene) func(http.Handler) http.Handler,
		never ...string) row {
		return row{
			name: name, kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(fault(s))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: runtime, want: w, never: never,
		}
	}
	healthy := bounds("none", "Healthy", "confirmed", "pull")
	mayBeHealthy := bounds("none|registry", "Healthy|Recovered|RateLimited|RegistryUnavailable", "*")
	const notHealthy = "none * *"
	always := func(f func(http.Handler) http.Handler) func(*scene) func(http.Handler) http.Handler {
		return func(*scene) func(http.Handler) http.Handler { return f }
	}
	answer := func(which func(*http.Request) bool, code int) func(*scene) func(http.Handler) http.Handler {
		return always(respondError(which, code, "UNKNOWN"))
	}
	// posts makes a token service that answers POST differently. GET works, and
	// the login is right.
	posts := func(name string, code int, runtime runtimeResult, w want, never ...string) row {
		return row{
			name: name, kind: requests,
			setup: func(s *scene) *subject {
				h, l := s.host(hostOptions{}), newLogin()
				image, _, _ := s.pushApp(h)
				t := &tokenService{grant: grantOnly(l)}
				good := t.requireToken(realmOf(h))
				bad := replaceResponse(func(r *http.Request) bool { return r.URL.Path == "/token" && r.Method == http.MethodPost },
					respondStatus(code))
				h.setFault(func(next http.Handler) http.Handler { return bad(good(next)) })
				return &subject{image: image, auth: l, fix: func() { h.setFault(good) }}
			},
			runtime: runtime, want: w, never: never,
		}
	}
	tokenFails := bounds("registry", "TokenServiceFailed", "confirmed|likely", "pull")
	// unpulled is the row without a test pull: the checks alone must not say Healthy.
	// If containerd pulls the image, they must not say that a server fails.
	unpulled := func(r row) row {
		r.name += "-without-a-test-pull"
		if r.want.Fault == "none" {
			r.want = bounds("none|undetermined", "Healthy|Undetermined", "likely|undetermined")
		} else {
			r.kind = unseen
			r.want = bounds("registry|undetermined", "*", "likely|undetermined")
			r.never = append(r.never, notHealthy)
		}
		return unpulledRow(r)
	}
	rows := []row{
		quirk("base-hangs-and-manifests-are-fine", passes(), healthy, always(replaceResponse(isBase, serveNever))),
		quirk("base-fails-and-manifests-are-fine", passes(), healthy, answer(isBase, http.StatusInternalServerError)),
		quirk("base-forbidden-and-manifests-are-fine", passes(), healthy, answer(isBase, http.StatusForbidden)),
		quirk("base-is-a-web-page-and-manifests-are-fine", passes(), healthy, always(replaceResponse(isBase, serveWebServer))),
		{
			name: "tag-missing-and-the-list-hangs", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool { return isTagList(r) || isBase(r) }, serveNever))
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, tag, lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want: bounds("cluster-config|undetermined", "TagNotFound|RepositoryNotFound|AccessDeniedOrMissing",
				"likely|confirmed", "manifest/{host}"),
			never: []string{"* RegistryUnavailable *"},
		},
		posts("token-post-500-get-200", 500, fails(`500 Internal Server Error`), tokenFails, notHealthy),
		posts("token-post-502-get-200", 502, fails(`502 Bad Gateway`), tokenFails, notHealthy),
		posts("token-post-403-get-200", 403, fails(`403 Forbidden`), bounds("*", "*", "likely|undetermined", "pull"),
			notHealthy),
		posts("token-post-405-get-200", 405, passes(), healthy),
		posts("token-post-404-get-200", 404, passes(), healthy),
		posts("token-post-401-get-200", 401, passes(), healthy),
		posts("token-post-400-get-200", 400, passes(), healthy),
		quirk("unavailable-once", passes(), healthy, func(s *scene) func(http.Handler) http.Handler {
			return s.firstOf(1, isManifest, respondStatus(http.StatusServiceUnavailable))
		}, "* RegistryUnavailable *"),
		quirk("rate-limited-twice", passes(), mayBeHealthy, func(s *scene) func(http.Handler) http.Handler {
			return s.firstOf(2, isManifest, respondStatus(http.StatusTooManyRequests))
		}, "* RateLimited confirmed"),
		quirk("connection-broken-twice", passes(), healthy, func(s *scene) func(http.Handler) http.Handler {
			return s.firstOf(2, isManifest, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, "* ConnectionReset *", "* RegistryUnavailable confirmed"),
		quirk("bad-gateway-once", fails(`502 Bad Gateway`), bounds("*", "*", "*"),
			func(s *scene) func(http.Handler) http.Handler {
				return s.firstOf(1, isManifest, respondStatus(http.StatusBadGateway))
			}, "registry RegistryUnavailable confirmed"),
		{
			name: "tag-missing-and-three-requests-allowed", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				limit := respondError(anyRequest, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After",
					"60")(nil).ServeHTTP
				h.setFault(s.after(3, anyRequest, limit))
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() {
					h.setFault(nil)
					s.pushRandom(repository, tag, lab.Image{})
				}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("cluster-config", "TagNotFound", "likely|confirmed", "manifest/{host}"),
		},
		{
			name: "layer-missing-and-six-requests-allowed", kind: requests,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				lost := respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN")
				limit := respondError(anyRequest, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After",
					"60")(nil).ServeHTTP
				limited := s.after(6, anyRequest, limit)
				h.setFault(func(next http.Handler) http.Handler { return limited(lost(next)) })
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    bounds("registry", "LayerCorrupt", "likely|confirmed"),
			never:   []string{notHealthy, "* RateLimited *"},
		},
		quirk("head-without-a-content-type", failsWith(codes.NotFound, `could not fetch content descriptor`),
			bounds("registry|undetermined", "*", "*", "pull"), always(withoutHeader("Content-Type", false)), notHealthy,
			"cluster-config * *"),
		quirk("manifest-without-a-content-type", failsWith(codes.NotFound, `could not fetch content descriptor`),
			bounds("registry|undetermined", "*", "*", "pull"), always(withoutHeader("Content-Type", true)), notHealthy,
			"cluster-config * *"),
		quirk("head-without-a-digest", passes(), healthy, always(withoutHeader("Docker-Content-Digest", false))),
		quirk("manifest-without-a-digest", passes(), healthy, always(withoutHeader("Docker-Content-Digest", true))),
		quirk("manifest-as-plain-json", failsWith(codes.NotFound, `could not fetch content descriptor`),
			bounds("registry|undetermined", "*", "*", "pull"), always(rewrite(isManifest, func(h http.Header, b []byte) []byte {
				h.Set("Content-Type", "application/json")
				return b
			})), notHealthy, "cluster-config * *"),
		quirk("manifest-reformatted-by-a-gateway", failsWith(codes.FailedPrecondition, `read past expected size`),
			bounds("registry|undetermined|node-infrastructure", "*", "likely|undetermined|confirmed", "pull"),
			always(rewrite(isManifestGET, func(h http.Header, b []byte) []byte {
				var out bytes.Buffer
				if json.Indent(&out, b, "", "\t") != nil {
					return b
				}
				h.Del("Content-Length")
				return out.Bytes()
			})), notHealthy, "cluster-config * *"),
		quirk("manifest-by-digest-not-found", failsWith(codes.NotFound, `not found`), bounds("registry|undetermined", "*",
			"*", "pull"), always(respondError(func(r *http.Request) bool {
			return isManifestGET(r) && strings.Contains(r.URL.Path, "sha256:")
		}, http.StatusNotFound, "MANIFEST_UNKNOWN")), notHealthy, "cluster-config * *", "* TagNotFound *"),
		quirk("manifest-head-without-a-length", passes(), healthy, always(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if isManifestGET(r) {
					rec := httptest.NewRecorder()
					next.ServeHTTP(rec, r)
					for k, v := range rec.Header() {
						w.Header()[k] = v
					}
					w.Header().Del("Content-Length")
					w.WriteHeader(rec.Code)
					http.NewResponseController(w).Flush() // chunked
					io.Copy(w, rec.Body)
					return
				}
				next.ServeHTTP(w, r)
			})
		})),
	}
	for _, r := range rows {
		switch r.name {
		case "token-post-500-get-200", "token-post-403-get-200", "head-without-a-content-type",
			"manifest-reformatted-by-a-gateway",
			"manifest-by-digest-not-found", "layer-missing-and-six-requests-allowed", "manifest-as-plain-json",
			"base-hangs-and-manifests-are-fine", "base-forbidden-and-manifests-are-fine", "unavailable-once",
			"connection-broken-twice":
			rows = append(rows, unpulled(r))
		}
	}
	return rows
}
