package registry

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/view"
	"github.com/pullprobe/pullprobe/report"
)

// datedFiles are files of which some have changed recently; the others are old.
type datedFiles struct {
	view.Dir
	changed map[string]time.Time
}

func (d datedFiles) date(name string, info fs.FileInfo) fs.FileInfo {
	at, ok := d.changed[name]
	if !ok {
		at = time.Unix(1e9, 0)
	}
	st := *info.Sys().(*syscall.Stat_t)
	st.Ctim = syscall.NsecToTimespec(at.UnixNano())
	return datedInfo{info, &st}
}

func (d datedFiles) Stat(name string) (fs.FileInfo, error) {
	info, err := d.Dir.Stat(name)
	if err != nil {
		return nil, err
	}
	return d.date(name, info), nil
}

func (d datedFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := d.Dir.ReadDir(name)
	for i, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		entries[i] = fs.FileInfoToDirEntry(d.date(filepath.Join(name, e.Name()), info))
	}
	return entries, err
}

type datedInfo struct {
	fs.FileInfo
	st *syscall.Stat_t
}

func (i datedInfo) Sys() any { return i.st }

func TestTrustStoreNewerThanRuntime(t *testing.T) {
	known, added, own := probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil), probetest.NewAuthority(t, nil)
	started := time.Now().Add(-time.Hour)
	bundle := "/etc/ssl/certs/ca-certificates.crt"
	for _, tt := range []struct {
		name   string
		signer *probetest.Authority
		tree   map[string]string
		newer  []string // files that changed since the start
		ca     string   // evidence of runtime/ca: files
		root   string   // evidence of tls: rootNewer
	}{
		{"nothing changed", known, map[string]string{bundle: string(known.PEM)}, nil, "", ""},
		{"an authority was added", added, map[string]string{bundle: string(known.PEM) + string(added.PEM)}, []string{bundle}, bundle, bundle},
		{"the bundle was written again, the authority existed before", known, map[string]string{
			bundle: string(known.PEM) + string(added.PEM), "/etc/ssl/certs/known.pem": string(known.PEM), "/etc/ssl/certs/added.pem": string(added.PEM),
		}, []string{bundle, "/etc/ssl/certs/added.pem"}, bundle + ",/etc/ssl/certs/added.pem", ""},
		{"a file of its own was added", added, map[string]string{bundle: string(known.PEM), "/etc/ssl/certs/added.pem": string(added.PEM)}, []string{"/etc/ssl/certs/added.pem"}, "/etc/ssl/certs/added.pem", "/etc/ssl/certs/added.pem"},
		{"hosts.toml has the authority too, and is read at every pull", own, map[string]string{
			bundle: string(known.PEM) + string(own.PEM), "/etc/containerd/certs.d/_default/hosts.toml": "ca = \"/ca.pem\"\n", "/ca.pem": string(own.PEM),
		}, []string{bundle}, bundle, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := tt.signer.Good(t, "registry.lab")
			port := probetest.Serve(t, &cert, http.NotFoundHandler())
			n := newProber(t, nil, tt.tree)
			dated := datedFiles{n.Files.(view.Dir), map[string]time.Time{}}
			for _, f := range tt.newer {
				dated.changed[f] = started.Add(time.Minute)
			}
			roots, err := view.ReadTrustStore(dated, []string{}, "")
			if err != nil {
				t.Fatal(err)
			}
			n.Roots = roots
			ca := roots.Started("containerd", started)
			probetest.Want(t, map[string]report.Check{"runtime/ca": ca}, "runtime/ca", report.Pass, "", "started", "count")
			if ca.Evidence["files"] != tt.ca || (ca.Evidence["newer"] == "true") != (tt.ca != "") {
				t.Errorf("runtime/ca: %v", ca.Evidence)
			}
			host := "registry.lab:" + itoa(port)
			c := probetest.Want(t, probe(t, n, host+"/app:1"), "tls/"+host+"/127.0.0.1:"+itoa(port), report.Pass, "")
			if c.Evidence["rootNewer"] != tt.root {
				t.Errorf("rootNewer is %q, want %q", c.Evidence["rootNewer"], tt.root)
			}
		})
	}
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
