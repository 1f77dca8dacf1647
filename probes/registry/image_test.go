package registry

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// pushFor pushes an image for a platform, by tag or, without one, by digest,
// and returns the descriptor of its manifest, without the platform.
func pushFor(t *testing.T, h http.Handler, repo, tag, platform string) ocispec.Descriptor {
	t.Helper()
	img := probetest.ImageFor(t, "amd64")
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	p := strings.Split(platform+"//", "/")
	cfg.OS, cfg.Architecture, cfg.Variant = p[0], p[1], p[2]
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	text, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: string(mediaType), Digest: digest.FromBytes(text), Size: int64(len(text))}
	if tag == "" {
		tag = d.Digest.String()
	}
	probetest.PushImage(t, h, repo, img, tag)
	return d
}

// pushIndex pushes an index, by tag or, without one, by digest.
func pushIndex(t *testing.T, h http.Handler, repo, tag string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	text, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if tag == "" {
		tag = d.Digest.String()
	}
	probetest.Put(t, h, "/v2/"+repo+"/manifests/"+tag, ocispec.MediaTypeImageIndex, text)
	return d
}

// on adds a platform to a descriptor of an index.
func on(d ocispec.Descriptor, platform string) ocispec.Descriptor {
	p := strings.Split(platform+"//", "/")
	d.Platform = &ocispec.Platform{OS: p[0], Architecture: p[1], Variant: p[2]}
	return d
}

