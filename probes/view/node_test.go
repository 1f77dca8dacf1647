package view

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

// closedFiles cannot be read at some names.
type closedFiles struct {
	Dir
	closed string
}

func (c closedFiles) ReadFile(name string) ([]byte, error) {
	if strings.HasPrefix(name, c.closed) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return c.Dir.ReadFile(name)
}

func (c closedFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	if strings.HasPrefix(name, c.closed) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return c.Dir.ReadDir(name)
}

func TestRead(t *testing.T) {
	t.Run("an empty root is known to be empty", func(t *testing.T) {
		n, checks := Read(Dir(t.TempDir()), []string{}, Paths{})
		if len(checks) != 0 {
			t.Errorf("checks: %+v", checks)
		}
		if n.Resolv == nil || !n.Resolv.Missing || n.Hosts == nil || n.Roots == nil || n.Roots.Count != 0 || n.Proxy == nil {
			t.Errorf("node: %+v", n)
		}
	})
	for _, tt := range []struct {
		closed  string
		id      string
		unknown func(*Node) bool
	}{
		{"/etc/resolv.conf", "runtime/resolv.conf", func(n *Node) bool { return n.Resolv == nil }},
		{"/etc/hosts", "runtime/hosts", func(n *Node) bool { return n.Hosts == nil }},
		{"/etc/ssl/certs/ca-certificates.crt", "runtime/ca", func(n *Node) bool { return n.Roots == nil }},
		{"/etc/ssl/certs/private.pem", "runtime/ca", func(n *Node) bool { return n.Roots == nil }},
		{"/etc/ssl", "runtime/ca", func(n *Node) bool { return n.Roots == nil }},
	} {
		t.Run(tt.id, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/private.pem", "/etc/pki/tls/certs/ca-bundle.crt"} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(root+name), 0o755), os.WriteFile(root+name, nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			n, checks := Read(closedFiles{Dir(root), tt.closed}, []string{}, Paths{})
			if len(checks) != 1 || checks[0].ID != tt.id || checks[0].Outcome != report.Skipped || checks[0].Evidence["error"] != "EACCES" {
				t.Errorf("checks: %+v", checks)
			}
			if !tt.unknown(n) {
				t.Errorf("what could not be read is not unknown: %+v", n)
			}
		})
	}
	t.Run("environment unknown", func(t *testing.T) {
		n, checks := Read(Dir(t.TempDir()), nil, Paths{})
		if n.Proxy != nil || len(checks) != 1 || checks[0].ID != "runtime/proxy" || !n.Roots.Assumed {
			t.Errorf("%+v %+v", n, checks)
		}
	})
}

func TestReadRoots(t *testing.T) {
	bundle, dir, other := probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil)
	tree := probetest.Files(t, map[string]string{
		"/etc/ssl/certs/ca-certificates.crt": "# comment\n" + string(bundle.PEM),
		"/etc/ssl/certs/again.pem":           string(bundle.PEM),
		"/etc/pki/tls/certs/dir.pem":         string(dir.PEM) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"/etc/ssl/cert.pem":                  string(other.PEM),
		"/opt/ca.pem":                        string(other.PEM),
		"/opt/more/x":                        string(dir.PEM),
	})
	trusts := func(env []string, caFile string) (s string) {
		r, err := ReadTrustStore(tree, env, caFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			a    *probetest.Authority
		}{{"bundle", bundle}, {"dir", dir}, {"other", other}} {
			if _, err := c.a.Cert.Verify(x509.VerifyOptions{Roots: r.Pool}); err == nil {
				s += c.name + " "
			}
		}
		return strings.TrimSpace(s)
	}
	tests := []struct {
		env  []string
		file string
		want string
	}{
		{[]string{}, "", "bundle dir"},
		{nil, "", "bundle dir"},
		{[]string{"SSL_CERT_FILE=/opt/ca.pem"}, "", "bundle dir other"}, // the directories are read all the same
		{[]string{"SSL_CERT_FILE=/opt/ca.pem", "SSL_CERT_DIR=/nothing:/opt/more"}, "", "dir other"},
		{[]string{"SSL_CERT_DIR=/nothing"}, "/opt/ca.pem", "other"},
	}
	for _, tt := range tests {
		if got := trusts(tt.env, tt.file); got != tt.want {
			t.Errorf("%v %s: trusts %q, want %q", tt.env, tt.file, got, tt.want)
		}
	}
	if r, err := ReadTrustStore(tree, nil, ""); err != nil || r.Count != 2 || !r.Assumed {
		t.Errorf("%+v %v", r, err)
	}
}

func TestDir(t *testing.T) {
	d := Dir(probetest.Files(t, map[string]string{"/etc/a": "text", "/big": strings.Repeat("x", maxFileBytes+1)}))
	if b, err := d.ReadFile("/../etc/a"); err != nil || string(b) != "text" {
		t.Errorf("%q %v", b, err)
	}
	fifo := filepath.Join(string(d), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/etc", "/big", "/fifo", "/nothing"} {
		if _, err := d.ReadFile(name); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := d.Stat("/etc/a"); err != nil {
		t.Error(err)
	}
	if entries, err := d.ReadDir("/etc"); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	if _, err := d.ReadFile("/nothing"); !os.IsNotExist(err) {
		t.Error(err)
	}
}
