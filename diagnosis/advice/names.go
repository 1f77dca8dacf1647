package advice

import (
	"cmp"

	"github.com/pullprobe/pullprobe/report"
)

const (
	inController = " (or in the controller that owns the pod)"

	// A cache of another registry accepts no push.
	cacheFix = "push {registry}/{repository}:{tag}; if {host} caches {repository} from another registry, " +
		"push it there, and check that {host} reaches that registry"

	// A digest is not pushed, it results from what is pushed.
	digestFix = "pin an existing digest of {registry}/{repository}, or push the image with digest {tag} again"
)

// existingImage returns an image that may be meant and was seen to exist, and
// which part of its name differs; empty if there is none.
func (a adviser) existingImage() (image, what string) {
	if a.Cause != report.TagNotFound && a.Cause != report.RepositoryNotFound && a.Cause != report.AccessDeniedOrMissing {
		return "", ""
	}
	for _, id := range a.Because {
		repository, tag := a.Fact(id, report.KeySuggestRepository), a.Fact(id, report.KeySuggestTag)
		switch {
		case repository != "":
			what = "repository"
		case tag != "":
			what = "tag"
		default:
			continue
		}
		return a.names.Registry + "/" + cmp.Or(repository, a.names.Repository) + ":" + cmp.Or(tag, a.names.Tag), what
	}
	return "", ""
}

// use returns how to use another image in the pod, where that is known.
func (a adviser) use(image string) string {
	pod := a.Get(report.IDPod).Evidence
	switch {
	case pod[report.KeyVolume] != "": // kubectl set image would change the image of the container
		return " as reference of {where}: " + image
	case a.names.HasBlanks("{ns}{pod}{container}"):
		return ": " + image
	}
	return ": kubectl -n {ns} set image {owner} {container}=" + image + inControllerUnless(pod[report.KeyOwner])
}

func inControllerUnless(owner string) string {
	if owner != "" {
		return ""
	}
	return inController
}

// orElse returns what to do if the existing image is not the one that is meant.
func (a adviser) orElse() string {
	switch {
	case a.Cause == report.AccessDeniedOrMissing && a.Get(report.IDPod).Evidence[report.KeyNamespace] == "":
		return a.Cause.FixInWords()
	case a.Cause == report.AccessDeniedOrMissing:
		return a.Cause.Fix(a.Fault)
	case a.MayBeCache():
		return cacheFix
	case a.Fact(report.IDReference, report.KeyDigest) != "":
		return digestFix
	}
	return "push {registry}/{repository}:{tag}"
}
