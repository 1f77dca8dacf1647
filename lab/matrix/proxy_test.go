//go:build matrix

package matrix

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"

	"os"
)

// proxy is a real tinyproxy, with its own resolv.conf.
type proxy struct {
	s    *scene
	addr string // host:port
	dir  string
	cmd  *exec.Cmd
}

// proxy makes a proxy that does not run yet.
func (s *scene) proxy() *proxy {
	s.t.Helper()
	dir, err := os.MkdirTemp(s.w.dir, "proxy")
	must(s.t, err)
	p := &proxy{s: s, dir: dir, addr: fmt.Sprintf("%s:%d", s.w.addr(private4), 1024+randomNumber(40000))}
	must(s.t, writeFiles(filepath.Join(dir, "etc"), map[string]string{
		"resolv.conf": "nameserver " + resolver1 + "\n", "nsswitch.conf": "hosts: files dns\n", "hosts": "127.0.0.1 localhost\n",
	}))
	s.t.Cleanup(p.stop)
	return p
}

// start runs the proxy with additional lines of configuration.
func (p *proxy) start(lines ...string) {
	p.s.t.Helper()
	p.stop()
	host, port, err := net.SplitHostPort(p.addr)
	must(p.s.t, err)
	config := fmt.Sprintf("Listen %s\nPort %s\nTimeout 60\nMaxClients 40\nLogFile %q\nLogLevel Info\n",
		host, port, filepath.Join(p.dir, "log"))
	for _, l := range lines {
		config += l + "\n"
	}
	must(p.s.t, writeFiles(p.dir, map[string]string{"tinyproxy.conf": config}))
	p.cmd, err = confined{
		Mounts: []mount{{From: filepath.Join(p.dir, "etc"), To: "/etc"}},
		Args:   []string{"/usr/bin/tinyproxy", "-d", "-c", filepath.Join(p.dir, "tinyproxy.conf")},
	}.command(context.Background())
	must(p.s.t, err)
	must(p.s.t, p.s.w.start(p.cmd))
	eventually(p.s.t, "tinyproxy", func() error {
		return p.s.w.do(func() error {
			c, err := net.Dial("tcp", p.addr)
			if err == nil {
				c.Close()
			}
			return err
		})
	})
}

func (p *proxy) stop() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// env returns the environment of a containerd that uses the proxy.
func (p *proxy) env(more ...string) []string {
	return append([]string{"HTTPS_PROXY=http://" + p.addr}, more...)
}
