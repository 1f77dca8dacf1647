package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"sync"
)

// jsonLog is a file of JSON lines.
type jsonLog struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *jsonLog) write(entry any) {
	b, err := json.Marshal(entry)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Write(append(b, '\n'))
}

// Mark is a position in a log.
type Mark int64

func endMark(path string) (Mark, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return Mark(st.Size()), nil
}

// readJSONLog returns the complete entries after a mark for which keep returns true.
func readJSONLog[T any](path string, since Mark, keep func(T) bool) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(int64(since), io.SeekStart); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var entries []T
	for line := range bytes.Lines(b[:bytes.LastIndexByte(b, '\n')+1]) {
		var e T
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		if keep(e) {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
