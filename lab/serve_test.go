package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushed starts a registry with one image. It returns the registry's address and the
// path of the image's layer.
func pushed(t *testing.T) (addr, blob string) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	addr = strings.TrimPrefix(s.URL, "http://")
	img, err := MakeImage(Dir(t.TempDir()), Image{Size: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(addr+"/app:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return addr, "/v2/app/blobs/" + digest.String()
}

// get sends a request for the given host to a handler, over a real connection.
func get(t *testing.T, s *httptest.Server, host, path string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

func TestFaultHosts(t *testing.T) {
	addr, blob := pushed(t)
	s := httptest.NewServer(faultHandler(addr))
	defer s.Close()

	for _, tt := range []struct {
		host, path string
		status     int
		code       string // registry error code
	}{
		{"ratelimit.lab", "/v2/app/manifests/1", 429, "TOOMANYREQUESTS"},
		{"unavailable.lab", "/v2/app/manifests/1", 503, "UNAVAILABLE"},
		{"err500.lab", "/v2/app/manifests/1", 500, "UNKNOWN"},
		{"forbidden.lab", "/v2/app/manifests/1", 403, "DENIED"},
		{"token401.lab", "/v2/app/manifests/1", 401, "UNAUTHORIZED"},
		{"token401.lab", "/token", 401, "UNAUTHORIZED"},
		{"token403.lab", "/token", 403, "DENIED"},
		{"tokendenied.lab", "/v2/app/manifests/1", 401, "UNAUTHORIZED"},
		{"noaccess.lab", "/token", 401, "UNAUTHORIZED"},
		{"noaccess.lab", "/v2/app/manifests/1", 401, "UNAUTHORIZED"},
		{"noblob.lab", blob, 404, "BLOB_UNKNOWN"},
		{"badblob.lab:443", "/v2/app/manifests/1", 200, ""},
		{"other.lab", "/v2/", 404, "NAME_UNKNOWN"},
	} {
		resp, b, err := get(t, s, tt.host, tt.path)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Errors []struct{ Code string } }
		if tt.code != "" {
			if err := json.Unmarshal(b, &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Code != tt.code {
				t.Errorf("%s%s: %s", tt.host, tt.path, b)
			}
		}
		if resp.StatusCode != tt.status {
			t.Errorf("%s%s: %d, want %d", tt.host, tt.path, resp.StatusCode, tt.status)
		}
	}
	if resp, _, _ := get(t, s, "ratelimit.lab", "/v2/"); resp.Header.Get("Retry-After") != "60" {
		t.Error("429 without Retry-After")
	}
}

// noaccess.lab gives its user a token, and no image.
func TestNoAccess(t *testing.T) {
	s := httptest.NewServer(faultHandler("unused"))
	defer s.Close()
	for _, tt := range []struct {
		path, user, password, bearer string
		status                       int
	}{
		{"/token", User, Password, "", 200},
		{"/token", User, "wrong", "", 401},
		{"/v2/app/manifests/1", "", "", "good-for-nothing", 403},
	} {
		req, err := http.NewRequest(http.MethodGet, s.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "noaccess.lab"
		if tt.user != "" {
			req.SetBasicAuth(tt.user, tt.password)
		} else {
			req.Header.Set("Authorization", "Bearer "+tt.bearer)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s as %q: %d, want %d", tt.path, tt.user, resp.StatusCode, tt.status)
		}
	}
}

func TestSpoiledBlobs(t *testing.T) {
	addr, path := pushed(t)
	s := httptest.NewServer(faultHandler(addr))
	defer s.Close()
	whole := httptest.NewServer(RegistryProxy(addr))
	defer whole.Close()
	_, good, err := get(t, whole, "registry.lab", path)
	if err != nil || len(good) < 100<<10 {
		t.Fatalf("%d bytes, %v", len(good), err)
	}
	if _, bad, err := get(t, s, "badblob.lab", path); err != nil || len(bad) != len(good) || bytes.Equal(bad, good) {
		t.Errorf("badblob: %d bytes, %v", len(bad), err)
	}
	if _, half, err := get(t, s, "truncblob.lab", path); err == nil || len(half) >= len(good) {
		t.Errorf("truncblob: %d bytes, error %v", len(half), err)
	}
}

func TestRedirectSendsOnlyBlobsAway(t *testing.T) {
	addr, blob := pushed(t)
	s := httptest.NewServer(RedirectBlobs(RegistryProxy(addr), "blobs.lab"))
	defer s.Close()
	resp, _, _ := get(t, s, "redirect.lab", blob)
	if resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "https://blobs.lab"+blob {
		t.Errorf("blob: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp, _, _ := get(t, s, "redirect.lab", "/v2/app/manifests/1"); resp.StatusCode != http.StatusOK {
		t.Errorf("manifest: %d", resp.StatusCode)
	}
}

func TestSlowGivesTheWholeBlob(t *testing.T) {
	addr, blob := pushed(t)
	fast, paced := httptest.NewServer(RegistryProxy(addr)), httptest.NewServer(paceBlobs(RegistryProxy(addr)))
	defer fast.Close()
	defer paced.Close()
	_, want, err := get(t, fast, "registry.lab", blob)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := get(t, paced, "slow.lab", blob); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

func TestAccessLogTellsWhoAskedAndNoSecret(t *testing.T) {
	var out bytes.Buffer
	h := withAccessLog(&jsonLog{w: &out}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "hello")
	}))
	s := httptest.NewServer(h)
	req, err := http.NewRequest(http.MethodGet, s.URL+"/v2/?a=b", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "auth.lab:443"
	req.SetBasicAuth("puller", "canary-secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp, err := http.Get(s.URL + "/abort"); err == nil {
		resp.Body.Close()
		t.Error("the aborted request has an answer")
	}
	s.Close() // returns when both are over

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("log: %s", &out)
	}
	var first, second Request
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Fatal(err)
	}
	if first.Host != "auth.lab" || first.Status != 200 || first.Bytes != 5 || first.Auth != "Basic puller" || first.Query != "a=b" {
		t.Errorf("first: %+v", first)
	}
	if second.Status != 0 {
		t.Errorf("aborted: %+v", second)
	}
	if strings.Contains(out.String(), "canary") {
		t.Error("the password is in the log")
	}
}
