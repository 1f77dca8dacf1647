package report

import (
	"slices"
	"strings"
)

// answered reports whether a check that failed is about what a host answered.
func answered(c Check) bool {
	switch c.Kind {
	case KindManifest, KindToken, KindImage, KindBlob:
		return c.Outcome == Fail && c.Host != "" && c.Cause.Stage() >= StageAnswer
	}
	return false
}

// answersAt returns the statuses of other addresses of a host, from "ADDRESS STATUS, …".
func answersAt(c Check, key string) (out []string) {
	for entry := range strings.SplitSeq(c.Evidence[key], ", ") {
		if _, status, ok := strings.Cut(entry, " "); ok {
			out = append(out, status)
		}
	}
	return out
}

// answeredBy reports whether one of the other addresses answered with a status.
func answeredBy(c Check, key, status string) bool { return slices.Contains(answersAt(c, key), status) }

// sameAnswer reports whether the other addresses give the answer of the one that the
// runtime uses.
func sameAnswer(c Check, key string) bool {
	all := answersAt(c, key)
	return len(all) > 0 && !slices.ContainsFunc(all, func(status string) bool { return status != c.Evidence[KeyStatus] })
}
