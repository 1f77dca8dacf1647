// Command recording records the output of a program, and draws a recording as a picture
// that moves:
//
//	make demo | recording cast > bin/demo.cast
//	recording svg -from '==> create' -to '$ kubectl logs' < bin/demo.cast > docs/demo.svg
//
// A recording has the format asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/),
// so asciinema can play it. The picture is an SVG without scripts, as GitHub shows it in a
// README.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("missing command: cast or svg")
	}
	switch args[0] {
	case "cast":
		start := time.Now()
		return cast(in, out, func() time.Duration { return time.Since(start) })
	case "svg":
		p := picture{columns: columns, rows: 32, length: 30 * time.Second}
		flags := flag.NewFlagSet("svg", flag.ContinueOnError)
		flags.StringVar(&p.title, "title", "", "what the picture shows, for those who cannot see it")
		flags.StringVar(&p.from, "from", "", "begin with the first line that starts with this")
		flags.StringVar(&p.to, "to", "", "end before the next line that starts with this")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		lines, err := read(in)
		if err != nil {
			return err
		}
		return p.draw(out, lines)
	default:
		return fmt.Errorf("unknown command %q: cast or svg", args[0])
	}
}

// columns is the width of the terminal. Longer lines are wrapped.
const columns = 120

// line is one line of output, and when it came.
type line struct {
	at   time.Duration
	text string
}

// cast writes each line of in with the time at which it came.
func cast(in io.Reader, out io.Writer, now func() time.Duration) error {
	if _, err := fmt.Fprintf(out, "{\"version\": 2, \"width\": %d, \"height\": 32}\n", columns); err != nil {
		return err
	}
	for scanner := bufio.NewScanner(in); ; {
		if !scanner.Scan() {
			return scanner.Err()
		}
		text, err := json.Marshal(scanner.Text() + "\r\n")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "[%.3f, \"o\", %s]\n", now().Seconds(), text); err != nil {
			return err
		}
	}
}

// read reads what cast has written.
func read(in io.Reader) ([]line, error) {
	var lines []line
	decoder := json.NewDecoder(in)
	var header struct{ Version int }
	if err := decoder.Decode(&header); err != nil {
		return nil, fmt.Errorf("not a recording: %w", err)
	}
	if header.Version != 2 {
		return nil, fmt.Errorf("version %d of the format asciicast is not known, only 2", header.Version)
	}
	for {
		var seconds float64
		var kind, text string
		event := []any{&seconds, &kind, &text}
		if err := decoder.Decode(&event); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return nil, fmt.Errorf("event %d of the recording: %w", len(lines)+1, err)
		}
		lines = append(lines, line{time.Duration(seconds * float64(time.Second)), trimEnd(text)})
	}
}
