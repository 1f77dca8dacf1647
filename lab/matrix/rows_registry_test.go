//go:build matrix

package matrix

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// registryRows are about names and what the registry answers to them.
func registryRows() []row {
	return []row{
		{
			name: "tag-missing",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				_, repository, _ := s.app(h)
				tag := word()
				return &subject{image: h.image(repository, tag), heal: func() { s.push(repository, tag, lab.Image{}) }}
			},
			runtime: failsWith(codes.NotFound, `not found$`),
			want:    want{"cluster-config", "TagNotFound", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
		{
			name: "server-error",
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				image, _, _ := s.app(h)
				h.answer(refuses(anything, http.StatusServiceUnavailable, "UNAVAILABLE"))
				return &subject{image: image, heal: func() { h.answer(nil) }}
			},
			runtime: fails(`503 Service Unavailable`),
			want:    want{"registry", "RegistryUnavailable", "confirmed", []string{"manifest/{host}", "pull"}, ""},
		},
	}
}
