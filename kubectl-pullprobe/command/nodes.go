package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/report"
)

// comparing makes a command that shows what the nodes say together.
func (a *App) comparing(c *cobra.Command, arguments cobra.PositionalArgs, write func(comparing, []string) error) *cobra.Command {
	var output string
	c.Args = args(arguments)
	c.Flags().StringVarP(&output, "output", "o", "", "wide, json, yaml or name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := validOutput(output, "wide", "json", "yaml", "name"); err != nil {
			return err
		}
		r, err := a.reader()
		if err != nil {
			return err
		}
		defer a.writeNotes(r.limits)
		all, err := r.compared(c.Context())
		if err != nil {
			return err
		}
		style, err := a.Style()
		if err != nil {
			return err
		}
		x := comparing{App: a, reader: r, all: all, output: output, text: screen.NewText(style)}
		errWrite := write(x, args)
		if _, err := x.text.WriteTo(a.Out); err != nil {
			return err
		}
		return errWrite
	}
	return c
}

// comparing is what such a command has.
type comparing struct {
	*App
	*reader
	all    cluster.Comparison
	output string
	text   *screen.Text
}

func (x comparing) wide() bool { return x.output == "wide" }

// compared returns what the nodes say together. That there is no report is an error.
func (r *reader) compared(ctx context.Context) (cluster.Comparison, error) {
	all, err := r.Compare(ctx, r.now, r.limits)
	if cluster.Denied(err) {
		return all, errors.New(cluster.MayNot("list", "configmaps", r.Home(), "nothing can be shown; "+cluster.ReaderRole))
	}
	if err != nil {
		return all, err
	}
	for _, n := range all.Nodes {
		if n.Reports() {
			return all, nil
		}
	}
	return all, errors.New(r.noReports())
}

// verdict returns the exit code of a comparison: 1 if some node fails.
func verdict(fails bool) error {
	if fails {
		return ExitFault
	}
	return nil
}

func newNodes(a *App) *cobra.Command {
	return a.comparing(&cobra.Command{
		Use: "nodes", Short: "List the nodes: pods that wait, hosts that fail, silent agents",
		Long: "Lists the nodes, the worst first, and what they show together about nodes.\nExit code 1: some node has a fault.",
		Example: `  # All nodes, the worst first
  kubectl pullprobe nodes

  # With zone, pool, subnet and runtime
  kubectl pullprobe nodes -o wide`,
	}, cobra.NoArgs, func(x comparing, _ []string) error {
		rows := view.NodeRows(x.all, x.now)
		fails := false
		for _, r := range rows {
			fails = fails || r.Fault != "" && r.Fault != report.FaultNone || r.Unreachable > 0
		}
		switch x.output {
		case "json", "yaml":
			if err := x.writeObject(x.output, map[string]any{"nodes": rows}); err != nil {
				return err
			}
		case "name":
			for _, r := range rows {
				x.text.Line("node/%s", r.Node)
			}
		default:
			view.WriteNodes(x.text, x.all, x.now, x.wide())
		}
		return verdict(fails)
	})
}

func newRegistries(a *App) *cobra.Command {
	return a.comparing(&cobra.Command{
		Use: "registries", Short: "List the registries: how many nodes get through to each",
		Long: "Lists the registries, mirrors, token services and layer hosts that the nodes\n" +
			"check, and what the nodes that fail have in common. Exit code 1: some node does\nnot get through to some host.",
		Example: `  # All hosts, those at which most nodes fail first
  kubectl pullprobe registries

  # For a script
  kubectl pullprobe registries -o json`,
	}, cobra.NoArgs, func(x comparing, _ []string) error {
		rows := view.HostRows(x.all.Result)
		fails := false
		for _, r := range rows {
			fails = fails || r.Failing > 0
		}
		switch x.output {
		case "json", "yaml":
			if err := x.writeObject(x.output, map[string]any{"hosts": rows, "findings": x.all.Result.Findings}); err != nil {
				return err
			}
		case "name":
			for _, r := range rows {
				x.text.Line("%s", r.Host)
			}
		default:
			view.WriteRegistries(x.text, x.all, x.wide())
		}
		return verdict(fails)
	})
}

