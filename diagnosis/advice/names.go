package advice

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

const (
	// A cache of another registry accepts no push.
	cacheFix = "push {registry}/{repository}:{tag}; if {host} caches {repository} from another registry, " +
		"push it there, and check that {host} reaches that registry"

	// A digest is not pushed, it results from what is pushed.
	digestFix = "pin an existing digest of {registry}/{repository}, or push the image with digest {tag} again"
)

// existingImage returns an image that may be meant and was seen to exist, and
// which part of its name differs; empty if there is none.
func (a adviser) existingImage() (image, what string) {
	switch a.Cause {
	case report.TagNotFound, report.RepositoryNotFound, report.AccessDeniedOrMissing:
	case report.HostNotFound:
		return a.suggestedImage()
	default:
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
		name, tag := a.names.Registry+"/"+cmp.Or(repository, a.names.Repository), cmp.Or(tag, a.names.Tag)
		if strings.Contains(tag, ":") { // a digest
			return name + "@" + tag, what
		}
		return name + ":" + tag, what
	}
	return a.suggestedImage()
}

// suggestedImage returns the image of another registry that may be meant and was seen to
// exist, and where it is; empty if there is none.
func (a adviser) suggestedImage() (image, what string) {
	image = a.Fact(report.IDSuggested, report.KeySuggestImage)
	if image == "" {
		return "", ""
	}
	host, _, _ := strings.Cut(image, "/")
	if !strings.ContainsAny(host, ".:") {
		return image, "image, in lower case"
	}
	return image, "image in " + host
}

// fixOfName returns the fix of a name that is not valid, or whose registry does not exist,
// where another one may be meant.
func (a adviser) fixOfName() string {
	host := a.Fact(report.IDSuggested, report.KeySuggestHost)
	switch image := a.Fact(report.IDReference, report.KeySuggestImage); {
	case a.Cause == report.InvalidReference && image != "":
		return "correct the image name" + a.use(image)
	case a.Cause == report.HostNotFound && a.Fault == report.FaultConfig && host != "":
		return "correct the registry's name in {where}, if " + host + " is meant (" + a.usedBy() + "); " +
			"if {host} is right, make it resolve on {node}"
	}
	return ""
}

// usedBy says how many pods use the registry that is suggested.
func (a adviser) usedBy() string {
	if n := a.Fact(report.IDSuggested, report.KeyUsedBy); n != "1" {
		return n + " other pods of this node use it"
	}
	return "another pod of this node uses it"
}

// orSuggested returns what to do, beside a fix that does not name it, if an image that exists
// in another registry is meant. Whose fault it is does not depend on that.
func (a adviser) orSuggested(fix string) string {
	image, _ := a.suggestedImage()
	if image == "" || strings.Contains(fix, image) || !a.Cause.OnTheNetwork() && a.Cause.Stage() != report.StageAnswer {
		return ""
	}
	return "\nor, if " + image + " is meant, use that" + a.use(image)
}

// use returns how to use another image in the pod, where that is known.
func (a adviser) use(image string) string {
	pod := a.Get(report.IDPod).Evidence
	kind, name, _ := strings.Cut(pod[report.KeyOwner], "/")
	const set = ":\nkubectl -n {ns} set image "
	switch {
	case pod[report.KeyVolume] != "" && (a.names.Lacks("{ns}{pod}") || !slices.Contains(templated, kind)):
		return " as reference of {where}: " + image
	case pod[report.KeyVolume] != "": // kubectl set image would change the image of the container
		return a.unlessChanged(kind) + ":\n" +
			patchTemplate(a.Evidence, kind, `{"volumes":[{"name":"`+pod[report.KeyVolume]+`","image":{"reference":"`+image+`"}}]}`)
	case a.names.Lacks("{ns}{pod}{container}"):
		return ": " + image
	case pod[report.KeyContainerType] == "ephemeral": // it cannot be changed
		return " in another container:\nkubectl -n {ns} debug {pod} --image=" + image
	case kind == "static":
		return " on {node}, in the file of static pod " + name + " (by default in /etc/kubernetes/manifests): " + image
	case kind == "deploymentconfig":
		return ":\noc -n {ns} set image {owner} {container}=" + image
	case slices.Contains(templated, kind):
		return a.unlessChanged(kind) + set + "{owner} {container}=" + image + a.recreate(kind)
	case kind != "":
		return " in {owner}, and in this pod" + set + "pod/{pod} {container}=" + image
	}
	return set + "pod/{pod} {container}=" + image
}

// unlessChanged says when the command must not be run: whether the template was changed since
// the pod was made is not known. A rollout may wait for something else.
func (a adviser) unlessChanged(kind string) string {
	if kind != "deployment" {
		return ""
	}
	return " (unless {owner} has another image by now: then wait for its rollout)"
}

// fixOfOldRevision returns what to do if a newer pod of the same owner has another image: the
// template was changed already.
func (a adviser) fixOfOldRevision() string {
	newer := a.Fact(report.IDPod, report.KeyNewerImage)
	kind, _, _ := strings.Cut(a.Fact(report.IDPod, report.KeyOwner), "/")
	if newer == "" || a.Fault != report.FaultConfig || a.names.Lacks("{ns}{pod}") {
		return ""
	}
	changed := "{owner} was changed after this pod was made: a newer pod has " + newer + "; "
	switch kind {
	case "cronjob":
		return changed + "delete the Job with the old image:" + deleteJob(a.Evidence)
	case "deployment":
		return changed + "the rollout replaces this pod, see whether it ends:\nkubectl -n {ns} rollout status {owner} --timeout=10s"
	}
	return changed + "the rollout replaces this pod"
}

// recreate returns what else a controller needs that does not replace a pod that never was
// ready: a StatefulSet waits for it (Forced rollback, in the docs of StatefulSets), and a
// ReplicaSet and a Job keep the pods that they have.
func (a adviser) recreate(kind string) string { return recreate(a.Evidence, kind) }

func recreate(e *facts.Evidence, kind string) string {
	switch kind {
	case "statefulset", "replicaset", "replicationcontroller":
		return "\nkubectl -n {ns} delete pod {pod}"
	case "cronjob":
		if e.Fact(report.IDPod, report.KeyJob) == "" {
			return ""
		}
		_, name, _ := strings.Cut(e.Fact(report.IDPod, report.KeyOwner), "/")
		return deleteJob(e) + "\nthe schedule makes the next Job; to have one now:\n" +
			"kubectl -n {ns} create job --from={owner} " + name + "-$(date +%s)"
	}
	return ""
}

// deleteJob returns the command that deletes the Job of a CronJob's pod.
func deleteJob(e *facts.Evidence) string {
	return "\nkubectl -n {ns} delete job " + e.Fact(report.IDPod, report.KeyJob)
}

// templated are the kinds of Kubernetes whose pod template kubectl set image changes. That
// of a Job is immutable.
var templated = []string{"deployment", "replicaset", "statefulset", "daemonset", "replicationcontroller", "cronjob"}

// orElse returns what to do if the existing image is not the one that is meant.
func (a adviser) orElse() string {
	switch {
	case a.Cause == report.HostNotFound:
		return "make {host} resolve on {node}, if it is right"
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
