//go:build matrix

package matrix

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/pullprobe/pullprobe/lab"
)

// nameRows returns the rows about names that people mistype: the fix has the name that is
// meant, or must not guess one. What other pods run is unknown here; the tests of package
// examine, and those on the cluster, have it.
func nameRows() []row {
	return slices.Concat(suggestedNames(), suggestedFromElsewhere(), namesNotSuggested())
}

// typo returns a row whose image has a mistyped name, of which the fix has the right one.
// Names returns both, of an image that was pushed as repository:tag.
func typo(name string, w want, runtime runtimeResult, names func(s *scene, h *host) (mistyped, right string)) row {
	w.fixText = "{meant}"
	return row{
		name: name, kind: mistypedNames, runtime: runtime, want: w,
		setup: func(s *scene) *subject {
			h := s.host(hostOptions{})
			mistyped, right := names(s, h)
			s.setPlaceholder("meant", right)
			return &subject{image: mistyped, fixedImage: right, fix: func() {}}
		},
	}
}

func suggestedNames() []row {
	invalid := bounds("cluster-config", "InvalidReference", "confirmed", "reference")
	noTag := bounds("cluster-config", "TagNotFound", "confirmed", "manifest/{host}", "pull")
	noRepository := bounds("cluster-config", "RepositoryNotFound", "likely", "manifest/{host}", "pull")
	notFound, notValid := failsWith(codes.NotFound, `not found$`), fails(`invalid reference format|invalid checksum digest`)
	// tag pushes an image with the right tag.
	tag := func(name string, mistyped, right string) row {
		return typo(name, noTag, notFound, func(s *scene, h *host) (string, string) {
			repository := randomWord()
			s.pushRandom(repository, right, lab.Image{})
			return h.image(repository, mistyped), h.image(repository, right)
		})
	}
	// repository pushes an image to the right repository; WORD is random.
	repository := func(name string, mistyped, right string) row {
		return typo(name, noRepository, notFound, func(s *scene, h *host) (string, string) {
			word := strings.NewReplacer("WORD", randomWord())
			s.pushRandom(word.Replace(right), "1", lab.Image{})
			return h.image(word.Replace(mistyped), "1"), h.image(word.Replace(right), "1")
		})
	}
	// written pushes an image, and has its name written in another way.
	written := func(name string, write func(host, repository, tag, digest string) (mistyped, right string)) row {
		return typo(name, invalid, notValid, func(s *scene, h *host) (string, string) {
			repository, tag := randomWord()+"/"+randomWord(), randomWord()
			digest, err := s.pushRandom(repository, tag, lab.Image{}).Digest()
			must(s.t, err)
			return write(h.String(), repository, tag, digest.String())
		})
	}
	return []row{
		tag("typo-tag-with-v", "v1.2.3", "1.2.3"),
		tag("typo-tag-case", "Stable", "stable"),
		tag("typo-tag-letters", "prodcution", "production"),
		repository("typo-repository-letters", "0WORD/paymnets-api", "0WORD/payments-api"),
		repository("typo-repository-separator", "WORD/web_app", "WORD/web-app"),
		typo("typo-repository-short", noRepository, notFound, func(s *scene, h *host) (string, string) {
			tag := randomWord()
			s.pushRandom("xap", tag, lab.Image{})
			h.setFault(listsRepositories("other", "xap"))
			return h.image("xp", tag), h.image("xap", tag)
		}),
		written("typo-repository-case", func(host, repository, tag, _ string) (string, string) {
			return host + "/" + strings.ToUpper(repository) + ":" + tag, host + "/" + repository + ":" + tag
		}),
		written("typo-scheme", func(host, repository, tag, _ string) (string, string) {
			return "http://" + host + "/" + repository + ":" + tag, host + "/" + repository + ":" + tag
		}),
		written("typo-colon-before-digest", func(host, repository, _, digest string) (string, string) {
			return host + "/" + repository + ":" + digest, host + "/" + repository + "@" + digest
		}),
		written("typo-digest-without-algorithm", func(host, repository, _, digest string) (string, string) {
			_, hex, _ := strings.Cut(digest, ":")
			return host + "/" + repository + "@" + hex, host + "/" + repository + "@" + digest
		}),
		written("typo-at-before-tag", func(host, repository, tag, _ string) (string, string) {
			return host + "/" + repository + "@" + tag, host + "/" + repository + ":" + tag
		}),
		written("typo-digest-cut-short", func(host, repository, tag, digest string) (string, string) {
			name := host + "/" + repository + ":" + tag + "@"
			return name + digest[:19], name + digest
		}),
	}
}

