package lab

import (
	"context"
	"fmt"
	"os"
	"time"
)

// AddNode starts one more node, with the images that the others have by LoadImage, and waits
// until it is Ready.
func (l *Lab) AddNode(ctx context.Context, name string) error {
	if _, err := findNode(name); err != nil {
		return err
	}
	unlock, err := lockDir(l.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if l.started(name) {
		return fmt.Errorf("%s is already started", name)
	}
	if err := makeCgroups(); err != nil {
		return err
	}
	apiReady := make(chan struct{})
	close(apiReady)
	return l.startNode(ctx, name, apiReady)
}

// RemoveNode ends a node at once, as a machine is lost, and deletes its Node object and its
// pods. AddNode can start it again, without faults and images.
func (l *Lab) RemoveNode(ctx context.Context, name string) error {
	n, err := findNode(name)
	if err != nil {
		return err
	}
	unlock, err := lockDir(l.dir)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := l.initOf(name)
	if err != nil {
		return err
	}
	if err := p.kill(20 * time.Second); err != nil {
		return err
	}
	if err := removeCgroups(name); err != nil {
		return err
	}
	if err := renewNetwork(ctx, n); err != nil {
		return err
	}
	if _, err := l.Kubectl(ctx, nil, "delete", "node", name, "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := l.Kubectl(ctx, nil, "delete", "pods", "--all-namespaces", "--field-selector=spec.nodeName="+name,
		"--force", "--grace-period=0", "--wait=false"); err != nil {
		return err
	}
	// The pid file last: without it the node does not count as started.
	for _, path := range []string{l.dir.Run(name), controlSocket(l.dir, name), l.dir.Run(name + ".pid")} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
