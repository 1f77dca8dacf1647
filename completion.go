package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const completionHelp = `Prints a script that completes commands and flags.

  bash:  source <(pullprobe completion bash)
  zsh:   source <(pullprobe completion zsh)
  fish:  pullprobe completion fish | source

Put the line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
`

func runCompletion(_ context.Context, p process, args []string) int {
	if len(args) != 1 {
		return p.usageError("completion", fmt.Errorf("name one shell: bash, zsh or fish"))
	}
	all := commands()
	switch args[0] {
	case "bash":
		fmt.Fprint(p.stdout, bashCompletion(all))
	case "zsh": // zsh runs the functions of bash
		fmt.Fprint(p.stdout, "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n", bashCompletion(all))
	case "fish":
		fmt.Fprint(p.stdout, fishCompletion(all))
	default:
		return p.usageError("completion", fmt.Errorf("unknown shell %q: must be bash, zsh or fish", args[0]))
	}
	return exitOK
}

// choices are the values of flags that take one of a few.
var choices = map[string]string{
	"output":    "text json",
	"color":     "auto always never",
	"log-level": "debug info warn error",
}

// takesPath reports whether the value of a flag is a file or a directory.
func takesPath(f *pflag.Flag) bool {
	kind, _ := pflag.UnquoteUsage(f)
	return kind == "file" || kind == "directory"
}

// bashCompletion returns the script for bash.
func bashCompletion(all []*command) string {
	var names, perCommand []string
	values := map[string][]string{} // patterns of flags, by what completes their values
	for _, c := range all {
		names = append(names, c.name)
		words := []string{"--help"}
		c.flags.All().VisitAll(func(f *pflag.Flag) {
			words = append(words, "--"+f.Name)
			pattern := "--" + f.Name
			if f.Shorthand != "" {
				pattern += "|-" + f.Shorthand
			}
			how := `COMPREPLY=()`
			switch {
			case f.NoOptDefVal != "":
				return
			case choices[f.Name] != "":
				how = `COMPREPLY=($(compgen -W "` + choices[f.Name] + `" -- "$cur"))`
			case takesPath(f):
				how = `COMPREPLY=($(compgen -f -- "$cur"))`
			}
			values[how] = append(values[how], pattern)
		})
		if c.name == "completion" {
			words = append(words, "bash", "zsh", "fish")
		}
		perCommand = append(perCommand, fmt.Sprintf("    %s) words=%q ;;", c.name, strings.Join(words, " ")))
	}
	var perValue []string
	for _, how := range slices.Sorted(maps.Keys(values)) {
		patterns := slices.Compact(slices.Sorted(slices.Values(values[how])))
		perValue = append(perValue, fmt.Sprintf("    %s) %s; return ;;", strings.Join(patterns, "|"), how))
	}
	return `_pullprobe() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "` + strings.Join(names, " ") + ` help" -- "$cur"))
    return
  fi
  if [ "$cur" = "=" ]; then cur=""; elif [ "$prev" = "=" ]; then prev="${COMP_WORDS[COMP_CWORD-2]}"; fi
  case "$prev" in
` + strings.Join(perValue, "\n") + `
  esac
  case "${COMP_WORDS[1]}" in
` + strings.Join(perCommand, "\n") + `
    help) words="` + strings.Join(names, " ") + `" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o filenames -F _pullprobe pullprobe
`
}

// fishCompletion returns the script for fish.
func fishCompletion(all []*command) string {
	var b strings.Builder
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	b.WriteString("complete -c pullprobe -f\n")
	for _, c := range all {
		fmt.Fprintf(&b, "complete -c pullprobe -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(c.short))
	}
	for _, c := range all {
		on := "complete -c pullprobe -n " + quote("__fish_seen_subcommand_from "+c.name)
		if c.name == "completion" {
			fmt.Fprintf(&b, "%s -a 'bash zsh fish'\n", on)
		}
		c.flags.All().VisitAll(func(f *pflag.Flag) {
			line := on + " -l " + f.Name
			if f.Shorthand != "" {
				line += " -s " + f.Shorthand
			}
			switch {
			case f.NoOptDefVal != "":
			case choices[f.Name] != "":
				line += " -x -a " + quote(choices[f.Name])
			case takesPath(f):
				line += " -r -F"
			default:
				line += " -x"
			}
			_, usage := pflag.UnquoteUsage(f)
			if i := strings.IndexAny(usage, ";(:"); i > 0 {
				usage = strings.TrimSpace(usage[:i])
			}
			fmt.Fprintf(&b, "%s -d %s\n", line, quote(usage))
		})
	}
	return b.String()
}
