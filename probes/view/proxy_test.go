package view

import (
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
)

// Go's rules, and the order in which it looks at the names (net/http's
// ProxyFromEnvironment, golang.org/x/net/http/httpproxy).
func TestReadProxy(t *testing.T) {
	tests := []struct {
		env, url, want string
	}{
		{"", "https://r.lab", ""},
		{"HTTPS_PROXY=http://upper:1 https_proxy=http://lower:2", "https://r.lab", "http://upper:1"},
		{"HTTPS_PROXY= https_proxy=http://lower:2", "https://r.lab", "http://lower:2"},
		{"https_proxy=http://lower:2", "https://r.lab", "http://lower:2"},
		{"HTTP_PROXY=http://p:1", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1", "http://r.lab", ""},
		{"HTTP_PROXY=http://p:1", "http://r.lab", "http://p:1"},
		{"HTTP_PROXY=http://p:1 REQUEST_METHOD=GET", "http://r.lab", "error"}, // CGI
		{"ALL_PROXY=http://p:1", "https://r.lab", ""},                         // curl's, not Go's
		{"HTTPS_PROXY=p:3128", "https://r.lab", "http://p:3128"},
		{"HTTPS_PROXY=https://p:3129", "https://r.lab", "https://p:3129"},
		{"HTTPS_PROXY=socks5://p:1080", "https://r.lab", "socks5://p:1080"},
		{"HTTPS_PROXY=http://p:1", "https://localhost:5000", ""},
		{"HTTPS_PROXY=http://p:1", "https://127.0.0.9", ""},
		{"HTTPS_PROXY=http://p:1", "https://[::1]:5000", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=*", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=r.lab", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=r.lab", "https://sub.r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=.lab", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=.r.lab", "https://r.lab", "http://p:1"},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=*.lab", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=r.la", "https://r.lab", "http://p:1"},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=r.lab:5000", "https://r.lab:5000", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=r.lab:5000", "https://r.lab", "http://p:1"},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=10.0.0.0/8", "https://10.1.2.3", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=10.0.0.0/8", "https://r.lab", "http://p:1"}, // names are not resolved for it
		{"HTTPS_PROXY=http://p:1 NO_PROXY=10.1.2.3", "https://10.1.2.3:5000", ""},
		{"HTTPS_PROXY=http://p:1 no_proxy=r.lab", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=other no_proxy=r.lab", "https://r.lab", "http://p:1"},
		{"HTTPS_PROXY=http://p:1 NO_PROXY=R.LAB", "https://r.lab", ""},
		{"HTTPS_PROXY=http://p%:1", "https://r.lab", ""}, // ignored without a word
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p, err := ReadProxy(strings.Fields(tt.env)).For(u.Scheme, u.Host); err != nil {
			got = "error"
		} else if p != nil {
			got = p.String()
		}
		if got != tt.want {
			t.Errorf("%s for %s: %q, want %q", tt.env, tt.url, got, tt.want)
		}
	}
	for env, want := range map[string]string{"HTTPS_PROXY=http://p%:1": "HTTPS_PROXY", "HTTPS_PROXY=p:1 NO_PROXY=*": "", "HTTP_PROXY=%": "", "": ""} {
		if got := ReadProxy(strings.Fields(env)).Ignored("https"); got != want {
			t.Errorf("%s: ignored %q, want %q", env, got, want)
		}
	}
}

// FuzzRoots gives a file of a trust store.
func FuzzRoots(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\na: b\n\n-----END"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &Roots{Pool: x509.NewCertPool(), dated: map[[sha256.Size]byte]int{}}
		r.add(text, "a", rootFile{name: "a"})
		r.add(text, "b", rootFile{name: "b"})
		if r.Count != len(r.certs) || len(r.files) > 2 {
			t.Errorf("%d certificates of %d in %d files", r.Count, len(r.certs), len(r.files))
		}
	})
}