func newRegistry(a *App) *cobra.Command {
	c := a.comparing(&cobra.Command{
		Use: "registry HOST", Short: "Show one registry, as each node sees it",
		Long: "Shows how each node sees a registry, and what the nodes that fail have in\n" +
			"common: zone, subnet, pool, resolver, proxy and more. " +
			"Exit code 1: some node\ndoes not get through.",
		Example: `  # Which nodes reach it, and what sets the others apart
  kubectl pullprobe registry registry.example

  # With a port, if that is not 443
  kubectl pullprobe registry registry.example:5000 -o wide`,
	}, cobra.ExactArgs(1), func(x comparing, args []string) error {
		host := args[0]
		sights := view.Sights(x.all, host, x.now)
		if len(sights) == 0 {
			return fmt.Errorf("no node has checked %s; 'kubectl pullprobe registries' lists the hosts", host)
		}
		fails := false
		for _, s := range sights {
			fails = fails || s.State.Bad()
		}
		switch x.output {
		case "json", "yaml":
			if err := x.writeObject(x.output, map[string]any{"host": host, "nodes": sights}); err != nil {
				return err
			}
		case "name":
			for _, s := range sights {
				x.text.Line("node/%s", s.Node)
			}
		default:
			view.WriteRegistry(x.text, x.all, host, x.now, x.wide())
		}
		return verdict(fails)
	})
	c.ValidArgsFunction = a.completeHosts()
	return c
}

func newNode(a *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "node NAME", Short: "Show the report of one node",
		Long: "Shows the report of a node as its agent wrote it, and what the other nodes show\nabout it. Exit code 1: pods wait, or hosts fail.",
		Example: `  # The report for people
  kubectl pullprobe node node-a

  # For a script
  kubectl pullprobe node node-a -o json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.reader()
			if err != nil {
				return err
			}
			return a.showNode(c.Context(), r, args[0], output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json, yaml or name")
	c.ValidArgsFunction = a.completeNodes()
	return c
}

// showNode shows the report of a node.
func (a *App) showNode(ctx context.Context, r *reader, node, output string) error {
	if err := validOutput(output, "json", "yaml", "name"); err != nil {
		return err
	}
	x, err := r.Report(ctx, node)
	switch {
	case cluster.Denied(err):
		return errors.New(cluster.MayNot("get", "configmaps", r.Home(), "nothing can be shown; "+cluster.ReaderRole))
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no report of node %q in namespace %s: it does not exist, or %s", node, r.Home(), noAgent)
	case err != nil:
		return err
	}
	defer a.writeNotes(r.limits)
	fails := false
	if x.Content == nil {
		r.limits.Add("the report of node " + node + " cannot be read: " + x.Problem)
	} else {
		r.checked(x)
		fails = x.Content.Stuck > 0 || x.Content.Sweep != nil && x.Content.Sweep.Bad() > 0
	}
	switch output {
	case "json", "yaml":
		if x.Content == nil {
			return ExitUnknown
		}
		if err := a.writeObject(output, x.Content); err != nil {
			return err
		}
		return verdict(fails)
	case "name":
		fmt.Fprintln(a.Out, "node/"+node)
		return verdict(fails)
	}
	style, err := a.Style()
	if err != nil {
		return err
	}
	text := screen.NewText(style)
	view.WriteSummary(text, x.Summary)
	if all, err := r.Compare(ctx, r.now, r.limits); err == nil {
		view.WriteAboutNode(text, all, node)
	}
	if _, err := text.WriteTo(a.Out); err != nil {
		return err
	}
	if x.Content == nil {
		return ExitUnknown
	}
	return verdict(fails)
}
