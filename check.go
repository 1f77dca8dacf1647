package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/cri"
	"github.com/pullprobe/pullprobe/diagnosis"
	"github.com/pullprobe/pullprobe/examine"
	"github.com/pullprobe/pullprobe/report"
)

const checkUsage = `Usage: pullprobe check [flags] IMAGE...

Runs the agent's checks once, on this machine, for each image, and prints the
verdicts. No cluster is needed. With --runtime-endpoint it sees the node as the
runtime does, and has the runtime pull the image, unless --no-pull is given or the
image is present.

Exit codes: 0 healthy, 1 fault or undetermined, 2 usage error. Put flags before
images.

`

// checksAtOnce is how many images are checked at the same time.
const checksAtOnce = 4

// checkOptions are the flags of `pullprobe check`.
type checkOptions struct {
	format, endpoint, authFile string
	noPull                     bool
	timeout                    time.Duration
	node                       examine.NodeReader
	examiner                   examine.Examiner
	auth                       []credentials.SecretLookup
}

func runCheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := checkOptions{}
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(fs.Output(), checkUsage); fs.PrintDefaults() }
	node := &o.node
	o.examiner.Node = node
	fs.StringVar(&o.format, "o", "text", "output: text or json")
	fs.StringVar(&o.endpoint, "runtime-endpoint", "",
		"CRI socket of the container runtime, for example unix:///run/containerd/containerd.sock")
	fs.BoolVar(&o.noPull, "no-pull", false, "no test pull; the runtime is still asked for its status and images")
	fs.StringVar(&o.authFile, "auth-file", "", "docker config.json with credentials, in the format of a pull secret")
	fs.StringVar(&node.Paths.ResolvConf, "resolv-conf", "", "resolver configuration (default: the runtime's, else /etc/resolv.conf)")
	fs.StringVar(&node.Paths.Hosts, "etc-hosts", "", "hosts file (default: the runtime's, else /etc/hosts)")
	fs.StringVar(&node.Paths.HostsDir, "hosts-dir", "", "registry configuration directory (certs.d) (default: the runtime's)")
	fs.StringVar(&node.Paths.CAFile, "ca-file", "", "file of trusted certificate authorities (default: the runtime's CA bundle)")
	fs.StringVar(&o.examiner.Platform, "platform", "", "required platform, os/arch[/variant] (default: this machine's)")
	fs.StringVar(&node.DiskPath, "disk-path", "", "directory on the image file system (default: the one that the runtime reports)")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Second, "deadline for everything; the test pull of a large image needs more")
	if code, ok := parse(fs, args, stdout); !ok {
		return code
	}
	if err := o.complete(fs.NArg()); err != nil {
		fmt.Fprintln(stderr, "pullprobe check:", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, max(o.timeout-wrapUp, o.timeout/2))
	defer cancel()
	if node.Runtime != nil {
		defer node.Runtime.Close()
	}

	diagnoses := o.diagnoseAll(ctx, fs.Args())
	code := exitOK
	for _, d := range diagnoses {
		if d.Verdict.Fault != report.FaultNone {
			code = exitFault
		}
	}
	if o.format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(diagnoses); err != nil {
			fmt.Fprintln(stderr, "pullprobe check:", err)
			return exitFault
		}
		return code
	}
	for i, d := range diagnoses {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		d.Text(stdout)
	}
	return code
}

// complete validates the flags and completes the examiner.
func (o *checkOptions) complete(images int) error {
	switch {
	case images == 0:
		return errors.New("missing IMAGE; see pullprobe check -h")
	case o.format != "text" && o.format != "json":
		return fmt.Errorf("-o %q: must be text or json", o.format)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %v: must be greater than 0", o.timeout)
	}
	if err := o.completePaths(); err != nil {
		return err
	}
	if err := examine.ValidPlatform(o.examiner.Platform); err != nil {
		return fmt.Errorf("--platform: %w", err)
	}
	if o.authFile != "" {
		data, err := os.ReadFile(o.authFile)
		if err != nil {
			return fmt.Errorf("--auth-file: %w", err)
		}
		// A file that cannot be decoded is a result of the check, as with a pull secret.
		secret := credentials.SecretFromFile(o.authFile, data)
		o.auth = []credentials.SecretLookup{{Name: o.authFile, Secret: &secret}}
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
		o.examiner.Puller = &cri.Puller{
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

// diagnoseAll returns one diagnosis per image, in their order.
func (o *checkOptions) diagnoseAll(ctx context.Context, images []string) []report.Diagnosis {
	out := make([]report.Diagnosis, len(images))
	slots := make(chan struct{}, checksAtOnce)
	var wg sync.WaitGroup
	for i, image := range images {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found := o.examiner.Examine(ctx, examine.Subject{
				Image: image, Failing: true,
				Secrets: func(context.Context) []credentials.SecretLookup { return o.auth },
			}, nil)
			out[i] = report.Diagnosis{
				Image: image, Time: time.Now().UTC().Truncate(time.Millisecond),
				Verdict: diagnosis.Diagnose(found.Checks), Checks: found.Checks,
			}
		})
	}
	wg.Wait()
	return out
}
