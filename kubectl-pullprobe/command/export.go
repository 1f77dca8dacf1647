package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/page"
)

func newExport(a *App) *cobra.Command {
	var o showOptions
	c := &cobra.Command{
		Use: "export", Short: "Write one file with all that is known, for an incident channel",
		Long: "Writes one HTML file to standard output: the pods that wait, with verdicts and\n" +
			"checks, and which node reaches which registry. It needs no other file, runs no\nscript and requests nothing. " +
			"It has names of pods, images, nodes and hosts.",
		Example: `  # All namespaces, into one file
  kubectl pullprobe export -o html -A >image-pulls.html

  # One namespace
  kubectl pullprobe export -o html -n shop >shop.html`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := validOutput(o.output, "html"); err != nil {
				return err
			}
			return a.export(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "the pods of all namespaces")
	f.StringVarP(&o.labels, "selector", "l", "", "only pods with these labels")
	f.StringVarP(&o.output, "output", "o", "html", "html")
	return c
}

// export writes a page.
func (a *App) export(ctx context.Context, o showOptions) error {
	namespace := ""
	if !o.all {
		var err error
		if namespace, err = a.Namespace(); err != nil {
			return err
		}
	}
	r, err := a.reader()
	if err != nil {
		return err
	}
	in := page.Input{}
	if in.Overview, err = r.overview(ctx, namespace, o.labels); err != nil {
		return withSentence(err, "list", "pods", namespace)
	}
	if in.All, err = r.Compare(ctx, r.now, r.limits); err != nil && !cluster.Denied(err) {
		return err
	}
	if cfg, err := a.kube.ToRawKubeConfigLoader().RawConfig(); err == nil {
		in.Context = cfg.CurrentContext
	}
	if *a.kube.Context != "" {
		in.Context = *a.kube.Context
	}
	in.Notes = r.limits.All()
	a.writeNotes(r.limits)
	return page.Write(a.Out, in)
}
