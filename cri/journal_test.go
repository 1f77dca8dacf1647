package cri

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "journal")
	j := NewJournal(dir)
	if held, errs := j.pending(); held != nil || errs != nil {
		t.Errorf("before anything was written: %v, %v", held, errs)
	}
	e := entry{Image: "registry.lab/app:1", Before: []string{"sha256:aa"}, Start: time.Now().UTC().Truncate(0), Timeout: time.Second}
	h, err := j.begin(e)
	if err != nil {
		t.Fatal(err)
	}
	if held, errs := NewJournal(dir).pending(); held != nil || errs != nil {
		t.Errorf("while its pull is under way: %v, %v", held, errs)
	}
	h.release()
	held, errs := j.pending()
	if len(held) != 1 || errs != nil || !reflect.DeepEqual(held[0].entry, e) {
		t.Fatalf("got %+v, %v", held, errs)
	}
	if err := held[0].done(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestJournalDamage(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"1.new.pull.json":  "",
		"2.new.pull.json":  `{"image":"registry.lab/app:1","start":"2026-`,
		"3.new.pull.json":  `{"image":"","start":"2026-11-21T00:00:00Z"}`,
		"4.new.pull.json":  `[]`,
		"5.new":            `{"image":"registry.lab/app:1"`, // crashed before it was whole
		"notes.txt":        "of another program",
		"6.new.pull.json~": "an editor's",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "7.new.pull.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	held, errs := NewJournal(dir).pending()
	if held != nil || len(errs) != 5 {
		t.Errorf("got %v, %v", held, errs)
	}
	if held, errs := NewJournal(dir).pending(); held != nil || errs != nil {
		t.Errorf("once set aside: %v, %v", held, errs)
	}
	bad, _ := filepath.Glob(filepath.Join(dir, "*.bad"))
	if len(bad) != 5 {
		t.Errorf("set aside: %v", bad)
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Errorf("not ours to touch: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "5.new")); err == nil {
		t.Error("what a crash left is still there")
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"image":"registry.lab/app:1","before":["sha256:aa"],"start":"2026-11-21T00:00:00Z","timeoutNanos":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := parseEntry(b); err == nil && (e.Image == "" || e.Start.IsZero()) {
			t.Errorf("accepted %+v", e)
		}
	})
}

// On a full disk nothing is begun, and nothing half-written stays.
func TestJournalOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	dir := t.TempDir()
	if err := unix.Mount("full", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skip("cannot mount here: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 64<<10), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	j := NewJournal(dir)
	if _, err := j.begin(entry{Image: "r.example/app:1"}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("begun on a full disk: %v", err)
	}
	if left, errs := j.pending(); len(left)+len(errs) > 0 || len(glob(dir, "*")) != 1 {
		t.Errorf("left over: %v %v %v", left, errs, glob(dir, "*"))
	}
}
