package reference

import (
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/pullprobe/pullprobe/evidence"
)

// maxMeant is the longest name that is corrected, in bytes: it must be whole in the evidence.
const maxMeant = evidence.MaxValue

// Meant returns the valid name that was probably meant by an invalid one: what people
// write before, between and after the parts of a name is corrected, and nothing is added.
// Empty: it is not known. Whether the image exists is not known either.
func Meant(image string) string {
	name := strings.TrimSpace(image)
	if len(image) > maxMeant || strings.ContainsAny(name, "{}$<>") {
		return "" // the rest of a template is nobody's name
	}
	if scheme, rest, ok := strings.Cut(name, "://"); ok && isScheme.MatchString(scheme) {
		name = strings.TrimSuffix(rest, "/")
	}
	name, tail := cutTail(name)
	name = strings.ToLower(strings.Trim(manySlashes.ReplaceAllString(name, "/"), "/")) + tail
	if _, err := reference.ParseDockerRef(name); err != nil || name == image || len(name) > maxMeant {
		return ""
	}
	return name
}

var (
	isScheme    = regexp.MustCompile(`^[a-zA-Z][a-zA-Z+-]{1,30}$`)
	manySlashes = regexp.MustCompile(`/{2,}`)

	// tailOf splits what follows the repository: a tag, a digest, or both, with ":" and
	// "@" in either's place, and the algorithm of a SHA-256 digest left out.
	tailOf = regexp.MustCompile(`^(?:[:@]+(\w[\w.-]{0,127}?))??(?:[:@]+(?:(?i:sha256)[:@-])?([0-9a-fA-F]{64}))?$`)
)

// cutTail splits a name before its tag or digest, and returns these as they must read. A
// name whose tail is not understood stays whole.
func cutTail(name string) (repository, tail string) {
	at := strings.LastIndex(name, "/") + 1
	i := strings.IndexAny(name[at:], ":@")
	if i < 0 {
		return name, ""
	}
	at += i
	parts := tailOf.FindStringSubmatch(name[at:])
	if parts == nil {
		return name, ""
	}
	if parts[1] != "" {
		tail = ":" + parts[1]
	}
	if parts[2] != "" {
		tail += "@sha256:" + strings.ToLower(parts[2])
	}
	return name[:at], tail
}

// CutDigest returns what is left of a SHA-256 digest that was cut short, and the reference
// without it: its tag is empty if the name has none. ok is false if the name is not invalid
// for that reason.
func CutDigest(image string) (ref Ref, digest string, ok bool) {
	name, hex, found := strings.Cut(image, "@sha256:")
	if !found || len(image) > maxMeant || len(hex) < minCutDigest || len(hex) >= 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return Ref{}, "", false
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Ref{}, "", false
	}
	ref = Ref{Domain: reference.Domain(named), Path: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		ref.Tag = tagged.Tag()
	}
	return ref, "sha256:" + hex, true
}

// minCutDigest is how many digits of a digest must be left to recognize it: as many as
// programs show of one.
const minCutDigest = 7
