package parity

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/log"
	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/runtimeconfig"
	"github.com/pullprobe/pullprobe/runtimeconfig/readertest"
)

var record = readertest.Flag()

// hostsAnswer is how a containerd reads a hosts.toml for one domain.
type hostsAnswer struct {
	Hosts []configuredHost `json:"hosts,omitempty"`
	Error string           `json:"error,omitempty"`
}

// TestHostsLikeEveryContainerd compares our reading of each form of hosts.toml with that
// of every minor version of containerd, as it was recorded. The recording has only what
// differs from the newest, which TestHostsLikeContainerd compares.
func TestHostsLikeEveryContainerd(t *testing.T) {
	const file = "hosts-by-version.json"
	if err := log.SetLevel("panic"); err != nil {
		t.Fatal(err)
	}
	ca := probetest.NewAuthority(t, nil)
	pair := probetest.PairPEM(t, ca.Good(t, "client.lab"))
	type request struct{ Root, Domain string }
	var requests []request
	var names []string
	for _, name := range slices.Sorted(maps.Keys(hostsFiles)) {
		root := probetest.Files(t, map[string]string{})
		for _, domain := range []string{"registry.lab", "docker.io", "localhost", "localhost:5000", "localhost:80"} {
			for text, as := range map[string]string{hostsFiles[name]: "hosts.toml", string(ca.PEM): "ca.pem", pair: "pair.pem"} {
				writeFile(t, filepath.Join(string(root), domain, as), text)
			}
			requests, names = append(requests, request{string(root), domain}), append(names, name+" | "+domain)
		}
	}
	answers := map[string]map[string]hostsAnswer{}
	readertest.Load(t, file, *record, &answers)
	newest := make([]hostsAnswer, len(requests))
	for i, r := range requests {
		hosts, err := theirs(t, r.Root, r.Domain)
		newest[i] = hostsAnswer{Hosts: hosts}
		if err != nil {
			newest[i] = hostsAnswer{Error: strings.ReplaceAll(err.Error(), r.Root, "")}
		}
	}
	for minor, version := range readertest.Readers() {
		if bin, ok := readertest.Binary("readhosts-" + minor); *record && !ok {
			t.Logf("there is no readhosts-%s in $PULLPROBE_READERS: its recorded answers stay", minor)
		} else if *record {
			answers[version] = map[string]hostsAnswer{}
			for i, a := range askReader(t, bin, requests) {
				a.Error = strings.ReplaceAll(a.Error, requests[i].Root, "")
				if a.Hosts = pulling(a.Hosts); a.Error != newest[i].Error || !cmp.Equal(a.Hosts, pulling(newest[i].Hosts)) {
					answers[version][names[i]] = a
				}
			}
		}
		if answers[version] == nil {
			t.Errorf("no recording of containerd %s: run `make readers`", version)
		}
		t.Run(version, func(t *testing.T) {
			for i, r := range requests {
				want, ok := answers[version][names[i]]
				if !ok {
					want = newest[i]
				}
				got, problem := ours(probetest.Tree(r.Root), r.Domain, version)
				compareHosts(t, names[i], want, got, problem)
			}
		})
	}
	readertest.Keep(t, file, *record, answers)
}

// pulling returns hosts with the capabilities that matter for a pull: not those to push
// to and to ask for referrers.
func pulling(hosts []configuredHost) []configuredHost {
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].Capabilities &= int(docker.HostCapabilityPull | docker.HostCapabilityResolve)
	}
	return hosts
}

// compareHosts compares our reading with a recorded one.
func compareHosts(t *testing.T, name string, want hostsAnswer, got []configuredHost, problem *runtimeconfig.Problem) {
	t.Helper()
	switch {
	case want.Error != "" && problem == nil:
		t.Errorf("%s: containerd fails (%s), we see nothing wrong", name, want.Error)
	case want.Error != "":
	case problem != nil && !problem.Ignored:
		t.Errorf("%s: containerd takes it, we say %v", name, problem)
	default:
		if diff := cmp.Diff(pulling(want.Hosts), pulling(got)); diff != "" {
			t.Errorf("%s (-containerd +ours):\n%s", name, diff)
		}
	}
}

// askReader runs a containerd's own reader of hosts.toml.
func askReader(t *testing.T, bin string, requests any) (answers []hostsAnswer) {
	t.Helper()
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &answers)
	}
	if err != nil {
		t.Fatalf("%s: %v", bin, err)
	}
	return answers
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
