package cri

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultJournalDir is the default directory of the journal, the only host path that
// pullprobe writes to.
const DefaultJournalDir = "/var/lib/pullprobe"

const (
	entryPattern = "*.pull.json"
	newPattern   = "*.new" // not yet whole, or left over by a crash
	badSuffix    = ".bad"
	maxEntry     = 1 << 20 // bytes; an entry holds one digest per image of the node
)

// Journal records on disk which test pulls have not been cleaned up, so that neither
// a crash of pullprobe nor one of the runtime leaves an image on the node. Each pull
// has one file.
//
// A process that works on an entry holds a lock on its file (flock), which the
// kernel releases when the process dies: two processes never work on the same entry.
type Journal struct {
	dir string
}

// NewJournal returns the journal in dir, which is created by the first write.
func NewJournal(dir string) *Journal { return &Journal{dir: dir} }

// entry is what the cleanup after a pull needs. It contains no credentials.
type entry struct {
	Image   string        `json:"image"`                    // as requested
	Before  []string      `json:"before"`                   // image IDs that the node had
	Start   time.Time     `json:"start"`                    // just before the pull
	Timeout time.Duration `json:"timeoutNanos"`             // of the pull
	Handler string        `json:"runtimeHandler,omitempty"` // that the pull was made with
}

// heldEntry is an entry that this process works on.
type heldEntry struct {
	entry
	path string
	lock *os.File
}

// begin writes e and holds its lock. It returns when e is synced to disk.
func (j *Journal) begin(e entry) (*heldEntry, error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(j.dir, newPattern)
	if err != nil {
		return nil, err
	}
	// It gets its final name when it is complete and locked: rename keeps the lock.
	name := f.Name() + ".pull.json"
	err = flock(f)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	h := &heldEntry{entry: e, path: name, lock: f}
	if err := syncDir(j.dir); err != nil {
		return nil, errors.Join(err, h.done())
	}
	return h, nil
}

// done removes the entry: there is nothing left to clean up.
func (h *heldEntry) done() error {
	err := os.Remove(h.path)
	h.lock.Close()
	return errors.Join(err, syncDir(filepath.Dir(h.path)))
}

// release leaves the entry for a later [Puller.Recover].
func (h *heldEntry) release() { h.lock.Close() }

// pending locks and returns every entry that no other process holds. The errors are
// about entries that could not be read; their files are renamed to *.bad.
func (j *Journal) pending() ([]*heldEntry, []error) {
	var out []*heldEntry
	var errs []error
	for _, name := range glob(j.dir, entryPattern) {
		h, err := hold(name)
		if err != nil {
			errs = append(errs, err)
		}
		if h != nil {
			out = append(out, h)
		}
	}
	for _, name := range glob(j.dir, newPattern) {
		// Its pull never began: the name changes before that.
		if f, err := os.Open(name); err == nil {
			if flock(f) == nil {
				os.Remove(name)
			}
			f.Close()
		}
	}
	return out, errs
}

// hold locks and reads one entry. Both results are nil if another process works on
// it or has just finished it.
func hold(name string) (*heldEntry, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if err == nil {
		err = linked(f, name)
	}
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		f.Close()
		return nil, nil
	}
	h := &heldEntry{path: name, lock: f}
	if err == nil {
		h.entry, err = readEntry(f)
	}
	if err != nil {
		f.Close()
		err = fmt.Errorf("journal entry set aside as %s%s: %w", filepath.Base(name), badSuffix, err)
		return nil, errors.Join(err, os.Rename(name, name+badSuffix))
	}
	return h, nil
}

func readEntry(f *os.File) (entry, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err != nil {
		return entry{}, err
	}
	return parseEntry(b)
}

func parseEntry(b []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(b, &e); err != nil {
		return entry{}, err
	}
	if e.Image == "" || e.Start.IsZero() || e.Timeout < 0 {
		return entry{}, errors.New("incomplete")
	}
	return e, nil
}

// linked returns fs.ErrNotExist if f has lost its name: the process that held it may
// have finished it between our open and our lock.
func linked(f *os.File, name string) error {
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, named) {
		return os.ErrNotExist
	}
	return nil
}

func flock(f *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// glob is filepath.Glob in a directory whose own name is not a pattern.
func glob(dir, pattern string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil // no journal yet
	}
	var out []string
	for _, e := range list {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(out)
	return out
}
