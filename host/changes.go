package host

import "time"

// Changes lists the files that have changed since a time, such as a process's start.
type Changes struct {
	Since time.Time
	Files []string
	Last  time.Time // the latest change
}

// ChangesSince returns which of the files under root have changed since a time. A
// file that does not exist counts as unchanged: whether it existed before is unknown.
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
