package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/doctor"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/report"
)

func newDoctor(a *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "doctor", Short: "Check whether pullprobe itself is well, and what you may read",
		Long: "Checks the DaemonSet of pullprobe, agents that do not start, silent reports,\n" +
			"versions, components, admission policies, and your own rights.\n\n" +
			"Exit codes: 0 well, 1 something must be fixed, 3 too little may be read.",
		Example: `  # Why is there no verdict?
  kubectl pullprobe doctor

  # pullprobe in another namespace
  kubectl pullprobe doctor --pullprobe-namespace monitoring`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := validOutput(output, "json", "yaml"); err != nil {
				return err
			}
			return a.doctor(c.Context(), output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	return c
}

// doctor writes whether pullprobe is well.
func (a *App) doctor(ctx context.Context, output string) error {
	client, err := a.Cluster()
	if err != nil {
		return err
	}
	namespace, err := a.Namespace()
	if err != nil {
		return err
	}
	now := a.Now()
	found, err := client.Installation(ctx, namespace, now)
	if err != nil {
		return err
	}
	checks := doctor.Checks(found, a.Version, now)
	code := ended(wellness(checks))
	if output != "" {
		if err := a.writeObject(output, map[string]any{"namespace": found.Home, "checks": checks}); err != nil {
			return err
		}
		return code
	}
	style, err := a.Style()
	if err != nil {
		return err
	}
	text := screen.NewText(style)
	doctor.Write(text, checks)
	if _, err := text.WriteTo(a.Out); err != nil {
		return err
	}
	a.writeNotes(found.Limits)
	return code
}

// wellness returns the exit code for checks of pullprobe itself. Without the DaemonSet and the
// reports, nothing can be told.
func wellness(checks []doctor.Check) Exit {
	unknown := 0
	for _, c := range checks {
		switch c.Outcome {
		case report.Fail:
			return ExitFault
		case report.Unknown:
			if c.Part == cluster.PartDaemonSet || c.Part == cluster.PartReports {
				unknown++
			}
		default:
		}
	}
	if unknown > 0 {
		return ExitUnknown
	}
	return ExitOK
}
