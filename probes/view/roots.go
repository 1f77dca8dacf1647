package view

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// Roots is the trust store of the runtime process.
type Roots struct {
	Pool    *x509.CertPool
	Count   int      // certificates in Pool
	From    []string // files and directories that they were read from
	Assumed bool     // the runtime's SSL_CERT_FILE and SSL_CERT_DIR are unknown; the standard paths were read

	certs   []*x509.Certificate       // those in Pool
	started time.Time                 // of the runtime's process; zero if unknown
	files   []rootFile                // that certificates were found in
	dated   map[[sha256.Size]byte]int // by certificate: the least recently changed of files that has it
}

// rootFile is one file of the trust store.
type rootFile struct {
	name    string
	changed time.Time // zero if unknown
}

// ReadTrustStore reads the system's certificate authorities from the paths that a Go
// program such as containerd reads (crypto/x509/root_linux.go and root_unix.go of the
// Go distribution), with SSL_CERT_FILE and SSL_CERT_DIR of env. caFile replaces
// SSL_CERT_FILE. An error means that the authorities of the runtime are unknown.
func ReadTrustStore(f runtimeconfig.Files, env []string, caFile string) (*Roots, error) {
	r := rootsReader{
		files: f,
		roots: &Roots{Pool: x509.NewCertPool(), Assumed: env == nil, dated: map[[sha256.Size]byte]int{}},
		read:  map[inode][][sha256.Size]byte{},
	}
	files, dirs := rootPaths(env, caFile)
	for _, name := range files {
		err := r.readFile(name, name, time.Time{})
		if errors.Is(err, fs.ErrPermission) {
			return nil, err // the runtime, being root, reads this one
		}
		if err == nil {
			break // as Go does: the first one that can be read
		}
		r.note(err)
	}
	for _, dir := range dirs {
		if err := r.readDir(dir); errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	if r.roots.Count == 0 && r.firstErr != nil {
		return nil, r.firstErr
	}
	return r.roots, nil
}

// rootPaths returns the files, of which the first that exists is read, and the
// directories, which are all read.
func rootPaths(env []string, caFile string) (files, dirs []string) {
	files = []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
	if caFile = cmp.Or(caFile, lookupEnv(env, "SSL_CERT_FILE")); caFile != "" {
		files = []string{caFile}
	}
	dirs = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	if d := lookupEnv(env, "SSL_CERT_DIR"); d != "" {
		dirs = strings.Split(d, ":")
	}
	return files, dirs
}

// rootsReader reads files into roots.
type rootsReader struct {
	files    runtimeconfig.Files
	roots    *Roots
	read     map[inode][][sha256.Size]byte // certificates by file: most files have two names in a directory
	firstErr error                         // other than a file that does not exist
}

type inode struct{ dev, ino uint64 }

func (r *rootsReader) note(err error) {
	if r.firstErr == nil && !errors.Is(err, fs.ErrNotExist) {
		r.firstErr = err
	}
}

// readFile reads a file; from is the file or directory that is reported, link when
// the directory entry changed. The directories repeat what the bundle has: each
// certificate is parsed once.
func (r *rootsReader) readFile(name, from string, link time.Time) error {
	info, err := r.files.Stat(name)
	if err != nil {
		return err
	}
	file := rootFile{name, later(ctime(info), link)}
	var id inode
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id = inode{uint64(st.Dev), st.Ino}
		if certs, again := r.read[id]; again {
			r.roots.date(certs, file)
			return nil
		}
	}
	b, err := r.files.ReadFile(name)
	if err != nil {
		return err
	}
	if certs := r.roots.add(b, from, file); id != (inode{}) {
		r.read[id] = certs
	}
	return nil
}

