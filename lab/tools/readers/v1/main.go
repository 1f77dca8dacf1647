// Command readhosts prints how this version's own code reads directories of hosts.toml
// files. Its input is a JSON list of {"root", "domain"}; its output a JSON list of
// {"hosts", "error"} in the same order. `make readers` builds it with each containerd.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/containerd/containerd/remotes/docker/config"
)

type request struct{ Root, Domain string }

type answer struct {
	Hosts []host `json:"hosts,omitempty"`
	Error string `json:"error,omitempty"`
}

// host is what a pull sees of a host.
type host struct {
	Scheme, Host, Path string
	Capabilities       int
	SkipVerify         bool
	Fallback           bool
	Clients            int
	Header             http.Header
}

func main() {
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := make([]answer, len(requests))
	for i, r := range requests {
		answers[i] = read(r)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(r request) (a answer) {
	options := config.HostOptions{HostDir: config.HostDirFromRoot(r.Root)}
	hosts, err := config.ConfigureHosts(context.Background(), options)(r.Domain)
	if err != nil {
		return answer{Error: err.Error()}
	}
	for _, h := range hosts {
		out := host{Scheme: h.Scheme, Host: h.Host, Path: h.Path, Capabilities: int(h.Capabilities), Header: h.Header}
		switch tr := h.Client.Transport.(type) {
		case *http.Transport:
			out.SkipVerify, out.Clients = tr.TLSClientConfig.InsecureSkipVerify, len(tr.TLSClientConfig.Certificates)
		default: // containerd's httpFallback, which is not exported
			out.Fallback = true
		}
		a.Hosts = append(a.Hosts, out)
	}
	return a
}
