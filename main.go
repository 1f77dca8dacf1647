package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/pullprobe/pullprobe/agent"
	"github.com/pullprobe/pullprobe/agent/config"
	"github.com/pullprobe/pullprobe/flags"
)

// Exit codes of all commands; see the package documentation.
const (
	exitOK      = 0
	exitFault   = 1
	exitUsage   = 2
	exitUnknown = 3
)

// process is what a command reads and writes.
type process struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// command is one command of pullprobe.
type command struct {
	name, args string
	short      string // one line of the list of commands
	long       string // the help, above the flags
	flags      flags.Groups
	run        func(ctx context.Context, p process, args []string) int // args are without flags, but for the agent
	ownFlags   bool                                                    // run parses the flags itself
}

// commands returns all commands.
func commands() []*command {
	check, explain, version := new(checkOptions), new(explainOptions), new(versionOptions)
	return []*command{
		{
			name: "agent", args: "[flags]", short: "watch this node's pods and publish its report",
			long: agentHelp, flags: config.Flags(), run: runAgent, ownFlags: true,
		},
		{
			name: "check", args: "[flags] IMAGE...", short: "run the same checks once, on this machine",
			long: checkHelp, flags: check.flags(), run: check.run,
		},
		{
			name: "explain", args: "[flags] [MESSAGE]", short: "classify error messages offline",
			long: explainHelp, flags: explain.flags(), run: explain.run,
		},
		{
			name: "completion", args: "bash|zsh|fish", short: "print the completion for a shell",
			long: completionHelp, run: runCompletion,
		},
		{
			name: "version", args: "[flags]", short: "print the version",
			long: "Prints the version of pullprobe and what it was built from.\n", flags: version.flags(), run: version.run,
		},
	}
}

const agentHelp = `Watches the pods of its node, checks the images that they wait for, and
publishes the verdicts. It runs in a DaemonSet: see docs/install.md.

Each flag is also an environment variable: PULLPROBE_ and its name in capitals,
with underscores. Most can be changed at run time: see docs/configuration.md.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs a command and returns its exit code. All that the program reads and
// writes is in the arguments.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := process{getenv, stdin, stdout, stderr}
	all := commands()
	if len(args) == 0 {
		usage(stderr, all)
		return exitUsage
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "--help":
		if len(rest) == 0 {
			usage(stdout, all)
			return exitOK
		}
		name, rest = rest[0], []string{"--help"}
	case "-v", "--version":
		name = "version"
	}
	c := find(all, name)
	if c == nil {
		fmt.Fprintf(stderr, "pullprobe: unknown command %q%s\nSee pullprobe --help.\n", name, meant(all, name))
		return exitUsage
	}
	if c.ownFlags {
		return c.run(ctx, p, rest)
	}
	rest, err := c.flags.Parse(rest)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		c.help(stdout)
		return exitOK
	case err != nil:
		return p.usageError(c.name, err)
	}
	return c.run(ctx, p, rest)
}

// usage writes the list of commands.
func usage(w io.Writer, all []*command) {
	fmt.Fprint(w, "pullprobe explains why an image pull fails, from the node where it fails.\n\nUsage:\n  pullprobe COMMAND\n\nCommands:\n")
	for _, c := range all {
		fmt.Fprintf(w, "  %-12s%s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nRun 'pullprobe COMMAND --help' for the flags of a command.\n")
}

// help writes the help of a command.
func (c *command) help(w io.Writer) {
	fmt.Fprintf(w, "Usage: pullprobe %s %s\n\n%s", c.name, c.args, c.long)
	c.flags.Help(w)
}

// usageError writes a usage error of a command and returns its exit code.
func (p process) usageError(command string, err error) int {
	fmt.Fprintf(p.stderr, "pullprobe %s: %v\n", command, err)
	return exitUsage
}

func find(all []*command, name string) *command {
	for _, c := range all {
		if c.name == name {
			return c
		}
	}
	return nil
}

// meant returns a hint at the command that was meant.
func meant(all []*command, name string) string {
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	closest := flags.Closest(name, names)
	switch {
	case closest != "":
		return fmt.Sprintf(": did you mean %q?", closest)
	case strings.ContainsAny(name, "/:"):
		return ": to check an image, run pullprobe check IMAGE"
	}
	return ""
}

// gcPercent is how much the agent's heap grows between two garbage collections, in percent.
const gcPercent = 50

func runAgent(ctx context.Context, p process, args []string) int {
	opts, err := config.Parse(args, p.getenv)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		find(commands(), "agent").help(p.stdout)
		return exitOK
	case err != nil:
		return p.usageError("agent", err)
	}
	if p.getenv("GOGC") == "" {
		// The agent is idle most of the time, and has little memory: a smaller heap is worth
		// more collections.
		debug.SetGCPercent(gcPercent)
	}
	opts.Version = cmp.Or(version, "dev")
	log := slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: opts.LogLevel}))
	klog.SetSlogLogger(log.With("component", "client-go")) // for the whole process
	a, err := agent.New(opts, log)
	if err != nil {
		return p.usageError("agent", err)
	}
	if err := a.Run(ctx); err != nil {
		log.Error("agent failed", "error", err)
		return exitFault
	}
	return exitOK
}

// outputFlag adds --output.
func outputFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVarP(to, "output", "o", "text", "`format` of the output: text or json")
}

// validOutput returns an error for an output that does not exist.
func validOutput(output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("--output=%s: must be text or json", output)
	}
	return nil
}