// listsRepositories answers a request for the catalog with these.
func listsRepositories(paths ...string) func(http.Handler) http.Handler {
	ofCatalog := func(r *http.Request) bool { return r.URL.Path == "/v2/_catalog" }
	return replaceResponse(ofCatalog, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"repositories":["%s"]}`, strings.Join(paths, `","`))
	})
}

// suggestedFromElsewhere returns the rows whose right name is not in the repository itself.
func suggestedFromElsewhere() []row {
	return []row{
		{
			name: "typo-digest-cut-short-of-a-local-image", kind: mistypedNames,
			setup: func(s *scene) *subject {
				h := s.host(hostOptions{})
				repository, tag := randomWord(), randomWord()
				digest, err := s.pushRandom(repository, tag, lab.Image{}).Digest()
				must(s.t, err)
				if p := s.pull(&subject{machine: s.w.common}, h.image(repository, tag), hangTime); p.message != "" {
					s.t.Fatal(p.message)
				}
				s.t.Cleanup(func() { s.w.common.remove(s.t, h.image(repository, tag)) })
				right := h.image(repository, digest.String())
				s.setPlaceholder("meant", right)
				// The fixed image is another one: no test pull is made of what is here.
				twin, _, _ := s.pushApp(h)
				return &subject{image: right[:len(right)-52], fixedImage: twin, fix: func() {}}
			},
			runtime: fails(`invalid reference format|invalid checksum digest`),
			want:    want{"cluster-config", "InvalidReference", "confirmed", []string{"reference"}, "{meant}"},
		},
		{
			name: "typo-project-taken-for-a-host", kind: mistypedNames,
			setup: func(s *scene) *subject {
				h, m := s.host(hostOptions{}), s.w.newMachine(s.t, machineSpec{})
				project := randomWord()
				s.pushRandom(project+"/api", "1", lab.Image{})
				m.hostsTOML(s.t, "docker.io", fmt.Sprintf("server = \"https://%s\"\n", h))
				s.setPlaceholder("meant", project+"/api:1")
				s.setPlaceholder("mistyped", strings.ToUpper(project))
				return &subject{
					machine: m, image: strings.ToUpper(project) + "/api:1", fixedImage: "docker.io/" + project + "/api:1", fix: func() {},
				}
			},
			runtime: fails(`no such host`),
			want: want{"cluster-config", "HostNotFound", "likely", []string{"dns/{mistyped}", "pull"},
				"use the existing image, in lower case: {meant}"},
		},
	}
}

// unsaid returns a row whose verdict must not name another image: not the one that forbidden
// returns, in its fix or its checks.
func unsaid(name string, w want, runtime runtimeResult, setup func(s *scene, h *host) (sub *subject, forbidden string)) row {
	var others []string // one a try
	return row{
		name: name, kind: mistypedNames, runtime: runtime, want: w,
		setup: func(s *scene) *subject {
			sub, forbidden := setup(s, s.host(hostOptions{}))
			others = append(others, forbidden)
			return sub
		},
		also: func(_ *scene, d diagnosis) []string {
			text := d.String() + d.Verdict.Fix
			if other := others[len(others)-1]; strings.Contains(text, other) {
				return []string{"it names " + other}
			}
			return nil
		},
	}
}

func namesNotSuggested() []row {
	noTag := bounds("cluster-config", "TagNotFound", "confirmed", "manifest/{host}", "pull")
	noRepository := bounds("cluster-config", "RepositoryNotFound", "likely", "manifest/{host}", "pull")
	noHost := bounds("cluster-config", "HostNotFound", "likely", "dns/{mistyped}", "pull")
	invalid := bounds("cluster-config", "InvalidReference", "confirmed", "reference")
	notFound, notValid := failsWith(codes.NotFound, `not found$`), fails(`invalid reference format|invalid checksum digest`)
	push := func(s *scene, repository, tag string) func() {
		return func() { s.pushRandom(repository, tag, lab.Image{}) }
	}
	return []row{
		unsaid("no-typo-private-repository", noRepository, notFound, func(s *scene, h *host) (*subject, string) {
			word := "0" + randomWord() // among the first of the catalog
			mistyped, secret := word+"/salaires", word+"/salaries"
			s.pushRandom(secret, "1", lab.Image{})
			ofSecret := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v2/"+secret+"/") }
			h.setFault(respondError(ofSecret, http.StatusForbidden, "DENIED"))
			return &subject{image: h.image(mistyped, "1"), fix: push(s, mistyped, "1")}, "salaries"
		}),
		unsaid("no-typo-other-number", noRepository, notFound, func(s *scene, h *host) (*subject, string) {
			word := "0" + randomWord() + "/app"
			s.pushRandom(word+"1", "1", lab.Image{})
			return &subject{image: h.image(word+"2", "1"), fix: push(s, word+"2", "1")}, word + "1"
		}),
		unsaid("no-typo-other-team", noRepository, notFound, func(s *scene, h *host) (*subject, string) {
			word := "0" + randomWord() + "/team-"
			s.pushRandom(word+"a", "1", lab.Image{})
			return &subject{image: h.image(word+"b", "1"), fix: push(s, word+"b", "1")}, word + "a"
		}),
		unsaid("no-typo-short-of-two", noRepository, notFound, func(s *scene, h *host) (*subject, string) {
			tag := randomWord()
			s.pushRandom("xoz", tag, lab.Image{})
			h.setFault(listsRepositories("xoz", "xaz"))
			return &subject{image: h.image("xz", tag), fix: push(s, "xz", tag)}, "xoz"
		}),
		unsaid("no-typo-other-version", noTag, notFound, func(s *scene, h *host) (*subject, string) {
			repository := randomWord()
			s.pushRandom(repository, "v1.2.3", lab.Image{})
			return &subject{image: h.image(repository, "v1.2.4"), fix: push(s, repository, "v1.2.4")}, repository + ":v1.2.3"
		}),
		unsaid("no-typo-other-digest", invalid, notValid, func(s *scene, h *host) (*subject, string) {
			image, _, _ := s.pushApp(h)
			return &subject{image: image + "@sha256:0123456789ab", fixedImage: image, fix: func() {}}, image + "@sha256:0123456789abc"
		}),
		unsaid("no-typo-host-that-nobody-uses", noHost, fails(`no such host`),
			func(s *scene, h *host) (*subject, string) {
				image, repository, tag := s.pushApp(h)
				mistyped := strings.TrimSuffix(h.name, "t") + "tt" // .net
				s.setPlaceholder("mistyped", mistyped)
				return &subject{image: mistyped + "/" + repository + ":" + tag, fixedImage: image, fix: func() {}}, h.String() + "/"
			}),
		unsaid("no-typo-template", invalid, notValid, func(s *scene, h *host) (*subject, string) {
			image, repository, _ := s.pushApp(h)
			template := h.String() + "/" + strings.ToUpper(repository) + ":${TAG}"
			return &subject{image: template, fixedImage: image, fix: func() {}}, h.String() + "/" + repository
		}),
	}
}
