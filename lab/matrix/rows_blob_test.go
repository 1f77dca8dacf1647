//go:build matrix

package matrix

import (
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// blobRows returns the rows about layers, and about the hosts that serve them.
func blobRows() []row {
	// redirected makes a registry that redirects requests for blobs to another host.
	redirected := func(s *scene, o hostOptions) (cdn *host, image string) {
		h := s.host(hostOptions{})
		cdn = s.host(o)
		image, _, _ = s.pushApp(h)
		h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
		s.setPlaceholder("cdn", cdn.String())
		return cdn, image
	}
	// faultyBlobs makes a registry with a fault of its blobs.
	faultyBlobs := func(fault func(http.Handler) http.Handler, args ...string) func(*scene) *subject {
		return func(s *scene) *subject {
			h := s.host(hostOptions{})
			repository, tag := randomWord(), randomWord()
			s.pushRandom(repository, tag, lab.Image{Size: 256 << 10})
			h.setFault(fault)
			return &subject{image: h.image(repository, tag), fix: func() { h.setFault(nil) }, args: args}
		}
	}
	wrongContent := func(name, text string, content func(*scene) v1.Image) row {
		return row{
			name: name,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushObject(repository, tag, content(s))
				return &subject{image: h.image(repository, tag), fix: func() { s.pushRandom(repository, tag, lab.Image{}) }}
			},
			runtime: fails(text),
			want:    want{"registry", "LayerCorrupt", "likely", []string{"pull"}, ""},
		}
	}
	return []row{
		{
			name:     "blob-host-without-a-name",
			misleads: "no such host: the registry's name is right, that of the host of its layers is not",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{notInDNS: true})
				return &subject{image: image, fix: func() { s.w.setDNS(cdn.name, lab.Answer{Addrs: cdn.addrs}) }}
			},
			runtime: fails(`no such host`),
			want:    want{"undetermined", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, "{cdn}"},
		},
		{
			name:     "blob-host-refuses",
			misleads: "connection refused: the registry answers",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{notListening: true})
				return &subject{image: image, fix: func() { cdn.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, "{cdn}"},
		},
		{
			name:     "blob-host-in-a-black-hole",
			misleads: "i/o timeout: the registry answers",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{})
				return &subject{image: image, fix: s.firewall("-d", cdn.addrs[0].String(), "-j", "DROP")}
			},
			runtime: hangs(),
			want:    want{"undetermined", "BlobHostUnreachable", "likely", []string{"blob/{host}"}, "{cdn}"},
		},
		{
			name:     "blob-host-untrusted",
			misleads: "unknown authority: the registry's certificate is good",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{})
				cdn.setCertificate(s.certificate(s.w.privateCA, leafSpec{name: cdn.name}))
				return &subject{image: image, fix: func() { cdn.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: cdn.name})) }}
			},
			runtime: fails(`certificate signed by unknown authority`),
			want:    want{"node-infrastructure", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, "{cdn}"},
		},
		{
			name:     "blob-host-certificate-expired",
			misleads: "certificate has expired: the registry's is good",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{})
				cdn.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: cdn.name, since: -30 * day, until: -day}))
				return &subject{image: image, fix: func() { cdn.setCertificate(s.certificate(s.w.trustedCA, leafSpec{name: cdn.name})) }}
			},
			runtime: fails(`certificate has expired`),
			want:    want{"registry", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, ""},
		},
		{
			name:     "blob-host-forbids",
			misleads: "403 Forbidden: no permission is wanting, the host of the layers refuses this node",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{})
				cdn.setFault(replaceResponse(anyRequest, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/xml")
					w.WriteHeader(http.StatusForbidden)
					w.Write([]byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`))
				}))
				return &subject{image: image, fix: func() { cdn.setFault(nil) }}
			},
			runtime: fails(`403 Forbidden`),
			want:    want{"undetermined", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, "{cdn}"},
		},
		{
			name:     "blob-host-portal",
			misleads: "unexpected EOF: a web filter answers in the place of the layers' host",
			setup: func(s *scene) *subject {
				cdn, image := redirected(s, hostOptions{})
				cdn.setFault(replaceResponse(anyRequest, servePortal))
				return &subject{image: image, fix: func() { cdn.setFault(nil) }}
			},
			runtime: fails(`short read: .* unexpected EOF`),
			want:    want{"node-infrastructure", "BlobHostUnreachable", "likely", []string{"blob/{host}", "pull"}, "{cdn}"},
		},
		{
			name:     "blob-host-for-layers-only-refuses",
			misleads: "connection refused: the registry answers, and so does it for the configuration",
			setup: func(s *scene) *subject {
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{notListening: true})
				repository, tag := randomWord(), randomWord()
				img := s.pushRandom(repository, tag, lab.Image{Size: 256 << 10})
				config, err := img.ConfigName()
				must(s.t, err)
				h.setFault(func(next http.Handler) http.Handler {
					elsewhere := lab.RedirectBlobs(next, cdn.String())
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if lab.IsBlob(r) && r.URL.Path != "/v2/"+repository+"/blobs/"+config.String() {
							elsewhere.ServeHTTP(w, r)
							return
						}
						next.ServeHTTP(w, r)
					})
				})
				s.setPlaceholder("cdn", cdn.String())
				return &subject{image: h.image(repository, tag), fix: func() { cdn.listen() }}
			},
			runtime: fails(`connection refused`),
			want:    want{"undetermined", "BlobHostUnreachable", "likely", []string{"pull"}, "{cdn}"},
		},
		{
			name: "blob-host-over-plain-http",
			setup: func(s *scene) *subject {
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{})
				image, _, _ := s.pushApp(h)
				cdn.setConnHandler(servePlainHTTP)
				h.setFault(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if lab.IsBlob(r) {
							http.Redirect(w, r, "http://"+cdn.name+":"+cdn.portText()+r.URL.Path, http.StatusTemporaryRedirect)
							return
						}
						next.ServeHTTP(w, r)
					})
				})
				return &subject{image: image, fix: func() { h.setFault(nil) }}
			},
			runtime: passes(),
			want:    want{"none", "Healthy", "confirmed", []string{"pull"}, ""},
		},
		{
			name:     "blob-host-cuts-off",
			misleads: "unexpected EOF: neither the registry nor the image",
			setup: func(s *scene) *subject {
				h, cdn := s.host(hostOptions{}), s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				s.pushRandom(repository, tag, lab.Image{Size: 256 << 10})
				h.setFault(func(next http.Handler) http.Handler { return lab.RedirectBlobs(next, cdn.String()) })
				cdn.setFault(truncateLayers)
				s.setPlaceholder("cdn", cdn.String())
				return &subject{image: h.image(repository, tag), args: patiently, fix: func() { cdn.setFault(nil) }}
			},
			runtime: fails(`EOF|reset`),
			want:    want{"node-infrastructure", "ConnectionReset", "likely", []string{"pull"}, "{cdn}"},
		},
		{
			name:    "layer-cut-off",
			setup:   faultyBlobs(truncateLayers, patiently...),
			runtime: fails(`EOF|reset`),
			want:    want{"node-infrastructure", "ConnectionReset", "likely", []string{"pull"}, ""},
		},
		{
			name:     "layer-lost",
			misleads: "not found: the tag is there, the registry has lost a layer",
			setup:    faultyBlobs(respondError(lab.IsBlob, http.StatusNotFound, "BLOB_UNKNOWN")),
			runtime:  failsWith(codes.NotFound, `could not fetch content descriptor .* not found`),
			want:     want{"registry", "LayerCorrupt", "confirmed", []string{"blob/{host}", "pull"}, ""},
		},
		{
			name:    "layer-spoilt",
			setup:   faultyBlobs(corruptLayers),
			runtime: failsWith(codes.FailedPrecondition, `unexpected commit digest`),
			want:    want{"registry", "LayerCorrupt", "likely", []string{"pull"}, ""},
		},
		{
			name:     "layer-stalls",
			misleads: "nothing: the pull goes on for ever",
			setup:    faultyBlobs(stallLayers),
			runtime:  hangs(),
			want:     want{"node-infrastructure", "PullTimedOut", "likely", []string{"pull"}, ""},
		},
		{
			name:     "layers-need-credentials",
			misleads: "nothing until the layers: the manifest is given to anybody",
			setup:    faultyBlobs(respondError(lab.IsBlob, http.StatusForbidden, "DENIED")),
			runtime:  fails(`403 Forbidden`),
			want:     want{"cluster-config", "AccessDeniedOrMissing", "confirmed", []string{"blob/{host}", "pull"}, ""},
		},
		wrongContent("layer-of-another-content", `wrong diff id|mismatched`, func(s *scene) v1.Image { return s.wrongDiffID() }),
		wrongContent("layer-not-an-archive", `tar|archive|header`, func(s *scene) v1.Image {
			return s.imageOfLayer([]byte("this is "+randomWord()+", no archive; "+time.Now().String()), types.OCIUncompressedLayer)
		}),
		wrongContent("layer-not-compressed", `gzip|magic|compress|header`, func(s *scene) v1.Image {
			return s.imageOfLayer([]byte("\x1f\x8b\x08 this is "+randomWord()+", no gzip; "+time.Now().String()), types.OCILayer)
		}),
	}
}
