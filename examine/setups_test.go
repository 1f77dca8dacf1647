package examine_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/pullprobe/pullprobe/agent/pods"
	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/host/hosttest"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/report"
)

var recordSetups = flag.Bool("record", false, "write the checks of the set-ups to diagnosis/testdata/setups")

// cell is one failure on one kind of node.
type cell struct {
	row      string // its name
	registry string // as the document has it
	failure  string
	image    string
	secrets  []credentials.SecretLookup
	provider string   // what the node's provider does, see provide
	notRun   bool     // pullprobe does not run it: the component credential-providers is not installed
	kubelet  []string // the passwords that the kubelet sends; none: it pulls anonymously
	user     string   // of these passwords; empty: puller
	// want is what a careful engineer would say: "FAULT CAUSE CONFIDENCE", with
	// alternatives ("likely|confirmed").
	want  string
	never []string // verdicts that would be wrong
	noFix string   // what the fix must not have
	says  string   // what the fix, or what would decide, must have: one of several, separated by "|"
	// todo is what the product says instead.
	todo string
}

// secret returns a pull secret of the pod's namespace for one server.
func secret(server, user, password string) []credentials.SecretLookup {
	text, err := json.Marshal(map[string]any{"auths": map[string]any{server: map[string]string{"username": user, "password": password}}})
	if err != nil {
		panic(err)
	}
	return []credentials.SecretLookup{{Namespace: "shop", Name: "regcred", Secret: &credentials.Secret{
		Namespace: "shop",
		Name:      "regcred",
		Type:      "kubernetes.io/dockerconfigjson",
		Data:      map[string][]byte{".dockerconfigjson": text},
	}}}
}

// noSuchSecret is a pull secret that the pod names and that does not exist.
func noSuchSecret() []credentials.SecretLookup {
	return []credentials.SecretLookup{{Namespace: "shop", Name: "regcred"}}
}

// pullSecret returns a cell whose pod has a pull secret for the registry's own name.
func (c cell) pullSecret(password string) cell {
	server, _, _ := strings.Cut(c.image, "/")
	if server == hubNames {
		server = "https://index.docker.io/v1/"
	}
	if c.user == "" {
		c.user = "puller"
	}
	c.secrets, c.kubelet = secret(server, c.user, password), []string{password}
	return c
}

// provide makes the node's provider return a login, nothing, or an error.
func provide(t *testing.T, n node, c cell) {
	t.Helper()
	if n.provider.name == "" {
		return
	}
	host, _, _ := strings.Cut(c.image, "/")
	auth := map[string]any{}
	entry := func(user, password string) map[string]string {
		return map[string]string{"username": user, "password": password}
	}
	script := "exec cat " + providerAnswer + "\n"
	switch c.provider {
	case "", "fails":
		script = "echo 'could not get a token' >&2\nexit 1\n"
	case "nothing":
	case "hangs":
		script = "sleep 60\n"
	default:
		auth[host] = entry(providerUser(n), c.provider)
		if n.provider.name == "acr-credential-provider" { // azure_credentials.go, GetCredentials
			auth["*.azurecr.*"] = entry("", "")
		}
	}
	answer, err := json.Marshal(map[string]any{
		"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
		"cacheKeyType": "Registry", "cacheDuration": "0s", "auth": auth,
	})
	must(t, err)
	setProvider(t, script, string(answer))
}

func providerUser(n node) string {
	return map[string]string{
		"ecr-credential-provider": "AWS",
		"acr-credential-provider": "00000000-0000-0000-0000-000000000000",
		"auth-provider-gcp":       "_token",
	}[n.provider.name]
}

// result is a cell with what was found.
type result struct {
	Row    string
	Checks []report.Check
}

const setupEnv = "PULLPROBE_TEST_SETUP"

