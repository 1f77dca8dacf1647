// Package command has the commands of the plugin: what each reads of the cluster, and what
// it writes. Texts are made in package view, requests in package cluster.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
)

// App is what every command has: the streams, the caller's kubeconfig and the flags of all
// commands.
type App struct {
	Version  string
	Getenv   func(string) string
	In       io.Reader
	Out, Err io.Writer
	Now      func() time.Time

	kube  *genericclioptions.ConfigFlags
	home  string // namespace of pullprobe; empty: to be found
	color string
	ascii bool
}

// NewApp returns an App with kubectl's flags.
func NewApp(version string, getenv func(string) string, in io.Reader, out, err io.Writer) *App {
	return &App{
		Version: version, Getenv: getenv, In: in, Out: out, Err: err, Now: time.Now,
		kube: genericclioptions.NewConfigFlags(true).WithDiscoveryQPS(50).WithDiscoveryBurst(300),
	}
}

// Exit is an exit code. A command returns it as its error when everything is written.
type Exit int

// The exit codes of all commands.
const (
	ExitOK      Exit = 0
	ExitFault   Exit = 1 // a fault was found
	ExitUsage   Exit = 2
	ExitUnknown Exit = 3 // could not tell
)

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// ended returns the error that ends a command with an exit code.
func ended(e Exit) error {
	if e == ExitOK {
		return nil
	}
	return e
}

// usageError is an error in the arguments.
type usageError struct{ error }

// usagef returns a usage error.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run runs a command and returns its exit code. Errors go to app.Err: those of usage end with
// 2, others, such as a cluster that does not answer, with 3.
func Run(ctx context.Context, app *App, args []string) int {
	root := newRoot(app)
	root.SetArgs(args)
	called, err := root.ExecuteContextC(ctx)
	var code Exit
	var usage usageError
	switch {
	case err == nil:
		return int(ExitOK)
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		app.remark("error: ", err.Error())
		fmt.Fprintf(app.Err, "See '%s --help'.\n", called.CommandPath())
		return int(ExitUsage)
	case ctx.Err() != nil:
		return int(ExitUnknown)
	}
	app.remark("error: ", strings.TrimPrefix(err.Error(), "error: "))
	return int(ExitUnknown)
}

// remark writes a text on standard error, after a word such as "note: ".
func (a *App) remark(head, text string) {
	t := screen.NewText(a.errStyle())
	t.Remark(head, text)
	fmt.Fprint(a.Err, t)
}

// errStyle returns how to write on standard error.
func (a *App) errStyle() screen.Style {
	style, err := screen.NewStyle(a.Err, "never", a.ascii, a.Getenv)
	if err != nil {
		return screen.Style{}
	}
	return style
}

// Cluster returns the client of the cluster that the flags name.
func (a *App) Cluster() (*cluster.Client, error) {
	cfg, err := a.kube.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	return cluster.New(cfg, a.home)
}

// Namespace returns the namespace of the flags or of the kubeconfig's context.
func (a *App) Namespace() (string, error) {
	ns, _, err := a.kube.ToRawKubeConfigLoader().Namespace()
	return ns, err
}

// Style returns how to write on standard output.
func (a *App) Style() (screen.Style, error) {
	return screen.NewStyle(a.Out, a.color, a.ascii, a.Getenv)
}

// args makes a usage error of what a validator of arguments finds.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// withTimeout completes a command that waits for what happens to one POD or TYPE/NAME.
func (a *App) withTimeout(
	c *cobra.Command, limit time.Duration, what string, run func(context.Context, string, time.Duration) error,
) *cobra.Command {
	c.Args = args(cobra.ExactArgs(1))
	timeout := c.Flags().Duration("timeout", limit, what)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *timeout <= 0 {
			return usagef("--timeout=%v: must be greater than 0", *timeout)
		}
		return run(c.Context(), args[0], *timeout)
	}
	c.ValidArgsFunction = a.completePods()
	return c
}
