// Package readertest has what tests need that compare our reading of containerd's
// configuration with the answers of each minor version, as `make readers` records them.
package readertest

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Flag returns the flag -record of a test: to have each containerd asked again, and its
// answers written to testdata.
func Flag() *bool {
	return flag.Bool("record", false, "record the answers of the containerds in $PULLPROBE_READERS")
}

// Readers returns the containerds whose answers are recorded: versions by the name that
// they have in lab/tools/readers.
func Readers() map[string]string {
	return map[string]string{
		"1.6.20": "1.6.20", // that of Debian 12
		"1.6":    "1.6.38", "1.7": "1.7.35", "2.0": "2.0.14", "2.1": "2.1.9", "2.2": "2.2.9", "2.3": "2.3.7", "2.4": "2.4.2",
	}
}

// Binary returns a program that `make readers` builds, and whether it is there.
func Binary(name string) (string, bool) {
	file := filepath.Join(os.Getenv("PULLPROBE_READERS"), name)
	_, err := os.Stat(file)
	return file, os.Getenv("PULLPROBE_READERS") != "" && err == nil
}

// Load reads a file of testdata. Of a containerd that is not there to be asked again, the
// recorded answers stay.
func Load(t *testing.T, file string, record bool, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if record && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Keep writes a file of testdata if the answers are to be recorded.
func Keep(t *testing.T, file string, record bool, answers any) {
	t.Helper()
	if !record {
		return
	}
	text, err := json.MarshalIndent(answers, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join("testdata", file), append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