// The verdicts on nodes as the distributions set them up, with their real files, flags
// and sockets, a real containerd, and registries that answer as they document it. Each
// kind of node is a process with its own files, network and processes.
func TestSetups(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make nodes")
	}
	containerd, err := filepath.Abs(hosttest.Containerd(t))
	must(t, err)
	for i, n := range nodes() {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSetupHelper$", "-test.v")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", setupEnv, i, t.TempDir(), containerd))
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
				Pdeathsig:  syscall.SIGKILL,
			}
			out, err := cmd.CombinedOutput()
			_, answer, ok := strings.Cut(string(out), "answer: ")
			var results []result
			if ok {
				err = json.NewDecoder(strings.NewReader(answer)).Decode(&results)
			}
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, password := range []string{memberPassword, guestPassword, strangerPassword, ecrMember, "eyJ"} {
				if strings.Contains(answer, password) {
					t.Errorf("a password shows: %s", password)
				}
			}
			found := map[string]report.Verdict{}
			checks := map[string][]report.Check{}
			for _, r := range results {
				found[r.Row], checks[r.Row] = diagnosis.Diagnose(r.Checks), r.Checks
			}
			for _, c := range cells()[n.name] {
				t.Run(c.row, func(t *testing.T) {
					if seen := report.Find(checks[c.row], report.IDCredentials).Evidence["node"] == "read"; seen != (n.kubelet.seen == "yes") {
						t.Errorf("the kubelet is seen: %t, want %s", seen, n.kubelet.seen)
					}
					judge(t, c, found[c.row], checks[c.row])
				})
			}
			if *recordSetups {
				record(t, n, checks)
			}
		})
	}
}

// judge compares a verdict with what the cell wants. A cell to do must still differ.
func judge(t *testing.T, c cell, v report.Verdict, checks []report.Check) {
	t.Helper()
	got := fmt.Sprintf("%s %s %s", v.Fault, v.Cause, v.Confidence)
	ok := matches(c.want, v)
	for _, never := range c.never {
		ok = ok && !matches(never, v)
	}
	ok = ok && (c.noFix == "" || !strings.Contains(v.Fix, c.noFix)) && mentions(c.says, append(v.WouldDecide, v.Fix))
	text := fmt.Sprintf("got %s, want %s\n  %s\n  fix: %s\n  decide: %s", got, c.want, v.Summary, v.Fix, strings.Join(v.WouldDecide, "; "))
	switch {
	case ok && c.todo != "":
		t.Errorf("no longer to do: %s", text)
	case !ok && c.todo == "":
		t.Error(text)
	}
	if os.Getenv("SETUPS_VERBOSE") != "" {
		t.Log(text)
		for _, k := range checks {
			if k.Kind == report.KindPod || k.Kind == report.KindCredentials || k.Kind == report.KindManifest ||
				k.Kind == report.KindToken || k.Kind == report.KindPull || k.Kind == report.KindRegistry {
				t.Logf("  %s %s %s: %s %v", k.ID, k.Outcome, k.Cause, k.Summary, k.Evidence)
			}
		}
	}
}

// mentions reports whether one of the texts has one of the words, which "|" separates.
func mentions(words string, texts []string) bool {
	for word := range strings.SplitSeq(words, "|") {
		if strings.Contains(strings.Join(texts, "\n"), word) {
			return true
		}
	}
	return false
}

// matches reports whether a verdict is one of "FAULT CAUSE CONFIDENCE".
func matches(want string, v report.Verdict) bool {
	f := strings.Fields(want)
	for i, got := range []string{string(v.Fault), string(v.Cause), string(v.Confidence)} {
		any := f[i] == "*"
		for alternative := range strings.SplitSeq(f[i], "|") {
			any = any || alternative == got
		}
		if !any {
			return false
		}
	}
	return true
}