// readDir reads the files of a directory. It returns an error only if this process
// may not read one.
func (r *rootsReader) readDir(dir string) error {
	entries, err := r.files.ReadDir(dir)
	if err != nil {
		r.note(err)
		return err
	}
	for _, e := range entries {
		var link time.Time
		if info, err := e.Info(); err == nil {
			link = ctime(info)
		}
		// As Go does: files that cannot be read are ignored. A file that only this
		// process cannot read is not, because the runtime reads it.
		if err := r.readFile(path.Join(dir, e.Name()), dir, link); errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// add adds the certificates of a PEM file to the pool. It ignores other blocks and
// invalid certificates, as [x509.CertPool.AppendCertsFromPEM] does.
func (r *Roots) add(text []byte, from string, file rootFile) (certs [][sha256.Size]byte) {
	added := 0
	for len(text) > 0 {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		sum := sha256.Sum256(block.Bytes)
		if _, seen := r.dated[sum]; !seen {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue
			}
			r.Pool.AddCert(cert)
			r.certs = append(r.certs, cert)
			added++
		}
		certs = append(certs, sum)
	}
	r.date(certs, file)
	if added > 0 {
		r.Count += added
		if len(r.From) == 0 || r.From[len(r.From)-1] != from {
			r.From = append(r.From, from)
		}
	}
	return certs
}

// date notes that file has these certificates.
func (r *Roots) date(certs [][sha256.Size]byte, file rootFile) {
	for _, sum := range certs {
		if i, seen := r.dated[sum]; !seen || file.changed.Before(r.files[i].changed) {
			r.dated[sum] = len(r.files)
		}
	}
	if len(certs) > 0 {
		r.files = append(r.files, file)
	}
}

// ctime returns when a file last changed, content or attributes.
func ctime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Started sets when the runtime's process was started, and returns the check
// "runtime/ca": whether the trust store has changed since. The process reads it once,
// for its first TLS connection.
func (r *Roots) Started(runtime string, at time.Time) report.Check {
	r.started = at
	e := evidence.Facts{report.KeyStarted: at.UTC().Format(time.RFC3339), report.KeyCount: strconv.Itoa(r.Count)}
	check := report.Check{ID: report.IDRuntimeCA, Kind: report.KindTLS, Target: strings.Join(r.From, ", "), Outcome: report.Pass}
	check.Summary = fmt.Sprintf("the trust store (%d certificates) is older than %s, which started at %s",
		r.Count, runtime, readable.Time(at))
	var newer []string
	var last rootFile
	for _, f := range r.files {
		if f.changed.After(at) && !slices.Contains(newer, f.name) {
			newer = append(newer, f.name)
			if f.changed.After(last.changed) {
				last = f
			}
		}
	}
	if len(newer) > 0 {
		e[report.KeyNewer] = report.True
		e[report.KeyFiles] = strings.Join(newer, ",")
		e[report.KeyModified] = last.changed.UTC().Format(time.RFC3339)
		check.Summary = fmt.Sprintf("%s was changed at %s, after %s started (%s): %s reads the trust store once, at its first TLS connection",
			readable.Clean(last.name, 120), readable.Time(last.changed), runtime, readable.Time(at), runtime)
	}
	check.Evidence = e.Checked()
	return check
}

// Digest returns a digest of the certificates, whatever their order; empty if the trust
// store is not known. r may be nil.
func (r *Roots) Digest() string {
	if r == nil {
		return ""
	}
	sums := slices.SortedFunc(maps.Keys(r.dated), func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	all := sha256.New()
	for _, sum := range sums {
		all.Write(sum[:])
	}
	return report.Digest(all.Sum(nil))
}

// Certificates returns those in Pool.
func (r *Roots) Certificates() []*x509.Certificate { return r.certs }

// NewerThanRuntime reports whether all chains end in a certificate that no file had
// when the runtime was started, as far as is known, and returns the file that has it
// now. r may be nil.
func (r *Roots) NewerThanRuntime(chains [][]*x509.Certificate) (file string, newer bool) {
	if r == nil || r.started.IsZero() {
		return "", false
	}
	for _, chain := range chains {
		i, own := r.dated[sha256.Sum256(chain[len(chain)-1].Raw)]
		if !own || !r.files[i].changed.After(r.started) {
			return "", false // of hosts.toml, which is read at every pull; or older
		}
		file = r.files[i].name
	}
	return file, file != ""
}
