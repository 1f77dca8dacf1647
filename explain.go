package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pullprobe/pullprobe/classify"
	"github.com/pullprobe/pullprobe/report"
)

const explainUsage = `Usage: pullprobe explain [-o text|json] [MESSAGE]

Classifies error messages of failed pulls, offline: MESSAGE, or one message per
line on standard input. JSON is one line per message.

A message alone proves little, so the confidence is at most "likely", except for
an invalid image name and the pull policy Never.

`

// maxLine bounds one message on standard input, in bytes; what is longer is cut.
const maxLine = 1 << 20

func runExplain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(fs.Output(), explainUsage); fs.PrintDefaults() }
	format := fs.String("o", "text", "output: text or json")
	if code, ok := parse(fs, args, stdout); !ok {
		return code
	}
	if *format != "text" && *format != "json" {
		fmt.Fprintf(stderr, "pullprobe explain: -o %q: must be text or json\n", *format)
		return exitUsage
	}
	out := bufio.NewWriter(stdout)
	defer out.Flush()
	write := func(message string) {
		x := explain(message)
		if *format == "json" {
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(x) // strings only
			return
		}
		x.Text(out)
		fmt.Fprintln(out)
	}
	if fs.NArg() > 0 {
		write(strings.Join(fs.Args(), " "))
		return exitOK
	}
	in := bufio.NewReaderSize(stdin, 64<<10)
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
