// Package cluster reads what the plugin shows from the API server, with the caller's rights.
// A right that is missing is no failure: what cannot be read is named.
package cluster

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// DefaultHome is the namespace of pullprobe in its manifests.
const DefaultHome = "pullprobe"

// Client makes the requests of the plugin.
type Client struct {
	Kube kubernetes.Interface
	Meta metadata.Interface

	home  string // namespace of pullprobe
	fixed bool   // the caller named it
}

// New returns a client. Without a home, the namespace of pullprobe is found.
func New(cfg *rest.Config, home string) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "kubectl-pullprobe"
	cfg.QPS, cfg.Burst = 50, 100 // a person waits
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client of the cluster: %w", err)
	}
	meta, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client of the cluster: %w", err)
	}
	c := &Client{Kube: kube, Meta: meta, home: home, fixed: home != ""}
	if !c.fixed {
		c.home = DefaultHome
	}
	return c, nil
}
