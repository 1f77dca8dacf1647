package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
)

const explainLong = `Classifies error messages of failed pulls, offline: MESSAGE, or one message per
line on standard input.

A message alone proves little, so the confidence is at most "likely", except for
an invalid image name and the pull policy Never. The exit code is 0 whatever the
message says.`

const explainExample = `  # What a message means
  kubectl pullprobe explain 'pull access denied, repository does not exist'

  # One message per line
  kubectl get events -A -o jsonpath='{range .items[*]}{.message}{"\n"}{end}' |
    kubectl pullprobe explain -o json`

func newExplain(a *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "explain [MESSAGE]", Short: "Classify error messages, offline", Long: explainLong, Example: explainExample,
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return usagef("--output=%s: must be json, or absent for text", output)
			}
			if len(args) > 0 {
				return explain(a.Out, strings.Join(args, " "), output)
			}
			return explainLines(a.In, a.Out, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json: one object per line")
	return c
}

// maxMessage bounds one message on standard input, in bytes.
const maxMessage = 1 << 20

// explainLines explains each line of a stream.
func explainLines(in io.Reader, out io.Writer, output string) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := explain(out, lines.Text(), output); err != nil {
			return err
		}
	}
	return lines.Err()
}

// explain writes what a message means.
func explain(out io.Writer, message, output string) error {
	x := waiting.Explain(message)
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return enc.Encode(x)
	}
	x.Text(out)
	_, err := fmt.Fprintln(out)
	return err
}
