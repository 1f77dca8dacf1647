package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
)

const rootLong = `Shows which pods wait for an image, who must act, and what fixes it; of one POD,
or of the pods of a TYPE/NAME, with all checks. It reads the reports of
pullprobe with your own rights, and says what you may not read.

Exit codes: 0 well, 1 a fault was found, 2 usage error, 3 could not tell.`

const rootExample = `  # The pods of this namespace that wait for an image
  kubectl pullprobe

  # Those of all namespaces, one a line
  kubectl pullprobe -A --pods

  # One pod, with its checks
  kubectl pullprobe web-0 -n shop

  # The pods of a Deployment
  kubectl pullprobe deployment/web -n shop`

// newRoot returns the root command with all others.
func newRoot(a *App) *cobra.Command {
	var o showOptions
	root := &cobra.Command{
		Use:           "kubectl-pullprobe [POD | TYPE/NAME]",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl pullprobe"},
		Short:         "Show why image pulls fail, who must act, and what fixes it",
		Long:          rootLong,
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          args(cobra.MaximumNArgs(1)),
		Example:       rootExample,
		RunE:          func(c *cobra.Command, args []string) error { return a.show(c.Context(), o, args) },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages ", "FlagUsagesWrapped 80 "))
	root.CompletionOptions.HiddenDefaultCmd = true
	root.ValidArgsFunction = a.completePods()
	o.addFlags(root)
	addGlobalFlags(a, root)
	root.AddCommand(
		newAsk(a), newWait(a), newPreflight(a), newNodes(a), newNode(a), newRegistries(a), newRegistry(a),
		newExplain(a), newDoctor(a), newExport(a),
		newOptions(),
	)
	a.completeFlags(root)
	return root
}

// shownFlags are those of kubectl's flags that each help shows; the command options shows all.
var shownFlags = map[string]string{
	"namespace":  "the namespace",
	"context":    "the context of the kubeconfig",
	"kubeconfig": "the kubeconfig file",
	"as":         "the user to impersonate",
}

// addGlobalFlags adds kubectl's flags and those that all commands have.
func addGlobalFlags(a *App, root *cobra.Command) {
	flags := root.PersistentFlags()
	a.kube.AddFlags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		usage, shown := shownFlags[f.Name]
		f.Hidden = !shown
		if shown {
			f.Usage = usage
		}
	})
	flags.StringVar(&a.home, "pullprobe-namespace", "", "namespace of pullprobe; without it, it is found")
	flags.StringVar(&a.color, "color", "auto", "auto, always or never")
	flags.BoolVar(&a.ascii, "ascii", false, "write ASCII characters only")
}

// newOptions returns the command that shows kubectl's flags.
func newOptions() *cobra.Command {
	return &cobra.Command{
		Use: "options", Short: "Show all of kubectl's flags", Args: args(cobra.NoArgs),
		Run: func(c *cobra.Command, _ []string) {
			c.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = false })
			fmt.Fprint(c.OutOrStdout(), c.Root().PersistentFlags().FlagUsagesWrapped(screen.Width))
		},
	}
}
