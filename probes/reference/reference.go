// Package reference parses an image name as the kubelet and containerd do: check
// "reference".
package reference

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	// The digest algorithms that the runtime knows.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/pullprobe/pullprobe/evidence"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Ref is an image reference in its full form.
type Ref struct {
	Domain string // the registry's name in the reference, e.g. "docker.io", "registry.lab:5000"
	Path   string // the repository, e.g. "library/nginx"
	Tag    string // empty if the reference has a digest
	Digest string // "sha256:…"; empty if the reference has a tag

	IgnoredTag string // the tag beside a digest, which has no effect; empty: there is none
}

// String returns the reference in full, as the runtime stores it.
func (r Ref) String() string {
	switch {
	case r.Domain == "":
		return ""
	case r.Digest != "":
		return r.Domain + "/" + r.Path + "@" + r.Digest
	}
	return r.Domain + "/" + r.Path + ":" + r.Tag
}

// TagOrDigest returns the last part of the manifest's URL.
func (r Ref) TagOrDigest() string { return cmp.Or(r.Digest, r.Tag) }

// Parse parses an image name as the kubelet and containerd do
// (distribution/reference: docker.io, library/ and the tag latest are implied, and a
// tag beside a digest has no effect). The check has the id "reference"; if it fails,
// the Ref is zero.
func Parse(image string) (report.Check, Ref) {
	check := report.Check{ID: report.IDReference, Kind: report.KindReference, Target: readable.Clean(image, evidence.MaxValue)}
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		complaint := readable.Clean(complain(image, err), 200)
		check.Outcome, check.Cause = report.Fail, report.InvalidReference
		check.Summary = "not a valid image reference: " + complaint
		meant := Meant(image)
		if meant != "" {
			check.Summary += "; probably meant: " + meant
		}
		check.Evidence = evidence.Facts{
			report.KeyComplaint: complaint, report.KeyParser: err.Error(), report.KeySuggestImage: meant,
		}.Checked()
		return check, Ref{}
	}
	ref := Ref{Domain: reference.Domain(named), Path: reference.Path(named)}
	if d, ok := named.(reference.Digested); ok {
		ref.Digest = d.Digest().String()
	} else if t, ok := named.(reference.Tagged); ok {
		ref.Tag = t.Tag()
	}
	e := evidence.Facts{report.KeyDomain: ref.Domain, report.KeyPath: ref.Path, report.KeyTag: ref.Tag, report.KeyDigest: ref.Digest}
	if plain, err := reference.ParseNormalizedNamed(image); err == nil {
		if reference.IsNameOnly(plain) {
			e[report.KeyNote] = "no tag given: latest is meant"
		}
		if t, ok := plain.(reference.Tagged); ok && ref.Digest != "" {
			ref.IgnoredTag = t.Tag()
			e[report.KeyIgnoredTag] = ref.IgnoredTag
		}
	}
	check.Outcome = report.Pass
	check.Summary = ref.String()
	check.Evidence = e.Checked()
	return check, ref
}

// complain returns what is wrong with image, and where. The parser only reports that
// the whole does not match its grammar.
func complain(image string, err error) string {
	name, tag := image, ""
	var digest string
	if i := strings.Index(name, "@"); i >= 0 {
		name, digest = name[:i], name[i+1:]
	}
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name, tag = name[:i], name[i+1:]
	}
	switch {
	case image == "":
		return "it is empty"
	case strings.TrimSpace(image) != image:
		return "white space before or after the name"
	case strings.ContainsFunc(image, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return "white space or a control character in the name"
	case strings.Contains(image, "://"):
		scheme, _, _ := strings.Cut(image, "://")
		return `"` + readable.Clean(scheme, 20) + `://" is not part of an image name; remove it`
	case strings.HasSuffix(image, "@"):
		return `nothing after "@": the digest is missing`
	case digest != "":
		if c := complainDigest(digest); c != "" {
			return c
		}
	}
	switch {
	case len(image) == 64 && strings.Trim(image, "0123456789abcdef") == "":
		return "64 hexadecimal digits are an image ID, not a name"
	case strings.HasSuffix(image, ":"):
		return "nothing after the last colon: the tag is missing"
	case onlyCase(name):
		return "the repository name has upper-case letters; only lower case is allowed"
	case errors.Is(err, reference.ErrNameTooLong):
		return "the repository name is longer than 255 characters"
	case strings.ContainsAny(image, "{}$<>"):
		return "an unfilled template placeholder or variable in the name"
	case len(tag) > 128:
		return "the tag is longer than 128 characters"
	case strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return "an empty part in the path: a slash at its start or end, or two in a row"
	}
	for _, r := range image {
		if r > 0x7e {
			return fmt.Sprintf("a character outside ASCII in the name: %U", r)
		}
	}
	return readable.Clean(err.Error(), 120)
}

// onlyCase reports whether name is valid in lower case.
func onlyCase(name string) bool {
	_, before := reference.ParseNormalizedNamed(name)
	_, after := reference.ParseNormalizedNamed(strings.ToLower(name))
	return before != nil && after == nil
}

func complainDigest(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok {
		return `the digest has no algorithm: it must read "sha256:" and 64 hexadecimal digits`
	}
	want := map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}[algorithm]
	switch {
	case want == 0:
		return "unknown digest algorithm " + strconv.Quote(readable.Clean(algorithm, 20))
	case len(hex) != want:
		return "the " + algorithm + " digest has " + strconv.Itoa(len(hex)) + " characters; it must have " + strconv.Itoa(want)
	case strings.Trim(hex, "0123456789abcdef") != "":
		return "the digest has characters other than 0-9 and a-f"
	}
	return ""
}
