package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/flags"
	"github.com/pullprobe/pullprobe/report"
)

const explainHelp = `Classifies error messages of failed pulls, offline: MESSAGE, or one message per
line on standard input. JSON is one line per message.

A message alone proves little, so the confidence is at most "likely", except for
an invalid image name and the pull policy Never. The exit code is 0 whatever the
message says.
`

// explainOptions are the flags of `pullprobe explain`.
type explainOptions struct{ output string }

func (o *explainOptions) flags() (g flags.Groups) {
	outputFlag(g.Add("Output"), &o.output)
	return g
}

// maxLine bounds one message on standard input, in bytes; what is longer is cut.
const maxLine = 1 << 20

func (o *explainOptions) run(_ context.Context, p process, args []string) int {
	if err := validOutput(o.output); err != nil {
		return p.usageError("explain", err)
	}
	out := bufio.NewWriter(p.stdout)
	defer out.Flush()
	write := func(message string) {
		x := explain(message)
		if o.output == "json" {
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(x) // strings only
			return
		}
		x.Text(out)
		fmt.Fprintln(out)
	}
	if len(args) > 0 {
		write(strings.Join(args, " "))
		return exitOK
	}
	in := bufio.NewReaderSize(p.stdin, 64<<10)
	for {
		line, err := readLine(in)
		if err != nil && line == "" {
			return exitOK
		}
		if strings.TrimSpace(line) != "" {
			write(line)
			out.Flush()
		}
	}
}

// readLine returns the next line without its end, cut to maxLine bytes.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, more, err := in.ReadLine()
		if room := maxLine - b.Len(); room > 0 {
			b.Write(part[:min(len(part), room)])
		}
		if err != nil || !more {
			return b.String(), err
		}
	}
}

// explain returns what a message means.
func explain(message string) report.Explanation {
	r := classify.Message(message)
	return report.NewExplanation(message, report.Reading{
		Cause:      r.Cause,
		Candidates: r.Candidates,
		Proven:     r.Proven,
		Step:       r.Step,
		Host:       r.Host,
		Registry:   r.Image.Registry,
		Repository: r.Image.Repository,
		Reference:  r.Image.Reference,
		Foreign:    r.Foreign,
		Clause:     r.Clause,
	})
}
