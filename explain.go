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

Classifies error messages of failed pulls, without asking anybody: MESSAGE, or
one message a line on standard input. JSON comes as one line a message.

Text alone can hardly prove a cause, so the confidence is "likely" at most but
for an invalid image name or a pull policy.

`

// maxLine bounds one message on standard input, in bytes; what is longer is cut.
const maxLine = 1 << 20

// explanation is what the words of one message come to.
type explanation struct {
	Message      string            `json:"message"`
	Fault        report.Fault      `json:"fault"`
	Cause        report.Cause      `json:"cause"`
	Confidence   report.Confidence `json:"confidence"`
	Alternatives []report.Cause    `json:"alternatives"`
	Summary      string            `json:"summary"`
	Fix          string            `json:"fix"`
}

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
	say := func(message string) {
		x := explain(message)
		if *format == "json" {
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(x) // strings only
			return
		}
		x.text(out)
	}
	if fs.NArg() > 0 {
		say(strings.Join(fs.Args(), " "))
		return exitOK
	}
	in := bufio.NewReaderSize(stdin, 64<<10)
	for {
		line, err := readLine(in)
		if err != nil && line == "" {
			return exitOK
		}
		if strings.TrimSpace(line) != "" {
			say(line)
			out.Flush()
		}
	}
}

// readLine reads a line of any length and keeps its first maxLine bytes.
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

// maxAlternatives is how many other causes an explanation names.
const maxAlternatives = 3

func explain(message string) explanation {
	r := classify.Message(message)
	x := explanation{Message: message, Cause: r.Cause, Fault: report.FaultAt(r.Cause, r.Step), Confidence: report.Likely, Alternatives: []report.Cause{}}
	if r.Mirror && x.Fault == report.FaultConfig {
		x.Fault = report.FaultNode // the runtime's configuration names this host, no image does
	}
	switch {
	case r.Proven:
		x.Confidence = report.Confirmed
	case r.Cause == report.Undetermined:
		x.Confidence = report.Uncertain
	}
	for _, c := range r.Candidates {
		if c != r.Cause && len(x.Alternatives) < maxAlternatives {
			x.Alternatives = append(x.Alternatives, c)
		}
	}
	x.Summary, x.Fix = report.Advice(x.Cause, x.Fault, r.Host, "")
	if r.Clause != "" {
		x.Summary += ": " + r.Clause
	}
	if r.Cause == report.Undetermined && len(x.Alternatives) > 0 {
		x.Fix = "look at the node where it fails: pullprobe check IMAGE, or annotate the pod with probe=now"
	}
	return x
}

func (x explanation) text(w io.Writer) {
	fmt.Fprintf(w, "%s  %s  (%s)\n  why  %s\n", x.Fault, x.Cause, x.Confidence, x.Summary)
	if x.Fix != "" {
		fmt.Fprintf(w, "  fix  %s\n", x.Fix)
	}
	if len(x.Alternatives) > 0 {
		names := make([]string, len(x.Alternatives))
		for i, c := range x.Alternatives {
			names[i] = string(c)
		}
		fmt.Fprintf(w, "  or   %s\n", strings.Join(names, ", "))
	}
	fmt.Fprintln(w)
}
