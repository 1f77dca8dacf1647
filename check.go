package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/flags"
	"github.com/pullprobe/pullprobe/report"
)

const checkHelp = `Runs the agent's checks once, on this machine, for each image, and prints the
verdicts. No cluster is needed. With --runtime-endpoint it sees the node as the
runtime does, and has the runtime pull the image, unless --no-pull is given or
the image is present.

Examples:
  pullprobe check registry.example/app:1
  pullprobe check -f deployment.yaml --auth-file docker
  kubectl get deployment web -o yaml | pullprobe check -f -

Exit codes:
  0  every image is healthy
  1  a fault was found
  2  usage error
  3  could not tell: no fault was found, and an image is undetermined
`

// checksAtOnce is how many images are checked at the same time.
const checksAtOnce = 4

// checkOptions are the flags of `pullprobe check`.
type checkOptions struct {
	output, color, endpoint, platform string
	manifests, authFiles              []string
	noPull                            bool
	timeout                           time.Duration
	node                              examine.NodeReader
	puller                            *cri.Puller
	auth                              []credentials.SecretLookup
}

func (o *checkOptions) flags() (g flags.Groups) {
	node := &o.node
	fs := g.Add("Images")
	fs.StringArrayVarP(&o.manifests, "filename", "f", nil,
		"`file` of Kubernetes manifests whose images are checked, with their pull policy and platform; - is standard input; repeatable")
	fs.StringVar(&o.platform, "platform", "", "required `os/arch[/variant]` (default: the manifest's, else this machine's)")
	fs.StringArrayVar(&o.authFiles, "auth-file", nil,
		"`file` with logins in the format of a pull secret (config.json); docker or podman: "+
			"the file in which that program keeps your logins; repeatable")

	fs = g.Add("Runtime")
	fs.StringVar(&o.endpoint, "runtime-endpoint", "",
		"CRI `socket` of the container runtime, for example unix:///run/containerd/containerd.sock")
	fs.BoolVar(&o.noPull, "no-pull", false, "no test pull; the runtime is still asked for its status and images")

	fs = g.Add("In place of what the runtime sees")
	fs.StringVar(&node.Paths.ResolvConf, "resolv-conf", "", "resolver configuration `file` (default: the runtime's, else /etc/resolv.conf)")
	fs.StringVar(&node.Paths.Hosts, "etc-hosts", "", "hosts `file` (default: the runtime's, else /etc/hosts)")
	fs.StringVar(&node.Paths.HostsDir, "hosts-dir", "", "registry configuration `directory` (certs.d) (default: the runtime's)")
	fs.StringVar(&node.Paths.CAFile, "ca-file", "", "`file` of trusted certificate authorities (default: the runtime's CA bundle)")
	fs.StringVar(&node.DiskPath, "disk-path", "", "`directory` on the image file system (default: the one that the runtime reports)")

	fs = g.Add("Output")
	outputFlag(fs, &o.output)
	fs.StringVar(&o.color, "color", "auto", "`when` to color the verdict: auto, always or never; auto: on a terminal, unless NO_COLOR is set")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Second, "deadline for everything; the test pull of a large image needs more")
	return g
}

