//go:build matrix

package matrix

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/pullprobe/pullprobe/lab"
)

// scene is the environment of one row.
type scene struct {
	t     *testing.T
	w     *world
	hosts []*host
	log   accessLog
	// productFirst runs the product before containerd's own pull.
	productFirst bool
	// placeholders are the names of random values in check ids: {host}, {addr}, …
	placeholders map[string]string
	// slowest is the longest time of a verdict of the row, from the command's start to
	// its end.
	slowest time.Duration
}

// subject is an image that a machine cannot pull, with the fix.
type subject struct {
	image      string
	auth       *login   // credentials of the pull
	secret     string   // a dockerconfigjson; default: auth for the image's host
	machine    *machine // default: the common one
	fix        func()   // fixes the fault
	fixedImage string   // the image after the fix, if it is another
	args       []string // additional arguments of `pullprobe check`
	ca         []byte   // the authority that a fix may name in hosts.toml
}

// withoutPull reports whether pullprobe makes no test pull.
func (sub *subject) withoutPull() bool { return slices.Contains(sub.args, "--no-pull") }

// diagnosis is one element of the output of `pullprobe check -o json`, with the checks as
// they are and the compared fields of the verdict.
type diagnosis struct {
	Verdict verdict           `json:"verdict"`
	Checks  []json.RawMessage `json:"checks"`
}

type verdict struct {
	Fault       string   `json:"fault"`
	Cause       string   `json:"cause"`
	Confidence  string   `json:"confidence"`
	Summary     string   `json:"summary"`
	Fix         string   `json:"fix"`
	Because     []string `json:"because"`
	WouldDecide []string `json:"wouldDecide"`
	Also        []string `json:"also"`
}

// checkTimeout is the time after which a check counts as hanging. It is not a measure of
// speed.
const checkTimeout = 60 * time.Second

// check runs the product on the subject's machine: in its network, outside its files.
func (s *scene) check(sub *subject, image string) diagnosis {
	s.t.Helper()
	dir, err := os.MkdirTemp(s.w.dir, "check")
	must(s.t, err)
	defer os.RemoveAll(dir)
	args := []string{s.w.product, "check", "-o", "json", "--runtime-endpoint", "unix://" + sub.machine.socket()}
	if text := sub.dockerConfig(image); text != "" {
		file := filepath.Join(dir, "auth.json")
		must(s.t, os.WriteFile(file, []byte(text), 0o600))
		args = append(args, "--auth-file", file)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), checkTimeout)
	defer cancel()
	// The journal of test pulls is the machine's.
	cmd, err := confined{
		Mounts: []mount{{From: filepath.Join(sub.machine.dir, "lib"), To: "/var/lib"}},
		Args:   append(append(args, sub.args...), image),
	}.command(ctx)
	must(s.t, err)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	s.log.beginExam()
	must(s.t, s.w.start(cmd))
	err = cmd.Wait()
	if len(sub.args) == 0 { // otherwise it may have more time
		s.slowest = max(s.slowest, time.Since(began))
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 3) {
		s.t.Fatalf("pullprobe check: %v\n%s%s", err, &stdout, &stderr)
	}
	var all []diagnosis
	if err := json.Unmarshal(stdout.Bytes(), &all); err != nil || len(all) != 1 {
		s.t.Fatalf("pullprobe check printed %v\n%s%s", err, &stdout, &stderr)
	}
	return all[0]
}

func (sub *subject) dockerConfig(image string) string {
	if sub.secret != "" || sub.auth == nil {
		return sub.secret
	}
	host, _, _ := strings.Cut(image, "/")
	return dockerConfig(host, sub.auth)
}

// pull makes the subject's machine pull an image as the kubelet would.
func (s *scene) pull(sub *subject, image string, limit time.Duration) pulled {
	defer s.log.beginPull()()
	return sub.machine.pull(s.t.Context(), image, sub.auth, limit)
}

// dockerConfig returns the content of a pull secret.
func dockerConfig(host string, l *login) string {
	b, err := json.Marshal(map[string]any{"auths": map[string]any{
		host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(l.user + ":" + l.password))},
	}})
	if err != nil {
		panic(err) // strings can be marshalled
	}
	return string(b)
}

