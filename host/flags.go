package host

import "strings"

// Flags are the values of a command line's flags, by name without dashes, in
// the order in which they were given.
type Flags map[string][]string

// ParseFlags returns the values of the named flags, each of which takes a value,
// as the kubelet parses its command line (spf13/pflag, parseArgs; component-base
// cli/flag.WordSepNormalizeFunc): "--name=value" or "--name value", "_" counts as
// "-", and "--" ends the flags. args[0] is the program's name. A flag without a
// value, with which the kubelet would not start, is ignored.
//
// A flag that is not named is taken for one without a value: whether it has one
// is not known here, and only a value that begins with "--" makes a difference.
func ParseFlags(args []string, names ...string) Flags {
	flags := Flags{}
	for _, name := range names {
		flags[name] = nil
	}
	for i := 1; i < len(args); i++ {
		arg, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			continue
		}
		if arg == "" {
			break
		}
		name, value, inline := strings.Cut(arg, "=")
		name = strings.ReplaceAll(name, "_", "-")
		values, wanted := flags[name]
		if !wanted {
			continue
		}
		if !inline {
			if i++; i == len(args) {
				break
			}
			value = args[i]
		}
		flags[name] = append(values, value)
	}
	return flags
}

// Last returns the last value of a flag, which is the one that counts for a
// flag that is no list.
func (f Flags) Last(name string) (value string, given bool) {
	values := f[name]
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Env is the environment of a process as /proc/PID/environ contains it.
type Env []string

// Lookup returns the first value of a variable: later ones do not count for a C
// program (getenv(3)) or a Go program (os.LookupEnv).
func (e Env) Lookup(name string) (value string, ok bool) {
	if name == "" {
		return "", false
	}
	for _, kv := range e {
		if key, value, ok := strings.Cut(kv, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// Unique returns the variables without later duplicates, as os.Environ of the
// process does. os/exec, given both, would keep the last.
func (e Env) Unique() Env {
	seen := map[string]bool{}
	var out Env
	for _, kv := range e {
		if key, _, ok := strings.Cut(kv, "="); ok {
			if seen[key] {
				continue
			}
			seen[key] = true
		}
		out = append(out, kv)
	}
	return out
}
