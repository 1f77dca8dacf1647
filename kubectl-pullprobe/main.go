// Command kubectl-pullprobe is the plugin `kubectl pullprobe`: it shows what pullprobe says
// about image pulls, with the caller's own rights.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/command"
)

// version is set by the linker (see Makefile).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, command.NewApp(version, os.Getenv, os.Stdin, os.Stdout, os.Stderr), os.Args[1:])
	stop()
	os.Exit(code)
}