func TestPlatform(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	reg := probetest.NewRegistry(t)
	n := newProber(t, ca, nil)
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), reg))
	child := func(platform string) ocispec.Descriptor { return pushFor(t, reg, "app", "", platform) }
	amd64, arm64 := child("linux/amd64"), child("linux/arm64")
	attestation := on(child("linux/amd64"), "unknown/unknown")

	pushFor(t, reg, "app", "single-arm64", "linux/arm64")
	pushFor(t, reg, "app", "single-amd64v3", "linux/amd64/v3")
	pushFor(t, reg, "app", "single-386", "linux/386")
	pushFor(t, reg, "app", "single-armv7", "linux/arm/v7")
	pushFor(t, reg, "app", "single-windows", "windows/amd64")
	pushFor(t, reg, "app", "single-wasm", "wasip1/wasm")
	pushIndex(t, reg, "app", "both", on(arm64, "linux/arm64"), on(amd64, "linux/amd64"))
	pushIndex(t, reg, "app", "arm-only", on(arm64, "linux/arm64"))
	pushIndex(t, reg, "app", "attested", attestation, on(amd64, "linux/amd64"))
	pushIndex(t, reg, "app", "attested-arm", on(arm64, "linux/arm64"), attestation)
	pushIndex(t, reg, "app", "v3-only", on(child("linux/amd64/v3"), "linux/amd64/v3"))
	pushIndex(t, reg, "app", "v2-and-bare", on(child("linux/amd64/v2"), "linux/amd64/v2"), on(amd64, "linux/amd64"))
	pushIndex(t, reg, "app", "armv6-armv7", on(child("linux/arm/v6"), "linux/arm/v6"), on(child("linux/arm/v7"), "linux/arm/v7"))
	pushIndex(t, reg, "app", "armv7", on(child("linux/arm/v7"), "linux/arm/v7"))
	pushIndex(t, reg, "app", "bare-amd64", amd64)
	pushIndex(t, reg, "app", "bare-arm64", arm64)
	pushIndex(t, reg, "app", "mislabelled", on(arm64, "linux/amd64"))
	pushIndex(t, reg, "app", "nested", pushIndex(t, reg, "app", "", on(amd64, "linux/amd64")))
	pushIndex(t, reg, "app", "nested-arm", pushIndex(t, reg, "app", "", on(arm64, "linux/arm64")))
	pushIndex(t, reg, "app", "windows-only", on(child("windows/amd64"), "windows/amd64"))
	pushIndex(t, reg, "app", "nothing")
	wrong := on(amd64, "linux/amd64")
	wrong.Size++
	pushIndex(t, reg, "app", "wrong-size", wrong)
	gone := on(amd64, "linux/amd64")
	gone.Digest = digest.FromString("gone")

	for _, tt := range []struct {
		tag, platform string
		outcome       report.Outcome
		cause         report.Cause
		facts         []string
		noFact        string
	}{
		{"single-arm64", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platform=linux/arm64", "note=the runtime pulls it, the container dies with exec format error"}, "publisher"},
		{"single-arm64", "linux/arm64", report.Pass, "", nil, "note"},
		{"single-amd64v3", "linux/amd64", report.Pass, "", []string{"platform=linux/amd64/v3", "note"}, ""},
		{"single-386", "linux/amd64", report.Pass, "", nil, "note"},
		{"single-armv7", "linux/arm64", report.Pass, "", nil, "note"},
		{"single-armv7", "linux/arm/v6", report.Pass, "", []string{"note"}, ""},
		{"single-windows", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platform=windows/amd64"}, ""},
		{"single-wasm", "linux/amd64", report.Pass, "", []string{"note"}, ""},
		{"both", "linux/amd64", report.Pass, "", []string{"platforms=linux/amd64, linux/arm64", "index=true"}, "note"},
		{"both", "linux/s390x", report.Fail, report.PlatformMismatch, []string{"platforms=linux/amd64, linux/arm64"}, "publisher"},
		{"arm-only", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platforms=linux/arm64"}, ""},
		{"attested", "linux/amd64", report.Pass, "", []string{"platforms=linux/amd64"}, ""},
		{"attested-arm", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platforms=linux/arm64"}, ""},
		{"v3-only", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platforms=linux/amd64/v3"}, ""},
		{"v3-only", "linux/amd64/v4", report.Fail, report.PlatformMismatch, []string{"platforms=linux/amd64/v3", "note"}, ""},
		{"v2-and-bare", "linux/amd64", report.Pass, "", []string{"platform=linux/amd64"}, ""},
		{"armv6-armv7", "linux/arm/v7", report.Pass, "", []string{"platform=linux/arm/v7"}, ""},
		{"armv6-armv7", "linux/arm/v6", report.Pass, "", []string{"platform=linux/arm/v6"}, ""},
		{"armv7", "linux/arm/v6", report.Fail, report.PlatformMismatch, []string{"platforms=linux/arm/v7"}, ""},
		{"bare-amd64", "linux/amd64", report.Pass, "", nil, "note"},
		{"bare-arm64", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"publisher=true", "platform=linux/arm64"}, ""},
		{"mislabelled", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"publisher=true", "platform=linux/arm64"}, ""},
		{"nested", "linux/amd64", report.Unknown, "", []string{"platform=linux/amd64", "notSeen"}, "size"},
		{"nested-arm", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platforms=linux/arm64"}, ""},
		{"windows-only", "linux/amd64", report.Fail, report.PlatformMismatch, []string{"platforms=windows/amd64"}, ""},
		{"nothing", "linux/amd64", report.Fail, report.PlatformMismatch, nil, "platforms"},
		{"wrong-size", "linux/amd64", report.Fail, report.LayerCorrupt, []string{"publisher=true"}, ""},
	} {
		t.Run(tt.tag+" on "+tt.platform, func(t *testing.T) {
			_, ref := reference.Parse(host + "/app:" + tt.tag)
			c := byID(Probe(context.Background(), n, ref, Target{Platform: tt.platform}))
			check := probetest.Want(t, c, "image/"+host, tt.outcome, tt.cause, tt.facts...)
			if v, ok := check.Evidence[tt.noFact]; ok && tt.noFact != "" {
				t.Errorf("%s is %q", tt.noFact, v)
			}
		})
	}

	t.Run("older variant, by a containerd without the transfer service", func(t *testing.T) {
		_, ref := reference.Parse(host + "/app:v3-only")
		c := byID(Probe(context.Background(), n, ref, Target{Platform: "linux/amd64/v4", RuntimeVersion: "v2.0.5"}))
		probetest.Want(t, c, "image/"+host, report.Pass, "")
	})
	t.Run("a signature", func(t *testing.T) {
		img := probetest.ImageFor(t, "amd64")
		probetest.PushImage(t, reg, "app", img, "signed")
		text, err := img.RawManifest()
		var m ocispec.Manifest
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Layers {
			m.Layers[i].MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
		}
		if text, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		probetest.Put(t, reg, "/v2/app/manifests/signature", m.MediaType, text)
		_, ref := reference.Parse(host + "/app:signature")
		for version, want := range map[string]report.Outcome{"1.6.20~ds1": report.Fail, "1.7.35": report.Fail, "2.0.5": report.Fail, "2.1.0": report.Pass} {
			c := byID(Probe(context.Background(), n, ref, Target{Platform: "linux/amd64", RuntimeVersion: version}))
			if check := c["image/"+host]; check.Outcome != want {
				t.Errorf("%s: %+v", version, check)
			}
		}
	})
	t.Run("emulated", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{"/proc/sys/fs/binfmt_misc/qemu-aarch64": "enabled\ninterpreter /usr/bin/qemu-aarch64\n"})
		probetest.Want(t, probe(t, n, host+"/app:single-arm64"), "image/"+host, report.Pass, "", "emulated=true", "platform=linux/arm64")
	})
	t.Run("emulation switched off", func(t *testing.T) {
		n := newProber(t, ca, map[string]string{"/proc/sys/fs/binfmt_misc/qemu-aarch64": "disabled\n"})
		probetest.Want(t, probe(t, n, host+"/app:single-arm64"), "image/"+host, report.Fail, report.PlatformMismatch)
	})
	t.Run("a child that is not there", func(t *testing.T) {
		h := manifestBy(reg, amd64.Digest.String(), http.NotFound)
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), h))
		probetest.Want(t, probe(t, n, host+"/app:both"), "image/"+host, report.Fail, report.LayerCorrupt, "status=404", "publisher=true")
	})
	t.Run("another manifest than the name leads to", func(t *testing.T) {
		h := manifestBy(reg, amd64.Digest.String(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", amd64.MediaType)
			w.Write([]byte(strings.Repeat("{}", int(amd64.Size)/2) + strings.Repeat(" ", int(amd64.Size)%2)))
		})
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), h))
		probetest.Want(t, probe(t, n, host+"/app:both"), "image/"+host, report.Fail, report.LayerCorrupt, "manifest")
	})
	t.Run("compressed in transit", func(t *testing.T) {
		h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer z.Close()
				reg.ServeHTTP(writer{w, z}, q)
				return
			}
			reg.ServeHTTP(w, q)
		})
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), h))
		probetest.Want(t, probe(t, n, host+"/app:both"), "image/"+host, report.Pass, "")
	})
	t.Run("a rule of the registry", func(t *testing.T) {
		h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusPreconditionFailed)
				fmt.Fprint(w, `{"errors":[{"code":"PROJECTPOLICYVIOLATION"}]}`)
				return
			}
			reg.ServeHTTP(w, q)
		})
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), h))
		probetest.Want(t, probe(t, n, host+"/app:both"), "image/"+host, report.Fail, report.AccessForbidden, "policy=true", "code=PROJECTPOLICYVIOLATION")
	})
	t.Run("the config is not available", func(t *testing.T) {
		store := fmt.Sprintf("cdn.lab:%d", probetest.ClosedPort(t))
		host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, ptr(ca.Good(t, "r.lab")), blobsElsewhere(reg, store)))
		// The index names the platform; a single manifest does not.
		probetest.Want(t, probe(t, n, host+"/app:both"), "image/"+host, report.Pass, "", "platform=linux/amd64")
		c := probe(t, n, host+"/app:single-386")
		if got := probetest.Want(t, c, "image/"+host, report.Skipped, "", "size").BlockedBy; got != "blob/"+host {
			t.Errorf("blocked by %q", got)
		}
		probetest.Want(t, c, "blob/"+host, report.Fail, report.BlobHostUnreachable)
	})
}

type writer struct {
	http.ResponseWriter
	to *gzip.Writer
}

func (w writer) Write(b []byte) (int, error) { return w.to.Write(b) }
func (w writer) WriteHeader(code int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(code)
}

// manifestBy has another handler for GETs of one manifest.
func manifestBy(h http.Handler, digest string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/manifests/"+digest) {
			answer(w, q)
			return
		}
		h.ServeHTTP(w, q)
	})
}

func byID(checks []report.Check) map[string]report.Check {
	out := map[string]report.Check{}
	for _, c := range checks {
		out[c.ID] = c
	}
	return out
}
