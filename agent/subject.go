package agent

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/examine"
)

// podSubject returns what is examined for one image of a pod.
func podSubject(p pods.Pod, w pods.PendingImage, secrets secretReader) examine.Subject {
	if w.ForSandbox {
		return sandboxSubject(w.Image)
	}
	s := examine.Subject{
		Image:        w.Image,
		Pod:          &cri.Pod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Annotation: p.RuntimeHandler},
		RuntimeClass: p.RuntimeClass,
		Failing:      w.Failing && w.Policy != corev1.PullNever,
		Secrets:      func(ctx context.Context) []credentials.SecretLookup { return secrets.pullSecrets(ctx, p) },
		Account:      func(ctx context.Context) *credentials.ServiceAccount { return secrets.account(ctx, p) },
	}
	switch {
	case w.Failing && w.Policy == corev1.PullNever:
		s.NoPull = examine.NoPullPolicyNever
	case w.Creating:
		s.NoPull = examine.NoPullCreating
	}
	return s
}

// neighbors returns what other pods run as an examination needs it.
func neighbors(u pods.InUse) examine.Neighbors {
	out := examine.Neighbors{Images: u.Images}
	for _, h := range u.Hosts {
		out.Hosts = append(out.Hosts, examine.HostUse(h))
	}
	return out
}

// sandboxSubject returns the examination of the sandbox image. The runtime pulls it with
// its own credentials, never with a pod's, and retries every few seconds, so there is no
// test pull.
func sandboxSubject(image string) examine.Subject {
	return examine.Subject{
		Image:   image,
		Secrets: func(context.Context) []credentials.SecretLookup { return nil },
		NoPull:  examine.NoPullSandbox,
	}
}
