// Package flags is how pullprobe's commands take their flags: in groups, GNU style, with
// errors that name the remedy, and a help that fits a terminal.
package flags

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Group is flags under one heading of the help.
type Group struct {
	Title string
	Set   *pflag.FlagSet
}

// Groups are all flags of a command, in the order of the help.
type Groups []*Group

// Add adds a group and returns its flags.
func (g *Groups) Add(title string) *pflag.FlagSet {
	set := pflag.NewFlagSet(title, pflag.ContinueOnError)
	set.SortFlags = false
	*g = append(*g, &Group{title, set})
	return set
}

// All returns the flags of all groups as one set.
func (g Groups) All() *pflag.FlagSet {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	all.SortFlags = false
	all.SetOutput(io.Discard)
	all.Usage = func() {} // the caller prints the help
	for _, group := range g {
		all.AddFlagSet(group.Set)
	}
	return all
}

// Parse sets the flags from arguments and returns the other arguments. -h and --help
// return [pflag.ErrHelp].
func (g Groups) Parse(args []string) (rest []string, err error) {
	all := g.All()
	if err := all.Parse(args); err != nil {
		return nil, explain(all, err)
	}
	return all.Args(), nil
}

// width is the longest line of the help, in columns.
const width = 80

// Help writes the flags, group by group.
func (g Groups) Help(w io.Writer) {
	for _, group := range g {
		fmt.Fprintf(w, "\n%s:\n", group.Title)
		group.Set.VisitAll(func(f *pflag.Flag) { help(w, f) })
	}
	fmt.Fprint(w, "\nOther:\n  -h, --help\n      show this help\n")
}

// help writes one flag: its name and value, and what it means below.
func help(w io.Writer, f *pflag.Flag) {
	value, usage := pflag.UnquoteUsage(f)
	line := "      --" + f.Name
	if f.Shorthand != "" {
		line = "  -" + f.Shorthand + ", --" + f.Name
	}
	line = "  " + strings.TrimSpace(line)
	if value != "" {
		line += " " + value
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
		usage += " (default: " + f.DefValue + ")"
	}
	fmt.Fprintln(w, line)
	for _, l := range Wrap(usage, width-6) {
		fmt.Fprintln(w, "      "+l)
	}
}

// Wrap breaks a text into lines between words.
func Wrap(text string, columns int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > columns {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// explain returns a parse error that names the flag and the remedy.
func explain(set *pflag.FlagSet, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownFlag(set, unknown)
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := invalid.GetFlag()
		return fmt.Errorf("--%s=%s: %w", f.Name, invalid.GetValue(), Wanted(f, invalid.Unwrap()))
	}
	return err
}

func unknownFlag(set *pflag.FlagSet, unknown *pflag.NotExistError) error {
	name, given := unknown.GetSpecifiedName(), "--"+unknown.GetSpecifiedName()
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		name, _, _ = strings.Cut(letters, "=")
		given = "-" + name
		if set.Lookup(name) != nil {
			return fmt.Errorf("unknown flag %s: use two dashes, --%s", given, name)
		}
	}
	var names []string
	set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if meant := Closest(name, names); meant != "" {
		return fmt.Errorf("unknown flag %s: did you mean --%s?", given, meant)
	}
	return fmt.Errorf("unknown flag %s: see --help", given)
}

// Wanted returns what a flag takes, in place of the error of its parser.
func Wanted(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "bool":
		return errors.New("must be true or false")
	case "int", "int64":
		return errors.New("must be a whole number")
	case "duration":
		return errors.New("must be a duration, such as 90s or 5m")
	}
	return err
}

// Closest returns the name that was probably meant by a mistyped one; empty if none is
// close.
func Closest(mistyped string, names []string) string {
	best, least := "", 1+max(1, len(mistyped)/3)
	for _, name := range slices.Sorted(slices.Values(names)) {
		d := distance(mistyped, name)
		if len(mistyped) > 2 && strings.HasPrefix(name, mistyped) {
			d = min(d, 1)
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// distance returns how many letters must be inserted, removed, replaced or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := row[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			next[j] = min(replaced, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
