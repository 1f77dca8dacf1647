package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Up builds what is missing and starts a lab of these versions with these nodes, or with
// DefaultNodes. It fails if one is running. It first removes what a crash, a reboot or an
// interrupted start has left.
func Up(ctx context.Context, d Dir, v Versions, p *Progress, nodes ...string) (*Lab, error) {
	if len(nodes) == 0 {
		nodes = DefaultNodes()
	}
	for _, n := range nodes {
		if _, err := findNode(n); err != nil {
			return nil, err
		}
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("must run as root: it makes namespaces, mounts and cgroups")
	}
	unlock, err := lockDir(d)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := Open(d); err == nil {
		return nil, fmt.Errorf("a lab is already running in %s: `lab status` shows it, `lab down` ends it", d)
	}
	if exists(d.Run()) {
		p.Say("removing the remains of a crashed or incomplete lab")
		if err := removeLab(d); err != nil {
			return nil, err
		}
	}
	if exists(netns(Infra)) {
		return nil, fmt.Errorf("another lab is running: %s exists. Only one lab fits on a machine; `lab down` ends it, "+
			"whatever its directory", netns(Infra))
	}
	if err := Build(ctx, d, v, p); err != nil {
		return nil, err
	}
	if err := recordVersions(d, v); err != nil {
		return nil, err
	}
	l := &Lab{dir: d}
	if err := l.startAll(ctx, p, nodes); err != nil {
		return nil, fmt.Errorf("%w\n(the logs are in %s; `lab down` cleans up)", err, d.Run("log"))
	}
	return l, nil
}

// startAll starts everything, as much as possible in parallel.
func (l *Lab) startAll(ctx context.Context, p *Progress, nodes []string) error {
	d := l.dir
	if err := os.MkdirAll(d.Run("log"), 0o755); err != nil {
		return err
	}
	if err := makePKI(d); err != nil {
		return err
	}
	if err := makeNetwork(ctx, d); err != nil {
		return err
	}
	if err := makeCgroups(); err != nil {
		return err
	}
	p.Say("keys and networks are ready")

	sandbox, err := MakeImage(d, Image{Runs: true})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := writeArchive(&archive, sandboxImage, sandbox); err != nil {
		return err
	}
	if err := l.keepArchive(sandboxImage, archive.Bytes()); err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	apiReady := make(chan struct{})
	g.Go(func() error {
		if err := startInit(ctx, d, Infra); err != nil {
			return err
		}
		g.Go(func() error {
			if err := l.pushFirstImages(ctx, sandbox); err != nil {
				return err
			}
			p.Say("registries have their images")
			return nil
		})
		if err := l.waitAPIServer(ctx); err != nil {
			return err
		}
		close(apiReady)
		p.Say("API server is ready")
		for _, s := range []string{"kube-controller-manager", "kube-scheduler"} {
			if err := l.StartService(ctx, Infra, s); err != nil {
				return err
			}
		}
		return nil
	})

	for _, n := range nodes {
		g.Go(func() error {
			if err := l.startNode(ctx, n, apiReady); err != nil {
				return err
			}
			p.Say("%s is Ready", n)
			return nil
		})
	}
	g.Go(func() error {
		select {
		case <-apiReady:
			return l.waitDefaultAccount(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return os.WriteFile(d.Run("ready"), nil, 0o644)
}

// startNode starts a node with the kept images, and waits until it is Ready. It starts the
// kubelet when apiReady is closed.
func (l *Lab) startNode(ctx context.Context, node string, apiReady <-chan struct{}) error {
	if err := startInit(ctx, l.dir, node); err != nil {
		return err
	}
	layout, err := layoutOf(node)
	if err != nil {
		return err
	}
	importKept := func() error {
		if err := l.WaitContainerd(ctx, node); err != nil {
			return err
		}
		return l.importKept(ctx, node)
	}
	if !layout.oneService() {
		if err := importKept(); err != nil {
			return err
		}
	}
	select {
	case <-apiReady:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.StartService(ctx, node, layout.kubelet); err != nil {
		return err
	}
	if layout.oneService() {
		if err := importKept(); err != nil {
			return err
		}
	}
	return l.WaitNode(ctx, node)
}

func (l *Lab) pushFirstImages(ctx context.Context, sandbox v1.Image) error {
	if err := l.waitRegistry(ctx); err != nil {
		return err
	}
	if _, err := l.push(ctx, Image{Refs: []string{sandboxImage}}, sandbox); err != nil {
		return err
	}
	var g errgroup.Group
	for _, spec := range firstImages() {
		g.Go(func() error {
			_, err := l.PushImage(ctx, spec)
			return err
		})
	}
	return g.Wait()
}

func (l *Lab) waitRegistry(ctx context.Context) error {
	return waitUntil(ctx, 20*time.Second, "the registry", func() error {
		conn, err := l.Dial(ctx, Infra, "tcp", "127.0.0.1:"+registryPort)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// WaitNode returns when the API server reports that a node is Ready.
func (l *Lab) WaitNode(ctx context.Context, node string) error {
	return waitUntil(ctx, time.Minute, node, func() error {
		b, err := l.getAPI(ctx, "/api/v1/nodes/"+node)
		if err != nil {
			return err
		}
		ready, message, err := nodeReady(b)
		if err == nil && !ready {
			err = fmt.Errorf("not Ready: %s", message)
		}
		return err
	})
}

// nodeReady reads the Ready condition of a Node object.
func nodeReady(object []byte) (ready bool, message string, err error) {
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(object, &n); err != nil {
		return false, "", err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True", c.Message, nil
		}
	}
	return false, "no Ready condition", nil
}

// waitDefaultAccount returns when pods can be created in the default namespace.
func (l *Lab) waitDefaultAccount(ctx context.Context) error {
	return waitUntil(ctx, 30*time.Second, "the default service account", func() error {
		_, err := l.getAPI(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
		return err
	})
}

// lockDir prevents two programs from starting or ending a lab at the same time. The
// kernel releases the lock when the process ends.
func lockDir(d Dir) (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(string(d)+"/lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another `lab up`, `add`, `remove` or `down` is running in %s", d)
	}
	return func() { f.Close() }, nil
}
