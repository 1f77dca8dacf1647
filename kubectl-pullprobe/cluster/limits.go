package cluster

import (
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Limits are the sentences on what the caller may not read, and what is shown instead. Each is
// there once.
type Limits struct {
	mu    sync.Mutex
	texts []string
}

// Add adds a sentence.
func (l *Limits) Add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.texts {
		if have == text {
			return
		}
	}
	l.texts = append(l.texts, text)
}

// All returns the sentences.
func (l *Limits) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.texts...)
}

// MayNot returns the sentence on one missing right.
func MayNot(verb, resource, namespace, instead string) string {
	where := " in namespace " + namespace
	if namespace == "" {
		where = " in all namespaces"
	}
	if resource == "nodes" {
		where = ""
	}
	text := "you may not " + verb + " " + resource + where
	if instead != "" {
		text += ": " + instead
	}
	return text
}

// Denied reports whether the API server refused a request for lack of a right.
func Denied(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

// ReaderRole is what grants the right to read reports.
const ReaderRole = "the Role pullprobe-report-reader grants it"
