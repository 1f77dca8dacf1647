package host

import "time"

// changes is which of some files have changed after a process had started.
type Changes struct {
	Since time.Time
	Files []string
	Last  time.Time // of files
}

// changesOf looks at files under root. One that is not there says nothing;
// that it was there before cannot be known.
func ChangesSince(root *Root, since time.Time, files []string) Changes {
	c := Changes{Since: since}
	for _, name := range files {
		t, err := root.Changed(name)
		if err != nil || !t.After(since) {
			continue
		}
		c.Files = append(c.Files, name)
		if t.After(c.Last) {
			c.Last = t
		}
	}
	return c
}
