package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/pullprobe/pullprobe/agent"
	"github.com/pullprobe/pullprobe/agent/config"
)

// version is set by the linker.
var version = "dev"

const usage = `pullprobe explains why an image pull fails, from the node where it fails.

Usage:
  pullprobe agent [flags]            watch this node's pods and publish its report
  pullprobe check [flags] IMAGE...   run the same checks once, on this machine
  pullprobe explain [MESSAGE]        classify error messages offline
  pullprobe version

Run 'pullprobe COMMAND -h' for the flags of a command.
`

// Exit codes of all commands; see the package documentation.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs a command and returns its exit code. All that the program reads and
// writes is in the arguments.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch cmd, rest := args[0], args[1:]; cmd {
	case "agent":
		return runAgent(ctx, rest, getenv, stdout, stderr)
	case "check":
		return runCheck(ctx, rest, stdout, stderr)
	case "explain":
		return runExplain(rest, stdin, stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, "pullprobe", version)
		return exitOK
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return exitOK
	default:
		fmt.Fprintf(stderr, "pullprobe: unknown command %q\n\n%s", cmd, usage)
		return exitUsage
	}
}

func runAgent(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	var help strings.Builder
	opts, err := config.Parse(args, getenv, &help)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help.String())
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "pullprobe agent:", err)
		return exitUsage
	}
	opts.Version = version
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: opts.LogLevel}))
	klog.SetSlogLogger(log.With("component", "client-go")) // for the whole process
	a, err := agent.New(opts, log)
	if err != nil {
		fmt.Fprintln(stderr, "pullprobe agent:", err)
		return exitUsage
	}
	if err := a.Run(ctx); err != nil {
		log.Error("agent failed", "error", err)
		return exitFault
	}
	return exitOK
}

// parse parses flags. If the program must end, ok is false: after -h, which prints
// the usage to standard output, or after an error.
func parse(fs *flag.FlagSet, args []string, stdout io.Writer) (code int, ok bool) {
	for _, a := range args {
		if a == "-h" || a == "--help" || a == "-help" {
			fs.SetOutput(stdout)
			fs.Usage()
			return exitOK, false
		}
	}
	if err := fs.Parse(args); err != nil {
		return exitUsage, false // package flag has printed the error
	}
	return exitOK, true
}