// pushRandom makes a random image and pushes it to the registry behind all hosts.
func (s *scene) pushRandom(repository, tag string, spec lab.Image) v1.Image {
	s.t.Helper()
	img, err := lab.MakeImage(lab.DefaultDir(), spec)
	must(s.t, err)
	s.pushObject(repository, tag, img)
	return img
}

// pushObject pushes an image or an index.
func (s *scene) pushObject(repository, tag string, what remote.Taggable) {
	s.t.Helper()
	ref, err := name.ParseReference("registry.local/"+repository+":"+tag, name.Insecure)
	must(s.t, err)
	options := []remote.Option{remote.WithContext(s.t.Context()), remote.WithTransport(s.w.registryTransport())}
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what, options...)
	default:
		err = remote.Tag(ref.Context().Tag(tag), what, options...)
	}
	must(s.t, err)
}

// pushApp pushes an image under random names and returns its full name at h.
func (s *scene) pushApp(h *host) (image, repository, tag string) {
	s.t.Helper()
	repository, tag = randomWord()+"/"+randomWord(), randomWord()
	s.pushRandom(repository, tag, lab.Image{})
	return h.image(repository, tag), repository, tag
}

// warmUp makes the machine pull an image, so that containerd has initialized everything.
func (s *scene) warmUp(m *machine) {
	s.t.Helper()
	hosts := s.hosts
	image, _, _ := s.pushApp(s.host(hostOptions{}))
	s.hosts = hosts
	if p := s.pull(&subject{machine: m}, image, hangTime); p.message != "" {
		s.t.Fatal(p.message)
	}
	m.remove(s.t, image)
}

// firewall adds a rule for outgoing packets of the machines. lift removes it.
func (s *scene) firewall(rule ...string) (lift func()) {
	s.t.Helper()
	must(s.t, s.w.run("", "iptables", append([]string{"-w", "-A", "OUTPUT"}, rule...)...))
	gone := false
	lift = func() {
		if !gone {
			gone = true
			must(s.t, s.w.run("", "iptables", append([]string{"-w", "-D", "OUTPUT"}, rule...)...))
		}
	}
	s.t.Cleanup(lift)
	return lift
}

// serveDNS starts a resolver and returns its address.
func (s *scene) serveDNS(answer func(name string) lab.Answer) string {
	s.t.Helper()
	s.w.mu.Lock()
	s.w.resolvers++
	addr := fmt.Sprintf("10.53.0.%d", 10+s.w.resolvers)
	s.w.mu.Unlock()
	must(s.t, s.w.do(func() error {
		_, _, err := lab.ServeDNS(net.JoinHostPort(addr, "53"), answer, func(lab.Query) {})
		return err
	}))
	return addr
}

// setPlaceholder sets the value of the placeholder {name} in a row's check ids.
func (s *scene) setPlaceholder(name, text string) {
	if s.placeholders == nil {
		s.placeholders = map[string]string{}
	}
	s.placeholders["{"+name+"}"] = text
}

// expand replaces the placeholders in a check id.
func (s *scene) expand(id string) string {
	for k, v := range s.placeholders {
		id = strings.ReplaceAll(id, k, v)
	}
	return id
}

func (d diagnosis) String() string {
	var b strings.Builder
	v := d.Verdict
	fmt.Fprintf(&b, "%s %s (%s)\n  %s\n", v.Fault, v.Cause, v.Confidence, v.Summary)
	fmt.Fprintf(&b, "  because %v also %v\n  would decide %q\n", v.Because, v.Also, v.WouldDecide)
	for _, raw := range d.Checks {
		var c struct {
			ID, Outcome, Cause, Summary, BlockedBy string
			Evidence                               map[string]string
		}
		json.Unmarshal(raw, &c)
		fmt.Fprintf(&b, "    %-8s %-24s %s: %s %v", c.Outcome, c.Cause, c.ID, c.Summary, c.Evidence)
		if c.BlockedBy != "" {
			fmt.Fprintf(&b, " <- %s", c.BlockedBy)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
