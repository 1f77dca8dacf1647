//go:build matrix

package matrix

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// unseenRows returns the rows in which pullprobe cannot see a step, and the step fails.
// There is no test pull, so that the checks alone must not say Healthy.
func unseenRows() []row {
	const notHealthy = "none * *"
	unknown := bounds("*", "*", "likely|undetermined")
	// layersAt makes a registry that redirects layers.
	layersAt := func(name string, runtime string, to func(s *scene) (url string)) row {
		return row{
			name: name, kind: unseen,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				s.warmUp(s.w.common)
				url := to(s)
				h.setFault(replaceResponse(lab.IsBlob, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, url+r.URL.Path, http.StatusTemporaryRedirect)
				}))
				return &subject{image: image, args: []string{"--no-pull"}, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(runtime), want: unknown, never: []string{notHealthy}, wouldDecide: true,
		}
	}
	padding := map[string]string{"padding": strings.Repeat("x", 300<<10)}
	// large makes an image or index that pullprobe does not read, because it is large.
	large := func(name string, runtime runtimeResult, push func(s *scene, repository, tag string),
		fault func(http.Handler) http.Handler, pull bool, w want, never ...string) row {
		return row{
			name: name, kind: unseen,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				push(s, repository, tag)
				h.setFault(fault)
				sub := &subject{image: h.image(repository, tag), fix: func() {
					s.pushRandom(repository, tag, lab.Image{})
					h.setFault(nil)
				}}
				if !pull {
					sub.args = []string{"--no-pull"}
				}
				return sub
			},
			runtime: runtime, want: w, never: never,
		}
	}
	image := func(s *scene, repository, tag string) {
		img, err := lab.MakeImage(lab.DefaultDir(), lab.Image{})
		must(s.t, err)
		s.pushObject(repository, tag, mutate.Annotations(img, padding).(v1.Image))
	}
	index := func(platforms ...string) func(s *scene, repository, tag string) {
		return func(s *scene, repository, tag string) {
			s.pushObject(repository, tag, mutate.Annotations(s.index(platforms...), padding).(v1.ImageIndex))
		}
	}
	// nested makes an index of an index.
	nested := func(platforms ...string) func(s *scene, repository, tag string) {
		return func(s *scene, repository, tag string) {
			outer := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
			s.pushObject(repository, tag, mutate.AppendManifests(outer, mutate.IndexAddendum{Add: s.index(platforms...)}))
		}
	}
	blobLost := respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN")
	return []row{
		layersAt("layers-host-wants-a-login", `401 Unauthorized|authorization failed`, func(s *scene) string {
			cdn := s.host(hostOptions{})
			cdn.setFault(requireBasicAuth(newLogin()))
			return "https://" + cdn.String()
		}),
		layersAt("layers-redirected-to-loopback", `connection refused`, func(*scene) string { return "https://127.0.0.1:9" }),
		layersAt("layers-redirected-to-a-metadata-address", `.`, func(*scene) string { return "http://169.254.169.254:9" }),
		layersAt("layers-redirected-in-a-circle", `stopped after|redirects`, func(s *scene) string {
			cdn := s.host(hostOptions{})
			cdn.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://"+cdn.String()+r.URL.Path, http.StatusTemporaryRedirect)
			}))
			return "https://" + cdn.String()
		}),
		{
			name: "one-of-several-layers-lost", kind: unseen,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				small, err := random.Layer(512, types.OCILayer)
				must(s.t, err)
				lost, err := small.Digest()
				must(s.t, err)
				img, err := lab.MakeImage(lab.DefaultDir(), lab.Image{Size: 64 << 10})
				must(s.t, err)
				img, err = mutate.AppendLayers(img, small)
				must(s.t, err)
				s.pushObject(repository, tag, img)
				h.setFault(respondError(func(r *http.Request) bool { return path.Base(r.URL.Path) == lost.String() },
					http.StatusNotFound, "BLOB_UNKNOWN"))
				return &subject{image: h.image(repository, tag), args: []string{"--no-pull"}, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found`),
			want:    bounds("registry", "LayerCorrupt", "likely", "blob/{host}"), never: []string{notHealthy},
		},
		large("large-manifest-and-its-layers-lost", failsWith(codes.NotFound, `not found`), image, blobLost, false, unknown,
			notHealthy),
		large("large-index-without-platform", failsWith(codes.NotFound, `no match for platform`), index("linux/arm64",
			"linux/s390x"), nil, false, unknown, notHealthy),
		large("nested-index-without-platform", failsWith(codes.NotFound, `no match for platform|not found`),
			nested("linux/arm64"), nil, false, unknown, notHealthy),
		large("nested-index", passes(), nested("linux/amd64"), nil, true, bounds("none", "Healthy", "confirmed", "pull")),
		{
			name: "slow-registry-and-a-short-deadline", kind: unseen,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(1500 * time.Millisecond)
						next.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, args: []string{"--timeout", "3s"}, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(),
			want:    bounds("none|undetermined|registry", "*", "likely|undetermined"),
			never:   []string{"none Healthy confirmed"},
		},
		large("compressed-manifest", runtimeResult{any: true}, func(s *scene, repository, tag string) {
			s.pushRandom(repository, tag, lab.Image{})
		}, rewrite(isManifestGET, func(h http.Header, body []byte) []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(body)
			z.Close()
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Length", fmt.Sprint(b.Len()))
			return b.Bytes()
		}), true, bounds("*", "*", "*"), "cluster-config * confirmed"),
		large("large-manifest", passes(), image, nil, true, bounds("none", "Healthy", "confirmed", "pull")),
		large("large-index", passes(), index("linux/arm64", "linux/amd64"), nil, true, bounds("none", "Healthy",
			"confirmed", "pull")),
	}
}
