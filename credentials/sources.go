package credentials

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sources are all sources of credentials for one image.
type Sources struct {
	Secrets []SecretLookup  // the pod's pull secrets, in its order
	Account *ServiceAccount // nil: not read
	Node    *NodeSources    // nil: not read
	Runtime []Credential    // containerd's own
	Now     time.Time
}

// SecretLookup is one pull secret of a pod, if it could be read.
type SecretLookup struct {
	Namespace, Name string
	Secret          *Secret // nil: it does not exist or could not be read
	Err             error   // why it could not be read; nil with a nil Secret: it does not exist
}

// ForbiddenError names the permission that the agent lacks.
type ForbiddenError struct {
	Verb, Resource, Namespace, Name string

	Node       string // the node as which the agent tried to read, too; empty: it did not
	NodeReason string // why that was denied
}

func (e *ForbiddenError) Error() string {
	const grant = "manifests/components/secrets"
	what := fmt.Sprintf("cannot %s %s in namespace %s (%s)", e.Verb, e.Resource, e.Namespace, e.Name)
	if e.Node == "" {
		return "the agent's ServiceAccount " + what + ": apply " + grant
	}
	return fmt.Sprintf("the agent %s as node %s: %s; its ServiceAccount cannot either (%s is not applied)", what, e.Node, e.NodeReason, grant)
}

// ServiceAccount is the pod's ServiceAccount. The API server copies its pull secrets
// into a pod at creation, and only if the pod lists none itself
// (kube-apiserver, plugin/pkg/admission/serviceaccount, Admit). The kubelet
// never reads it.
type ServiceAccount struct {
	Namespace, Name string
	Err             error          // why it could not be read
	NotAttached     []SecretLookup // secrets that it lists and the pod does not
	// PodListsOwn: the pod lists secrets that the ServiceAccount does not list.
	// Otherwise the unattached ones were added after the pod was created.
	PodListsOwn bool
}

// NodeSources is what the kubelet adds to the pod's secrets.
type NodeSources struct {
	Problem   string // why the kubelet could not be inspected; all else is empty then
	File      NodeFile
	Providers ProviderConfig
	Results   []ProviderResult // of the providers that match, in the configuration's order
	Minor     int              // of the kubelet: 33 of Kubernetes 1.33; 0: not known
}

// separateSince is the first minor version of a kubelet that looks into its docker config
// file before it asks its credential providers, and keeps the order of their configuration.
// Before it, both filled one keyring: the most specific path came first, whatever its
// source, and then the file and the providers by their names (v1.32,
// pkg/credentialprovider/plugins.go, NewDockerKeyring).
const separateSince = 33

// together returns the node's credentials for a repository in the order of such a kubelet.
func (n *NodeSources) together(repository string) []Credential {
	all := slices.Clone(n.File.Credentials)
	byName := slices.SortedStableFunc(slices.Values(n.Results), func(a, b ProviderResult) int {
		return strings.Compare(a.Provider, b.Provider)
	})
	for _, a := range byName {
		all = append(all, a.Credentials...)
	}
	return newKeyring(all).Lookup(repository)
}