// TestSetupHelper is one node: the program that TestSetups runs.
func TestSetupHelper(t *testing.T) {
	var i int
	var dir, containerd string
	if _, err := fmt.Sscanf(os.Getenv(setupEnv), "%d %s %s", &i, &dir, &containerd); err != nil {
		t.Skip("for other tests")
	}
	authority := probetest.NewAuthority(t, nil)
	n := nodes()[i]
	n.enter(t, dir, containerd, authority.PEM)
	serveNames(t, serverNames())
	serveRegistries(t, authority)
	runtime := n.start(t)
	conn, err := grpc.NewClient("unix://"+n.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	results := []result{} // never null
	for _, c := range cells()[n.name] {
		provide(t, n, c)
		results = append(results, result{c.row, examineCell(t, n, c, runtime, conn)})
	}
	out, err := json.Marshal(results)
	must(t, err)
	fmt.Println("answer: " + string(out))
}

// examineCell has the kubelet fail to pull the image, and returns what the agent finds.
func examineCell(t *testing.T, n node, c cell, runtime *cri.Client, conn *grpc.ClientConn) []report.Check {
	t.Helper()
	e := &examine.Examiner{
		Node:      &examine.NodeReader{Runtime: runtime},
		Providers: &credentials.ProviderRunner{Timeout: examine.ProvidersTimeout},
		Refusals:  &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }},
	}
	if c.notRun {
		e.Providers = nil
	}
	e.Puller = &cri.Puller{
		Client:   runtime,
		Journal:  cri.NewJournal(t.TempDir()),
		Space:    e.Node.Space,
		Deadline: examine.PullTimeout,
		MaxBytes: func() int64 { return cri.DefaultPullMaxBytes },
	}
	names := make([]string, len(c.secrets))
	for i, s := range c.secrets {
		names[i] = s.Name
	}
	message := kubeletPull(t, n, c, conn)
	pod := pods.Pod{Namespace: "shop", Name: "web-6d4cf56db6-x2x5q", Owner: pods.Owner{Name: "deployment/web"}, ServiceAccount: "default", PullSecrets: names}
	check := pods.Check(pod, pods.PendingImage{
		Container: "app", Image: c.image, Policy: "IfNotPresent", Failing: true, Reason: "ErrImagePull", Message: message,
	}, "node-a")
	x := e.Examine(t.Context(), examine.Subject{
		Image:   c.image,
		Pod:     &cri.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: "9c3c8f6e"},
		Secrets: func(context.Context) []credentials.SecretLookup { return c.secrets },
		Account: func(context.Context) *credentials.ServiceAccount {
			return &credentials.ServiceAccount{Namespace: "shop", Name: "default"}
		},
		Failing: true,
	}, nil)
	out := append([]report.Check{x.Checks[0], check.Redacted(x.Redactor)}, x.Checks[1:]...)
	return out
}

// kubeletPull pulls as the kubelet does, with one login after the other, and returns its
// message (pkg/kubelet/kuberuntime, PullImage).
func kubeletPull(t *testing.T, n node, c cell, conn *grpc.ClientConn) string {
	t.Helper()
	logins := c.kubelet
	if len(logins) == 0 {
		logins = []string{""}
	}
	var errs []string
	for _, password := range logins {
		r := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: c.image}}
		if password != "" {
			user := c.user
			if user == "" {
				user = providerUser(n)
			}
			r.Auth = &runtimeapi.AuthConfig{Username: user, Password: password}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := runtimeapi.NewImageServiceClient(conn).PullImage(ctx, r)
		cancel()
		if err == nil {
			t.Fatalf("%s: the pull succeeds", c.row)
		}
		errs = append(errs, err.Error())
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return "[" + strings.Join(errs, ", ") + "]"
}

// recorded is a cell as diagnosis/testdata/setups has it, so that the verdict can be replayed
// and documented without a containerd.
type recorded struct {
	Row      string         `json:"row"`
	Registry string         `json:"registry"`
	Failure  string         `json:"failure"`
	Todo     string         `json:"todo"`
	Want     report.Verdict `json:"want"`
	Never    []string       `json:"never"`
	NoFix    string         `json:"noFix"`
	Says     string         `json:"says"`
	Checks   []report.Check `json:"checks"`
}

// record writes the cells of a node, one check a line.
func record(t *testing.T, n node, checks map[string][]report.Check) {
	t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "{\"setup\": %q, \"kubelet\": %q, \"rows\": [", n.name, n.kubelet.seen)
	for i, c := range cells()[n.name] {
		f := strings.Fields(c.want)
		text, err := json.Marshal(recorded{
			Row: c.row, Registry: c.registry, Failure: c.failure, Todo: c.todo, Never: c.never, NoFix: c.noFix, Says: c.says, Checks: checks[c.row],
			Want: report.Verdict{Fault: report.Fault(f[0]), Cause: report.Cause(f[1]), Confidence: report.Confidence(f[2])},
		})
		must(t, err)
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n" + strings.ReplaceAll(string(text), `{"id":`, "\n"+`{"id":`))
	}
	out.WriteString("]}\n")
	first, _, _ := strings.Cut(strings.ToLower(n.name), " ")
	dir := "../diagnosis/testdata/setups"
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, first+".json"), []byte(out.String()), 0o644))
}
