//go:build linux

// Lab starts, breaks and ends a Kubernetes cluster of real parts on one
// machine. `lab help` lists its commands; README.md describes it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/pullprobe/pullprobe/lab"
)

const usage = `usage: lab COMMAND

  build [VERSIONS]           build all binaries that have changed
  up [VERSIONS] [NODE…]      build, and start the lab with these nodes (default: node-a and
                             node-b); VERSIONS: -kubernetes 1.33 -containerd 1.7
  add NODE                   start one more node
  remove NODE                end a node, and delete it from the cluster
  down                       end the lab and remove everything but the binaries
  status                     show services and injected faults
  kubectl ARGS…              run kubectl as administrator
  node NODE CMD…             run a program inside a node or infra
  hosts                      list the registries
  faults                     list the faults
  inject NODE|all FAULT      break a node
  lift NODE|all FAULT        repair it
  heal                       lift all faults, start all stopped services, undo all dns set
  restart NODE SERVICE       restart containerd or kubelet (or a service of infra);
                             also kill, stop, start
  pull NODE IMAGE [USER:PW]  CRI PullImage: code, time and containerd's message
  push REF [SIZE]            push a new random image of SIZE bytes
  load TAR REF               import an OCI archive into every node
  dns set NAME ADDR… | NAME rcode RCODE | NAME drop | NAME delay DURATION ADDR…
  dns unset NAME | reset | show

The lab is in $PULLPROBE_LAB_DIR (default /var/tmp/pullprobe-lab).
`

// errUsage is a usage error: exit code 2.
var errUsage = errors.New("usage error")

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, lab.DefaultDir(), os.Args[1:])
	cancel()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "lab: %v\n\n%s", err, usage)
		os.Exit(2)
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode()) // the program has printed its error
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir lab.Dir, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: missing command", errUsage)
	}
	command, args := args[0], args[1:]
	switch command {
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	case "_init":
		if len(args) != 1 {
			return errUsage
		}
		return lab.Init(dir, args[0])
	case "build", "up":
		return start(ctx, dir, command, args)
	case "down":
		return lab.Down(dir)
	case "faults":
		return printTable(func(w io.Writer) {
			for _, f := range lab.Faults() {
				fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Does)
			}
		})
	case "hosts":
		return printTable(func(w io.Writer) {
			for _, h := range lab.Hosts() {
				fmt.Fprintf(w, "%s\t%v\t%s\n", h.Name, h.Addrs(), h.Does)
			}
		})
	}

	attached := map[string]func(context.Context, *lab.Lab, []string) error{
		"status": status, "kubectl": kubectl, "node": node, "load": load, "pull": pull, "push": push, "dns": dns,
		"add":    func(ctx context.Context, l *lab.Lab, args []string) error { return forNode(ctx, args, l.AddNode) },
		"remove": func(ctx context.Context, l *lab.Lab, args []string) error { return forNode(ctx, args, l.RemoveNode) },
		"inject": func(ctx context.Context, l *lab.Lab, args []string) error { return forNodes(ctx, l, args, l.Inject) },
		"heal":   func(ctx context.Context, l *lab.Lab, args []string) error { return l.Heal(ctx) },
		"lift":   func(ctx context.Context, l *lab.Lab, args []string) error { return forNodes(ctx, l, args, l.Lift) },
		"start": func(ctx context.Context, l *lab.Lab, args []string) error {
			return forService(ctx, args, l.StartService)
		},
		"stop": func(ctx context.Context, l *lab.Lab, args []string) error {
			return forService(ctx, args, l.StopService)
		},
		"kill": func(ctx context.Context, l *lab.Lab, args []string) error {
			return forService(ctx, args, l.KillService)
		},
		"restart": func(ctx context.Context, l *lab.Lab, args []string) error {
			return forService(ctx, args, l.RestartService)
		},
	}
	f, ok := attached[command]
	if !ok {
		return fmt.Errorf("%w: unknown command %q", errUsage, command)
	}
	l, err := lab.Open(dir)
	if err != nil {
		return err
	}
	return f(ctx, l, args)
}

// start builds a lab, and starts it if command is "up".
func start(ctx context.Context, dir lab.Dir, command string, args []string) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var v lab.Versions
	flags.StringVar(&v.Kubernetes, "kubernetes", "", "minor version")
	flags.StringVar(&v.Containerd, "containerd", "", "minor version")
	if err := flags.Parse(args); err != nil || command == "build" && flags.NArg() > 0 {
		return fmt.Errorf("%w: %s [-kubernetes VERSION] [-containerd VERSION]", errUsage, command)
	}
	p := lab.NewProgress(os.Stderr)
	if command == "build" {
		return lab.Build(ctx, dir, v, p)
	}
	if _, err := lab.Up(ctx, dir, v, p, flags.Args()...); err != nil {
		return err
	}
	p.Say("the lab is up; see lab status, lab kubectl get nodes, lab help")
	return nil
}

func printTable(f func(io.Writer)) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	f(w)
	return w.Flush()
}

