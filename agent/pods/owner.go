package pods

import (
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// Owner is what a pod was made from.
type Owner struct {
	Name string // as KIND/NAME for kubectl, such as deployment/web; empty: nothing, the pod is on its own
	Job  string // the name of the Job in between, if the owner is a CronJob
}

// Annotations of the kubelet's own pods, and labels of controllers that are no part of
// Kubernetes.
const (
	configSource      = "kubernetes.io/config.source" // file: a static pod
	rolloutHash       = "rollouts-pod-template-hash"  // Argo Rollouts
	deploymentHash    = "pod-template-hash"
	deploymentConfig  = "openshift.io/deployment-config.name"
	staticOwnerPrefix = "static/"
)

// cronJobName matches the name of a Job that a CronJob made: the minutes since 1970 follow
// the CronJob's name (pkg/controller/cronjob, getJobName).
var cronJobName = regexp.MustCompile(`^(.+)-(\d{8})$`)

// ownerOf returns what a pod was made from. A ReplicaSet with the hash of a template belongs
// to the Deployment, or the Rollout, of its name.
func ownerOf(p *corev1.Pod) Owner {
	if p.Annotations[configSource] == "file" {
		return Owner{Name: staticOwnerPrefix + strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)}
	}
	owner := metav1.GetControllerOfNoCopy(p)
	if owner == nil {
		return Owner{}
	}
	switch owner.Kind {
	case "ReplicaSet":
		for label, kind := range map[string]string{deploymentHash: "deployment/", rolloutHash: "rollout/"} {
			hash := p.Labels[label]
			if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && hash != "" {
				return Owner{Name: kind + name}
			}
		}
	case "ReplicationController":
		if name := p.Annotations[deploymentConfig]; name != "" {
			return Owner{Name: "deploymentconfig/" + name}
		}
	case "Job":
		if m := cronJobName.FindStringSubmatch(owner.Name); m != nil {
			return Owner{Name: "cronjob/" + m[1], Job: owner.Name}
		}
	case "StatefulSet", "DaemonSet":
	default: // kubectl finds another kind by its group
		group, _, named := strings.Cut(owner.APIVersion, "/")
		if named {
			return Owner{Name: strings.ToLower(owner.Kind) + "." + group + "/" + owner.Name}
		}
	}
	return Owner{Name: strings.ToLower(owner.Kind) + "/" + owner.Name}
}
