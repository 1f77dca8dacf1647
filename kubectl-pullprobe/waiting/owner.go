package waiting

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cronJobName matches the name that the CronJob controller gives to a Job: the CronJob's, and
// the scheduled time in minutes since 1970.
var cronJobName = regexp.MustCompile(`^(.+)-\d{8}$`)

// OwnerOf returns what a pod was made from, as reports name it: KIND/NAME for kubectl; empty if
// it was made from nothing.
func OwnerOf(p *corev1.Pod) string {
	if p.Annotations["kubernetes.io/config.source"] == "file" {
		return "static/" + strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName)
	}
	owner := metav1.GetControllerOfNoCopy(p)
	if owner == nil {
		return ""
	}
	switch owner.Kind {
	case "ReplicaSet":
		for label, kind := range map[string]string{"pod-template-hash": "deployment/", "rollouts-pod-template-hash": "rollout/"} {
			if name, ok := strings.CutSuffix(owner.Name, "-"+p.Labels[label]); ok && p.Labels[label] != "" {
				return kind + name
			}
		}
	case "Job":
		if m := cronJobName.FindStringSubmatch(owner.Name); m != nil {
			return "cronjob/" + m[1]
		}
	case "ReplicationController":
		if name := p.Annotations["openshift.io/deployment-config.name"]; name != "" {
			return "deploymentconfig/" + name
		}
	case "StatefulSet", "DaemonSet":
	default:
		if group, _, named := strings.Cut(owner.APIVersion, "/"); named {
			return strings.ToLower(owner.Kind) + "." + group + "/" + owner.Name
		}
	}
	return strings.ToLower(owner.Kind) + "/" + owner.Name
}
