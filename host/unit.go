package host

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// unitDirs are the directories of the system's units, in systemd's order
// (systemd.unit(5)). A drop-in in an earlier one masks those of the same name.
var unitDirs = []string{
	"/etc/systemd/system.control",
	"/run/systemd/system.control",
	"/run/systemd/transient",
	"/etc/systemd/system",
	"/run/systemd/system",
	"/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system",
	"/lib/systemd/system",
}

// managerDirs are the directories of the service manager's own configuration.
var managerDirs = []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"}

// maxUnitFiles limits the files of one unit.
const maxUnitFiles = 64

// Unit is a systemd service as its files on disk describe it.
type Unit struct {
	Name  string
	Files []string          // those that exist: the unit, its drop-ins, its environment files
	Env   map[string]string // the environment that it would be started with, by the files
	// Unread is a file that this process may not read: then Env is unknown.
	Unread string
}

// unitOf returns the name of the service in the text of /proc/PID/cgroup: the last path
// element that names one; empty if there is none.
func unitOf(cgroup string) string {
	name := ""
	for line := range strings.Lines(cgroup) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for element := range strings.SplitSeq(fields[2], "/") {
			if strings.HasSuffix(element, ".service") && element != ".service" {
				name = element
			}
		}
	}
	return name
}

// ReadUnit reads the environment of a service from the files under root, by the rules
// of systemd.unit(5) and systemd.exec(5). It returns nil if the service has no files
// there.
func ReadUnit(root Files, name string) *Unit {
	u := &Unit{Name: name, Env: map[string]string{}}
	var set []assignment
	main := ""
	for _, dir := range unitDirs {
		if text, ok := u.read(root, path.Join(dir, name)); ok {
			main = path.Join(dir, name)
			set = append(set, parseUnit(text)...)
			break
		}
	}
	if main == "" && u.Unread == "" {
		return nil
	}
	for _, file := range u.dropIns(root, unitDropIns(name), unitDirs) {
		if text, ok := u.read(root, file); ok {
			set = append(set, parseUnit(text)...)
		}
	}
	var manager []assignment
	managerFiles := append([]string{"/etc/systemd/system.conf"}, u.dropIns(root, []string{"system.conf.d"}, managerDirs)...)
	for _, file := range managerFiles {
		if text, ok := u.read(root, file); ok {
			manager = append(manager, parseUnit(text)...)
		}
	}
	u.setEnv(root, manager, set)
	u.addWrapper(root)
	return u
}

func (u *Unit) read(root Files, file string) (string, bool) {
	if len(u.Files) >= maxUnitFiles {
		return "", false
	}
	text, err := root.ReadFile(file)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			u.Unread = file
		}
		return "", false
	}
	u.Files = append(u.Files, file)
	return string(text), true
}

// setEnv sets Env: the manager's default, then Environment=, then the environment
// files, which override it wherever they are named, then UnsetEnvironment=.
func (u *Unit) setEnv(root Files, manager, set []assignment) {
	for _, a := range manager {
		if a.Key == "DefaultEnvironment" {
			u.setWords(a.Value)
		}
	}
	var envFiles, unset []string
	var env []string
	for _, a := range set {
		list := map[string]*[]string{"Environment": &env, "EnvironmentFile": &envFiles, "UnsetEnvironment": &unset}[a.Key]
		switch {
		case list == nil:
		case a.Value == "":
			*list = nil // an empty assignment resets the list
		default:
			*list = append(*list, a.Value)
		}
	}
	for _, line := range env {
		u.setWords(u.specifiers(line))
	}
	for _, file := range envFiles {
		file = path.Clean(u.specifiers(strings.TrimPrefix(file, "-")))
		if !path.IsAbs(file) {
			continue
		}
		matches := []string{file}
		if strings.ContainsAny(file, "*?[") {
			var err error
			if matches, err = Glob(root, file); errors.Is(err, fs.ErrPermission) {
				u.Unread = file
			}
		}
		for _, file := range matches {
			if text, ok := u.read(root, file); ok {
				for _, kv := range parseEnvFile(text) {
					u.Env[kv.Key] = kv.Value
				}
			}
		}
	}
	for _, line := range unset {
		for _, word := range splitWords(line) {
			name, value, pair := strings.Cut(word, "=")
			if !pair || u.Env[name] == value {
				delete(u.Env, name)
			}
		}
	}
}

func (u *Unit) setWords(line string) {
	for _, word := range splitWords(line) {
		if name, value, ok := strings.Cut(word, "="); ok && envName.MatchString(name) {
			u.Env[name] = value
		}
	}
}

// specifiers expands those specifiers of systemd that environments of services use.
// Others are not changed.
func (u *Unit) specifiers(s string) string {
	base := strings.TrimSuffix(u.Name, ".service")
	return strings.NewReplacer("%%", "%", "%n", u.Name, "%N", base, "%p", base).Replace(s)
}

// unitDropIns returns the names of a service's drop-in directories, the most general
// first: service.d, then a prefix for each dash of the name.
func unitDropIns(name string) []string {
	out := []string{"service.d"}
	base := strings.TrimSuffix(name, ".service")
	for i, r := range base {
		if r == '-' && i < len(base)-1 && len(out) < 8 {
			out = append(out, base[:i+1]+".service.d")
		}
	}
	return append(out, name+".d")
}

