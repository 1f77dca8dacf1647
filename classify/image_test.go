package classify

import (
	"strings"
	"testing"
)

func TestImageOfAMessage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for message, want := range map[string]Image{
		`Failed to pull image "registry.example/team/app:1": rpc error: code = NotFound desc = not found`: {"registry.example", "team/app", "1"},
		`Back-off pulling image "registry.example:5000/app": ErrImagePull`:                                {"registry.example:5000", "app", ""},
		`Failed to pull image "nginx:1.99": not found`:                                                    {"docker.io", "library/nginx", "1.99"},
		`failed to pull image "team/app@` + digest + `": not found`:                                       {"docker.io", "team/app", digest},
		`failed to resolve image: localhost/app:1: not found`:                                             {"localhost", "app", "1"},
		`failed to do request: Head "https://registry.example/v2/team/app/manifests/1": EOF`:              {"registry.example", "team/app", "1"},
		`failed to do request: Head "https://mirror.example/v2/team/app/manifests/1?ns=docker.io": EOF`:   {},
		`reading manifest 1 in registry.example/app: manifest unknown`:                                    {"registry.example", "app", "1"},
		`initializing source docker://registry.example/app:1: pinging container registry`:                 {"registry.example", "app", "1"},
		`Failed to pull image "UPPER case": invalid reference format`:                                     {},
		`pull access denied, repository does not exist or may require authorization`:                      {},
	} {
		if got := Message(message).Image; got != want {
			t.Errorf("%s\ngot  %q\nwant %q", message, got, want)
		}
	}
}
