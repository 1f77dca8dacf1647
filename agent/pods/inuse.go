package pods

import (
	"cmp"
	"maps"
	"slices"

	"github.com/pullprobe/pullprobe/agent/corev1"
	"k8s.io/apimachinery/pkg/types"
)

// InUse is what the other pods of the node run.
type InUse struct {
	Hosts  []HostUse // registries, the most used first
	Images []string  // of pods of the same namespace, in order
}

// HostUse is how many other pods of the node run images of a registry.
type HostUse struct {
	Host      string
	Pods      int
	Namespace int // how many of them are in the pod's own namespace
}

// InUse returns what the other pods of the node run, from the view of one pod: a registry
// counts if a pod of its own namespace runs images of it, or pods of two others do. The owner
// of one namespace alone must not send other teams to a registry of theirs. Images of other
// namespaces are not returned.
func (s *Store) InUse(uid types.UID) InUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.pods[uid].Namespace
	images, uses, namespaces := map[string]bool{}, map[string]*HostUse{}, map[string]map[string]bool{}
	for _, p := range s.pods {
		if p.UID == uid || p.Phase != corev1.PodRunning || p.Deleting {
			continue
		}
		hosts := map[string]bool{}
		for _, c := range p.Containers {
			host, ok := RegistryOf(c.Image)
			if !ok || !c.Started {
				continue
			}
			hosts[host] = true
			if p.Namespace == own {
				images[c.Image] = true
			}
		}
		for host := range hosts {
			if uses[host] == nil {
				uses[host], namespaces[host] = &HostUse{Host: host}, map[string]bool{}
			}
			uses[host].Pods++
			namespaces[host][p.Namespace] = true
			if p.Namespace == own {
				uses[host].Namespace++
			}
		}
	}
	out := InUse{Images: slices.Sorted(maps.Keys(images))}
	for host, use := range uses {
		if use.Namespace > 0 || len(namespaces[host]) > 1 {
			out.Hosts = append(out.Hosts, *use)
		}
	}
	slices.SortFunc(out.Hosts, func(a, b HostUse) int {
		return cmp.Or(b.Namespace-a.Namespace, b.Pods-a.Pods, cmp.Compare(a.Host, b.Host))
	})
	return out
}
