package reference

import (
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParse(t *testing.T) {
	good := []struct{ image, want string }{
		{"nginx", "docker.io/library/nginx:latest"},
		{"nginx:1.25", "docker.io/library/nginx:1.25"},
		{"grafana/grafana", "docker.io/grafana/grafana:latest"},
		{"docker.io/nginx", "docker.io/library/nginx:latest"},
		{"index.docker.io/library/nginx", "docker.io/library/nginx:latest"},
		{"localhost/app", "localhost/app:latest"},
		{"registry.lab:5000/team/app:v1", "registry.lab:5000/team/app:v1"},
		{"nginx@" + someDigest, "docker.io/library/nginx@" + someDigest},
		{"nginx:1.25@" + someDigest, "docker.io/library/nginx@" + someDigest},
		{"[::1]:5000/app:1", "[::1]:5000/app:1"},
		{"REGISTRY.lab/app:1", "REGISTRY.lab/app:1"},
	}
	for _, tt := range good {
		check, ref := Parse(tt.image)
		if check.Outcome != report.Pass || ref.String() != tt.want {
			t.Errorf("%s: %s %q, want %q (%s)", tt.image, check.Outcome, ref, tt.want, check.Summary)
		}
	}
	bad := []struct{ image, complaint string }{
		{"", "empty"},
		{"Nginx", "upper-case"},
		{"registry.lab/Team/app:1", "upper-case"},
		{" nginx", "white space before or after"},
		{"nginx ", "white space before or after"},
		{"ngi nx", "white space or a control character"},
		{"nginx\n:1", "white space or a control character"},
		{"https://registry.lab/app:1", `"https://" is not part`},
		{"docker://nginx", `"docker://" is not part`},
		{"nginx:", "tag is missing"},
		{"nginx@", "digest is missing"},
		{"nginx@sha256:abc", "has 3 characters; it must have 64"},
		{"nginx@sha256:", "has 0 characters"},
		{"nginx@" + strings.ToUpper(someDigest), "unknown digest algorithm"},
		{"nginx@sha256:" + strings.Repeat("g", 64), "other than 0-9 and a-f"},
		{"nginx@md5:" + strings.Repeat("a", 32), `unknown digest algorithm "md5"`},
		{"nginx@latest", "no algorithm"},
		{"registry.lab//app:1", "empty part"},
		{"registry.lab/app/:1", "empty part"},
		{"/app:1", "empty part"},
		{"{{ .Values.image }}", "white space"},
		{"app:${TAG}", "placeholder"},
		{"app:" + strings.Repeat("a", 129), "longer than 128"},
		{"registry.lab/" + strings.Repeat("a", 300), "longer than 255"},
		{"ngïnx", "outside ASCII"},
		{strings.Repeat("a", 64), "image ID"},
	}
	for _, tt := range bad {
		check, ref := Parse(tt.image)
		if check.Outcome != report.Fail || check.Cause != report.InvalidReference || !strings.Contains(check.Summary, tt.complaint) {
			t.Errorf("%q: %s %s %q, want it to say %q", tt.image, check.Outcome, check.Cause, check.Summary, tt.complaint)
		}
		if ref != (Ref{}) {
			t.Errorf("%q: fails, but gives %v", tt.image, ref)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:c", "nginx@" + someDigest, "A", "x:", "0@:", "\xd8", "\x00", "[::1]:5/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, image string) {
		check, ref := Parse(image)
		_, err := reference.ParseDockerRef(image)
		if (err == nil) != (check.Outcome == report.Pass) {
			t.Fatalf("%q: %s, the parser says %v", image, check.Outcome, err)
		}
		if err == nil {
			if again, second := Parse(ref.String()); again.Outcome != report.Pass || second != ref {
				t.Errorf("%q: %v does not read back: %v", image, ref, second)
			}
		}
		if s := check.Summary; s == "" || readable.Clean(s, 1000) != s {
			t.Errorf("%q: summary %q", image, s)
		}
	})
}