func status(ctx context.Context, l *lab.Lab, args []string) error {
	fmt.Printf("lab in %s\n\n", l.Dir())
	err := printTable(func(w io.Writer) {
		for _, space := range l.Spaces() {
			services, err := l.Services(ctx, space)
			if err != nil {
				fmt.Fprintf(w, "%s\t%v\n", space, err)
				continue
			}
			for _, s := range services {
				state := "stopped"
				if s.Running {
					state = fmt.Sprintf("running for %v", time.Since(s.Since).Round(time.Second))
				}
				fmt.Fprintf(w, "%s\t%s\t%s\tstarted %d times\n", space, s.Name, state, s.Starts)
			}
		}
		for _, n := range l.NodeNames() {
			if injected, err := l.Injected(n); err != nil {
				fmt.Fprintf(w, "%s\tfaults: %v\n", n, err)
			} else if len(injected) > 0 {
				fmt.Fprintf(w, "%s\tfaults: %s\n", n, strings.Join(injected, " "))
			}
		}
	})
	if err != nil {
		return err
	}
	fmt.Println()
	return kubectl(ctx, l, []string{"get", "nodes", "-o", "wide"})
}

func kubectl(ctx context.Context, l *lab.Lab, args []string) error {
	cmd := l.KubectlCommand(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return l.RunInfraNetwork(cmd)
}

func node(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%w: node NODE CMD…", errUsage)
	}
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := l.Start(args[0], cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func forNode(ctx context.Context, args []string, do func(ctx context.Context, node string) error) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: one NODE", errUsage)
	}
	return do(ctx, args[0])
}

// forNodes calls do for one node or for all that are started.
func forNodes(ctx context.Context, l *lab.Lab, args []string, do func(ctx context.Context, node, fault string) error) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: NODE|all FAULT", errUsage)
	}
	nodes := []string{args[0]}
	if args[0] == "all" {
		nodes = l.NodeNames()
	}
	for _, n := range nodes {
		if err := do(ctx, n, args[1]); err != nil {
			return err
		}
	}
	return nil
}

func forService(ctx context.Context, args []string, do func(ctx context.Context, space, service string) error) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: NODE SERVICE", errUsage)
	}
	return do(ctx, args[0], args[1])
}

func pull(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("%w: pull NODE IMAGE [USER:PASSWORD]", errUsage)
	}
	auth := lab.Login()
	if len(args) == 3 {
		auth.Username, auth.Password, _ = strings.Cut(args[2], ":")
	} else {
		auth = nil
	}
	p := l.Pull(ctx, args[0], args[1], auth)
	fmt.Printf("%s %.3fs %s%s\n", p.Code, p.Took.Seconds(), p.ImageRef, p.Message)
	return nil
}

func push(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("%w: push REF [SIZE]", errUsage)
	}
	spec := lab.Image{Refs: args[:1], Runs: true}
	if len(args) == 2 {
		if _, err := fmt.Sscan(args[1], &spec.Size); err != nil {
			return fmt.Errorf("%w: invalid size %q", errUsage, args[1])
		}
	}
	p, err := l.PushImage(ctx, spec)
	if err != nil {
		return err
	}
	fmt.Println(args[0], "digest", p.Digest, "id", p.ID)
	return nil
}

func load(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: load TAR REF", errUsage)
	}
	return l.LoadImage(ctx, args[0], args[1])
}

func dns(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: dns set|unset|reset|show", errUsage)
	}
	switch verb, args := args[0], args[1:]; {
	case verb == "show" && len(args) == 0:
		set, err := l.DNSOverrides(ctx)
		if err != nil {
			return err
		}
		for resolver, names := range set {
			for name, a := range names {
				fmt.Printf("%s %s %+v\n", resolver, name, a)
			}
		}
		return nil
	case verb == "reset" && len(args) == 0:
		return l.ResetDNS(ctx)
	case verb == "unset" && len(args) == 1:
		return l.UnsetDNS(ctx, lab.ResolverGood, args[0])
	case verb == "set" && len(args) > 1:
		a, err := parseAnswer(args[1:])
		if err != nil {
			return err
		}
		return l.SetDNS(ctx, lab.ResolverGood, args[0], a)
	}
	return fmt.Errorf("%w: dns set|unset|reset|show", errUsage)
}

// parseAnswer reads the arguments after `dns set NAME`.
func parseAnswer(args []string) (lab.Answer, error) {
	var a lab.Answer
	switch {
	case args[0] == "drop" && len(args) == 1:
		a.Drop = true
	case args[0] == "rcode" && len(args) == 2:
		a.Rcode = strings.ToUpper(args[1])
	case args[0] == "delay" && len(args) > 2:
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return a, fmt.Errorf("%w: %v", errUsage, err)
		}
		a.Delay = d
		args = args[2:]
		fallthrough
	default:
		for _, s := range args {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return a, fmt.Errorf("%w: %v", errUsage, err)
			}
			a.Addrs = append(a.Addrs, addr)
		}
	}
	return a, nil
}
