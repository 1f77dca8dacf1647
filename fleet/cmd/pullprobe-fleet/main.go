// Command pullprobe-fleet compares the nodes of a cluster. See package fleet.
//
// Exit codes: 0 it was told to end, 1 it failed or another replica is the leader, 2 usage error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/pullprobe/pullprobe/fleet"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	var help strings.Builder
	opts, err := fleet.Parse(os.Args[1:], os.Getenv, &help)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(help.String())
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "pullprobe-fleet:", err)
		return 2
	}
	opts.Version = version
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: opts.LogLevel}))
	klog.SetSlogLogger(log.With("component", "client-go")) // for the whole process
	f, err := fleet.New(opts, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pullprobe-fleet:", err)
		return 2
	}
	if err := f.Run(ctx); err != nil {
		log.Error("fleet failed", "error", err)
		return 1
	}
	return 0
}
