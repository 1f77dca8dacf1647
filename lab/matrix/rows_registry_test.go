//go:build matrix

package matrix

import (
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// registryRows returns the rows about the image's name and the registry's response.
func registryRows() []row {
	return []row{
		{
			name: "reference-invalid",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, tag := s.pushApp(h)
				return &subject{image: h.image(strings.ToUpper(repository), tag), fixedImage: h.image(repository, tag), fix: func() {}}
			},
			runtime: fails(`invalid reference format`),
			want:    want{"cluster-config", "InvalidReference", "confirmed", []string{"reference"}, ""},
		},
		{
			name: "tag-missing",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				tag := randomWord()
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "tag-mistyped",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, version := randomWord(), randomWord()
				s.pushRandom(repository, "v"+version, lab.Image{})
				s.setPlaceholder("near", "v"+version)
				return &subject{image: h.image(repository, version), fixedImage: h.image(repository, "v"+version), fix: func() {}}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}", "pull"}, "{near}"},
		},
		{
			name: "repository-missing",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord()+"/"+randomWord(), randomWord()
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "RepositoryNotFound", "likely", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "digest-missing",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.pushApp(h)
				img := s.imageOfLayer(s.randomTar(1<<10), types.OCIUncompressedLayer)
				digest, err := img.Digest()
				must(s.t, err)
				return &subject{image: h.image(repository, digest.String()), fix: func() { s.pushObject(repository, randomWord(), img) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name:     "index-without-platform",
			misleads: "not found: the tag is there",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushObject(repository, tag, s.index("linux/arm64", "linux/s390x"))
				return &subject{image: h.image(repository, tag), fix: func() { s.pushObject(repository, tag, s.index("linux/arm64", "linux/amd64")) }}
			},
			runtime: failsWith(codes.NotFound, `no match for platform.*not found$`),
			want:    want{"cluster-config", "PlatformMismatch", "confirmed", []string{"image/{host}", "pull"}, ""},
		},
		{
			name:     "manifest-of-another-platform",
			misleads: "nothing: it is pulled and dies with exec format error",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, tag, lab.Image{Platform: "linux/arm64"})
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: passes(),
			want:    want{"cluster-config", "PlatformMismatch", "likely", []string{"image/{host}"}, ""},
		},
		{
			name: "manifest-schema-1",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(isManifest, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
					w.Write([]byte(`{"schemaVersion":1,"name":"app","tag":"1","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}`))
				}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.Unimplemented, `manifest.v1\+prettyjws" is no longer supported`),
			want:    want{"registry", "UnsupportedManifest", "confirmed", []string{"image/{host}", "pull"}, ""},
		},
		{
			name:     "manifest-not-an-image",
			misleads: "not found: there is something of that name, and it is no image",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(isManifest, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/vnd.acme.bundle.v1+json")
					w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.acme.bundle.v1+json","files":[]}`))
				}))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound,
				`could not fetch content descriptor .*\(application/vnd.acme.bundle.v1\+json\) from remote: not found`),
			want: want{"registry", "UnsupportedManifest", "confirmed", []string{"image/{host}", "pull"}, ""},
		},
		{
			name:     "portal",
			misleads: "not found: a login page answers in the registry's place",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(anyRequest, servePortal))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `unexpected media type text/html`),
			want:    want{"undetermined", "Undetermined", "undetermined", []string{"manifest/{host}"}, ""},
		},
		{
			name:     "not-a-registry",
			misleads: "not found: what answers is a web server and no registry",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(anyRequest, serveWebServer))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"undetermined", "Undetermined", "undetermined", []string{"manifest/{host}"}, ""},
		},
		{
			name: "server-error",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(anyRequest, http.StatusServiceUnavailable, "UNAVAILABLE"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`503 Service Unavailable`),
			want:    want{"registry", "RegistryUnavailable", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "server-error-for-manifests-only",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(isManifest, http.StatusInternalServerError, "UNKNOWN"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`500 Internal Server Error`),
			want:    want{"registry", "RegistryUnavailable", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "registry-never-answers",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(anyRequest, serveNever))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: hangs(),
			want:    want{"registry", "RegistryUnavailable", "likely", nil, ""},
		},
		{
			name:     "manifest-endless",
			misleads: "failed precondition: HEAD is answered well, and the body never ends",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(replaceResponse(func(r *http.Request) bool { return isManifest(r) && r.Method == http.MethodGet }, serveEndless))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: failsWith(codes.FailedPrecondition, `read past expected size`),
			want:    want{"registry", "LayerCorrupt", "likely", []string{"pull"}, ""},
		},
		{
			name: "rate-limited",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				h.setFault(respondError(isManifest, http.StatusTooManyRequests, "TOOMANYREQUESTS", "Retry-After", "60"))
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: fails(`429 Too Many Requests`),
			want:    want{"registry", "RateLimited", "likely", []string{"manifest/{host}"}, ""}, // no test pull from a registry that limits the rate
		},
	}
}
