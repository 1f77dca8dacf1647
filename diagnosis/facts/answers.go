package facts

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// IsAnswer reports whether a check that failed is about what a host answered.
func IsAnswer(c report.Check) bool {
	switch c.Kind {
	case report.KindManifest, report.KindToken, report.KindImage, report.KindBlob:
		return c.Outcome == report.Fail && c.Host != "" && c.Cause.Stage() >= report.StageAnswer
	default:
		return false
	}
}

// AnsweringHost returns the host whose answer a check is about: the one that the registry
// refers or redirects the runtime to, if there is one.
func AnsweringHost(c report.Check) string {
	key := report.KeyRedirectedTo
	switch c.Kind {
	case report.KindToken:
		key = report.KeyRealmHost
	case report.KindBlob:
		key = report.KeyBlobHost
	default:
	}
	return cmp.Or(strings.TrimSuffix(c.Evidence[key], ":443"), c.Host)
}

// answersAt returns the statuses of other addresses of a host, from "ADDRESS STATUS, …".
func answersAt(c report.Check, key string) (out []string) {
	for entry := range strings.SplitSeq(c.Evidence[key], ", ") {
		if _, status, ok := strings.Cut(entry, " "); ok {
			out = append(out, status)
		}
	}
	return out
}

// AnsweredBy reports whether one of the other addresses answered with a status.
func AnsweredBy(c report.Check, key, status string) bool {
	return slices.Contains(answersAt(c, key), status)
}

// SameAnswer reports whether the other addresses give the answer of the one that the
// runtime uses.
func SameAnswer(c report.Check, key string) bool {
	all := answersAt(c, key)
	return len(all) > 0 && !slices.ContainsFunc(all, func(status string) bool { return status != c.Evidence[report.KeyStatus] })
}

// DependsOnLogin reports whether a failed check is the answer of a registry that
// may be another one to a login. A tag that is missing from a visible repository
// is missing for everyone.
func DependsOnLogin(e *Evidence, c report.Check) bool {
	switch c.Kind {
	case report.KindManifest, report.KindToken, report.KindBlob:
	default:
		return false
	}
	switch c.Cause {
	case report.RateLimited, report.RegistryUnavailable, report.TokenServiceFailed, report.MirrorFaulty,
		report.ProxyDenied, report.Undetermined:
		return false
	}
	if c.Is(report.KeyPolicy) {
		return false // a rule for all users
	}
	return c.Outcome == report.Fail && c.Cause.Stage() == report.StageAnswer &&
		e.Fact(report.ManifestID(c.Host), report.KeyRepository) != "exists"
}
