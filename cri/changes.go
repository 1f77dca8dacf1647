package cri

import "time"

// changes is which of some files have changed after a process had started.
type changes struct {
	since time.Time
	files []string
	last  time.Time // of files
}

// changesOf looks at files under root. One that is not there says nothing;
// that it was there before cannot be known.
func changesOf(root *Root, since time.Time, files []string) changes {
	c := changes{since: since}
	for _, name := range files {
		t, err := root.Changed(name)
		if err != nil || !t.After(since) {
			continue
		}
		c.files = append(c.files, name)
		if t.After(c.last) {
			c.last = t
		}
	}
	return c
}