// dropIns returns the *.conf files of the directories with these names below dirs,
// sorted by file name. Of several files with one name the one in the more specific
// directory wins, then the one below the earlier dir.
func (u *Unit) dropIns(root Files, names, dirs []string) []string {
	files := map[string]string{}
	for _, name := range slices.Backward(names) {
		for _, dir := range dirs {
			entries, err := root.ReadDir(path.Join(dir, name))
			if errors.Is(err, fs.ErrPermission) {
				u.Unread = path.Join(dir, name)
			}
			for _, e := range entries {
				if _, masked := files[e.Name()]; !masked && strings.HasSuffix(e.Name(), ".conf") && len(files) < maxUnitFiles {
					files[e.Name()] = path.Join(dir, name, e.Name())
				}
			}
		}
	}
	var order []string
	for name := range files {
		order = append(order, name)
	}
	slices.Sort(order)
	for i, name := range order {
		order[i] = files[name]
	}
	return order
}

// assignment is one line of a unit file, or of an environment file.
type assignment struct{ Key, Value string }

// maxAssignments limits the assignments of one file.
const maxAssignments = 4096

// parseUnit returns the assignments of the sections [Service] and [Manager].
func parseUnit(text string) []assignment {
	var out []assignment
	section := ""
	for _, line := range joinLines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			section, _, _ = strings.Cut(name, "]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if ok && (section == "Service" || section == "Manager") && len(out) < maxAssignments {
			out = append(out, assignment{strings.TrimSpace(key), strings.TrimSpace(value)})
		}
	}
	return out
}

// joinLines returns the lines without comments. A line that ends in a backslash is
// joined with the next one.
func joinLines(text string) []string {
	var out []string
	var open strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") {
			continue
		}
		if rest, ok := strings.CutSuffix(line, `\`); ok {
			open.WriteString(rest + " ")
			continue
		}
		out = append(out, open.String()+line)
		open.Reset()
	}
	if open.Len() > 0 {
		out = append(out, open.String())
	}
	return out
}

// splitWords splits a value at white space. Quotes keep a word together, and a
// backslash escapes the next character.
func splitWords(s string) []string {
	var out []string
	var word strings.Builder
	quote, begun := rune(0), false
	flush := func() {
		if begun {
			out = append(out, word.String())
		}
		word.Reset()
		begun = false
	}
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case r == ' ' || r == '\t':
			flush()
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	flush()
	return out
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseEnvFile returns the assignments of an environment file by systemd.exec(5), and
// those of lines with "export", which shells read. Other lines are ignored.
func parseEnvFile(text string) []assignment {
	var out []assignment
	for _, line := range joinLines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		key = strings.TrimSpace(strings.TrimPrefix(key, "export "))
		if !ok || !envName.MatchString(key) || len(out) >= maxAssignments {
			continue
		}
		value = strings.TrimSpace(value)
		if words := splitWords(value); strings.ContainsAny(value, `"'\`) {
			value = strings.Join(words, " ")
		}
		out = append(out, assignment{key, value})
	}
	return out
}

// isK3s reports whether the service starts containerd as a child with a changed
// environment.
func (u *Unit) isK3s() bool {
	return strings.HasPrefix(u.Name, "k3s") || strings.HasPrefix(u.Name, "rke2")
}

// addWrapper adds the environment that a service's start script adds: microk8s sources
// a file.
func (u *Unit) addWrapper(root Files) {
	if u.Name != "snap.microk8s.daemon-containerd.service" {
		return
	}
	if text, ok := u.read(root, "/var/snap/microk8s/current/args/containerd-env"); ok {
		for _, kv := range parseEnvFile(text) {
			u.Env[kv.Key] = kv.Value
		}
	}
}

// Get returns the value that the process would have for name. k3s and RKE2 pass
// CONTAINERD_X on as X (k3s: pkg/containerd, Run).
func (u *Unit) Get(name string) string {
	if u.isK3s() {
		if v, ok := u.Env["CONTAINERD_"+name]; ok {
			return v
		}
	}
	return u.Env[name]
}

// Differs returns the watched variables that a restart would change.
func (u *Unit) Differs(runs func(string) string) []string {
	var out []string
	for _, name := range Watched {
		would, now := WatchedValue(u.Get, name), WatchedValue(runs, name)
		if name == "NO_PROXY" && u.isK3s() && coveredBy(would, now) {
			continue // they add the cluster's own networks
		}
		if would != now {
			out = append(out, name)
		}
	}
	return out
}

// Watched are the variables of the runtime's environment that decide how it reaches
// registries and which certificates it trusts.
var Watched = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// WatchedValue returns the value of a watched variable. The lower-case name of a proxy
// setting counts if the upper-case one is empty, as in golang.org/x/net.
func WatchedValue(get func(string) string, name string) string {
	if v := get(name); v != "" || !strings.HasSuffix(name, "_PROXY") {
		return v
	}
	return get(strings.ToLower(name))
}

// coveredBy reports whether every entry of one comma-separated list is in
// the other.
func coveredBy(list, other string) bool {
	have := strings.Split(other, ",")
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry != "" && !slices.Contains(have, entry) {
			return false
		}
	}
	return true
}