func (o *checkOptions) run(ctx context.Context, p process, args []string) int {
	images, err := o.images(args, p.stdin)
	if err != nil {
		return p.usageError("check", err)
	}
	color, err := p.colored(o.color)
	if err != nil {
		return p.usageError("check", err)
	}
	if err := o.complete(p); err != nil {
		return p.usageError("check", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(o.timeout-wrapUp, o.timeout/2))
	defer cancel()
	if o.node.Runtime != nil {
		defer o.node.Runtime.Close()
	}

	shown := new(progress) // nothing
	if p.isTerminal(p.stderr) {
		shown = newProgress(p.stderr, len(images), o.timeout)
	}
	diagnoses := o.diagnoseAll(ctx, images, shown.end)
	shown.close()
	return o.print(p, images, diagnoses, color)
}

// print writes the diagnoses and returns the exit code.
func (o *checkOptions) print(p process, images []*subject, diagnoses []report.Diagnosis, color bool) int {
	if o.output == "json" {
		enc := json.NewEncoder(p.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(diagnoses); err != nil {
			fmt.Fprintln(p.stderr, "pullprobe check:", err)
			return exitUnknown
		}
	} else {
		for i, d := range diagnoses {
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			writeDiagnosis(p.stdout, d, images[i].origin, color)
		}
	}
	code := exitOK
	for _, d := range diagnoses {
		switch c := exitCode(d.Verdict); {
		case c == exitFault:
			return exitFault
		case c != exitOK:
			code = c
		}
	}
	return code
}

// exitCode returns the exit code of one verdict.
func exitCode(v report.Verdict) int {
	switch {
	case v.Fault == report.FaultNone:
		return exitOK
	case v.Cause == report.Undetermined || v.Confidence == report.ConfidenceUndetermined:
		return exitUnknown
	}
	return exitFault
}

// complete validates the flags, and reads what they name.
func (o *checkOptions) complete(p process) error {
	if err := validOutput(o.output); err != nil {
		return err
	}
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout=%v: must be greater than 0", o.timeout)
	}
	if err := o.completePaths(); err != nil {
		return err
	}
	if err := examine.ValidPlatform(o.platform); err != nil {
		return fmt.Errorf("--platform: %w", err)
	}
	var warnings []string
	var err error
	if o.auth, warnings, err = readLogins(o.authFiles, p.getenv); err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(p.stderr, "pullprobe check: warning:", w)
	}
	o.node.AllowLoopback = true // the user has access to this machine already
	return o.completeRuntime()
}

// completePaths makes the paths absolute: the probes know no working directory.
func (o *checkOptions) completePaths() error {
	node := &o.node
	for _, p := range []struct {
		flag string
		path *string
		own  bool // it replaces what the runtime sees
	}{
		{"--resolv-conf", &node.Paths.ResolvConf, true},
		{"--etc-hosts", &node.Paths.Hosts, true},
		{"--hosts-dir", &node.Paths.HostsDir, true},
		{"--ca-file", &node.Paths.CAFile, true},
		{"--disk-path", &node.DiskPath, false},
	} {
		if *p.path == "" {
			continue
		}
		if _, err := os.Stat(*p.path); err != nil {
			return fmt.Errorf("%s: %w", p.flag, err)
		}
		absolute, err := filepath.Abs(*p.path)
		if err != nil {
			return fmt.Errorf("%s: %w", p.flag, err)
		}
		*p.path = absolute
		node.OwnFiles = node.OwnFiles || p.own
	}
	return nil
}

// completeRuntime adds the runtime, if its endpoint is given, and test pulls.
func (o *checkOptions) completeRuntime() error {
	if o.endpoint == "" {
		return nil
	}
	runtime, err := cri.New(o.endpoint)
	if err != nil {
		return fmt.Errorf("--runtime-endpoint: %w", err)
	}
	o.node.Runtime = runtime
	if !o.noPull {
		o.puller = &cri.Puller{
			Client:   runtime,
			Journal:  cri.NewJournal(cri.DefaultJournalDir),
			Space:    o.node.Space,
			Deadline: o.timeout,
			MaxBytes: func() int64 { return cri.DefaultPullMaxBytes },
		}
	}
	return nil
}

// wrapUp is the part of the deadline that is kept for the end: to remove the pulled
// image, and to print.
const wrapUp = 700 * time.Millisecond

// diagnoseAll returns one diagnosis per image, in their order. It calls ended after each.
func (o *checkOptions) diagnoseAll(ctx context.Context, images []*subject, ended func()) []report.Diagnosis {
	examiners := map[string]*examine.Examiner{} // by platform
	for _, i := range images {
		platform := cmp.Or(o.platform, i.Platform)
		if examiners[platform] == nil {
			examiners[platform] = &examine.Examiner{Node: &o.node, Puller: o.puller, Platform: platform}
		}
	}
	out := make([]report.Diagnosis, len(images))
	slots := make(chan struct{}, checksAtOnce)
	var wg sync.WaitGroup
	for n, i := range images {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found := examiners[cmp.Or(o.platform, i.Platform)].Examine(ctx, i.examined(o.auth), nil)
			out[n] = report.Diagnosis{
				Image: i.Name, Container: i.Container, Volume: i.Volume, Time: time.Now().UTC().Truncate(time.Millisecond),
				Verdict: diagnosis.Diagnose(found.Checks), Checks: found.Checks,
			}
			ended()
		})
	}
	wg.Wait()
	return out
}
