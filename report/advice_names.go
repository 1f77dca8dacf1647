package report

import "cmp"

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
	if a.Cause != TagNotFound && a.Cause != RepositoryNotFound && a.Cause != AccessDeniedOrMissing {
		return "", ""
	}
	for _, id := range a.Because {
		repository, tag := a.fact(id, KeySuggestRepository), a.fact(id, KeySuggestTag)
		switch {
		case repository != "":
			what = "repository"
		case tag != "":
			what = "tag"
		default:
			continue
		}
		return a.names.registry + "/" + cmp.Or(repository, a.names.repository) + ":" + cmp.Or(tag, a.names.tag), what
	}
	return "", ""
}

// use returns how to use another image in the pod, where that is known.
func (a adviser) use(image string) string {
	pod := a.get(IDPod).Evidence
	switch {
	case pod[KeyVolume] != "": // kubectl set image would change the image of the container
		return " as reference of {where}: " + image
	case a.names.hasBlanks("{ns}{pod}{container}"):
		return ": " + image
	}
	return ": kubectl -n {ns} set image {owner} {container}=" + image + inControllerUnless(pod[KeyOwner])
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
	case a.Cause == AccessDeniedOrMissing && a.get(IDPod).Evidence[KeyNamespace] == "":
		return a.Cause.FixInWords()
	case a.Cause == AccessDeniedOrMissing:
		return a.Cause.Fix(a.Fault)
	case a.mayBeCache():
		return cacheFix
	case a.fact(IDReference, KeyDigest) != "":
		return digestFix
	}
	return "push {registry}/{repository}:{tag}"
}
