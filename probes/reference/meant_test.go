package reference

import (
	"strings"
	"testing"

	"github.com/pullprobe/pullprobe/report"
)

func TestMeant(t *testing.T) {
	hex := strings.TrimPrefix(someDigest, "sha256:")
	for _, tt := range []struct{ image, want string }{
		{"MyCompany/API", "mycompany/api"},
		{"registry.lab/MyCompany/API:V1.2", "registry.lab/mycompany/api:V1.2"}, // the case of a tag counts
		{"http://registry.lab/app:1", "registry.lab/app:1"},
		{"https://registry.lab:5000/app:1/", "registry.lab:5000/app:1"},
		{"docker://nginx:1.25", "nginx:1.25"},
		{" nginx:1.25\n", "nginx:1.25"},
		{"app:" + someDigest, "app@" + someDigest},
		{"registry.lab/app:v1:" + someDigest, "registry.lab/app:v1@" + someDigest},
		{"app@" + hex, "app@" + someDigest},
		{"app@sha256-" + hex, "app@" + someDigest},
		{"app@SHA256:" + strings.ToUpper(hex), "app@" + someDigest},
		{"app@sha256:" + strings.ToUpper(hex), "app@" + someDigest},
		{"registry.lab/app@v1.2", "registry.lab/app:v1.2"},
		{"app::1", "app:1"},
		{"registry.lab//app:1", "registry.lab/app:1"},
		{"/app:1", "app:1"},

		// What was left out cannot be told, and what is no name stays none.
		{"app:", ""},
		{"app@", ""},
		{"", ""},
		{"app@sha256:" + hex[:12], ""},
		{"registry.lab/{{ .Values.image }}:1", ""},
		{"registry.lab/$IMAGE:1", ""},
		{"https://user:secret@registry.lab/app:1", ""},
		{hex, ""},
		{"ngi nx", ""},
		{"nginx:1.25", ""}, // it is valid
		{strings.Repeat("A", 600), ""},
	} {
		if got := Meant(tt.image); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.image, got, tt.want)
		}
	}
}

func TestCutDigest(t *testing.T) {
	for _, tt := range []struct{ image, ref, digest string }{
		{"registry.lab/app@sha256:e3b0c44298fc", "registry.lab/app:", "sha256:e3b0c44298fc"},
		{"app:v1@" + someDigest[:len(someDigest)-1], "docker.io/library/app:v1", someDigest[:len(someDigest)-1]},
		{"app@" + someDigest, "", ""}, // whole
		{"app@" + someDigest + "0", "", ""},
		{"app@sha256:e3b0", "", ""}, // too little is left
		{"app@sha256:E3B0C44298FC", "", ""},
		{"App@sha256:e3b0c44298fc", "", ""},
		{"app:v1", "", ""},
	} {
		ref, digest, ok := CutDigest(tt.image)
		if ref.String() != tt.ref || digest != tt.digest || ok != (tt.digest != "") {
			t.Errorf("%q: %q %q %v", tt.image, ref, digest, ok)
		}
	}
}

// What is suggested can be parsed, is another name than the invalid one, and has nothing
// that a shell reads as its own.
func FuzzMeant(f *testing.F) {
	for _, image := range []string{"http://A/b:1", "a:" + someDigest, "A//b@@c", "a@sha256:e3b0c44298fc", "x:y:z", "[::1]:5000/App"} {
		f.Add(image)
	}
	f.Fuzz(func(t *testing.T, image string) {
		meant := Meant(image)
		if ref, digest, ok := CutDigest(image); ok && (ref.Path == "" || !strings.Contains(image, digest)) {
			t.Errorf("%q: %+v %q", image, ref, digest)
		}
		if meant == "" {
			return
		}
		if check, _ := Parse(meant); check.Outcome != report.Pass || meant == image || strings.ContainsAny(meant, " \t\n'\"`;&|$<>(){}\\") {
			t.Errorf("%q: %q is %s", image, meant, check.Summary)
		}
	})
}
