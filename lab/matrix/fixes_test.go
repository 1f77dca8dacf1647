//go:build matrix

package matrix

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
)

// The commands that a fix may print.
var (
	setImage     = regexp.MustCompile(`kubectl (?:-n \S+ )?set image \S+ [^=\s]+=([^\s;,)]+)`)
	createSecret = regexp.MustCompile(`kubectl (?:-n \S+ )?create secret docker-registry \S+.* --docker-server=(\S+)`)
	restart      = regexp.MustCompile(`systemctl restart (\S+)`)
	hostsFile    = regexp.MustCompile(`/\S+/hosts\.toml`)
	plainURL     = regexp.MustCompile(`http://[^\s"]+`)

	configPath = regexp.MustCompile(`config_path = "([^"]*)"`)

	// aCommand is the text from a program's name to the next word of prose.
	aCommand = regexp.MustCompile(`(?:kubectl|crictl|ctr|docker|systemctl|journalctl|openssl|ip) [^,;#(\n]*`)
	// blanks are placeholders of what the verdict does not know. The
	// login that a registry accepts is not known here, and a new secret may have
	// any name.
	blanks = regexp.MustCompile(`\b(NAMESPACE|POD|CONTAINER|SECRET|IMAGE|REGISTRY|REPOSITORY|TAG|OWNER|DEPLOYMENT|NODE|HOST|PORT)\b`)
)

// applyFix runs the commands of the verdict's fix that can be run here, and examines the image again. It takes back what it did.
func (s *scene) applyFix(sub *subject, v verdict) []string {
	if v.Fault == "none" {
		return nil
	}
	if strings.TrimSpace(v.Fix) == "" {
		return []string{"no fix, and no text about what is missing"}
	}
	var out []string
	for _, command := range aCommand.FindAllString(v.Fix, -1) {
		if b := blanks.FindAllString(command, -1); b != nil {
			out = append(out, fmt.Sprintf("the command has blanks %v: %s", b, command))
		}
	}
	if strings.Contains(v.Fix, "--prune") {
		out = append(out, "it removes every image that no container uses, on a node that cannot pull them again: "+v.Fix)
	}
	if m := setImage.FindStringSubmatch(v.Fix); m != nil && !blanks.MatchString(m[1]) {
		out = append(out, s.examineAgain("set image", sub, m[1])...)
	}
	if m := restart.FindStringSubmatch(v.Fix); m != nil && m[1] == "containerd" && sub.machine != s.w.common {
		sub.machine.restart(s.t, sub.machine.spec.env...)
		out = append(out, s.examineAgain("systemctl restart containerd", sub, sub.image)...)
	}
	if strings.Contains(v.Fix, "NO_PROXY") && sub.machine != s.w.common {
		out = append(out, s.applyNoProxy(sub, v)...)
	}
	if m := hostsFile.FindString(v.Fix); m != "" {
		out = append(out, s.applyHostsFile(sub, v, m)...)
	}
	return out
}

// applyNoProxy restarts containerd with NO_PROXY for the hosts that the fix names.
func (s *scene) applyNoProxy(sub *subject, v verdict) []string {
	var names []string
	for _, h := range s.hosts {
		if strings.Contains(v.Fix, h.name) {
			names = append(names, h.name)
		}
	}
	env := sub.machine.spec.env
	sub.machine.restart(s.t, append(slices.Clone(env), "NO_PROXY="+strings.Join(names, ","))...)
	defer sub.machine.restart(s.t, env...)
	return s.examineAgain("NO_PROXY="+strings.Join(names, ","), sub, sub.image)
}

// applyHostsFile writes the file of a fix that names a host as http:// or an authority.
func (s *scene) applyHostsFile(sub *subject, v verdict, file string) []string {
	domain, _, _ := strings.Cut(sub.image, "/")
	root, named := "", configPath.FindStringSubmatch(cmp.Or(sub.machine.spec.config, containerdConfig))
	if named != nil {
		root = named[1]
	}
	if filepath.Dir(filepath.Dir(file)) != root {
		return []string{fmt.Sprintf("containerd does not read %s: its config_path is %q", file, root)}
	}
	if dir := filepath.Base(filepath.Dir(file)); dir != domain && dir != "_default" {
		return []string{fmt.Sprintf("containerd does not read %s for an image of %s", file, domain)}
	}
	path := filepath.Join(sub.machine.dir, file)
	old, err := os.ReadFile(path)
	if err == nil {
		defer os.WriteFile(path, old, 0o644)
	} else {
		defer os.RemoveAll(filepath.Dir(path))
	}
	text := ""
	switch u := plainURL.FindString(v.Fix); {
	case v.Cause == "MirrorFaulty" && old != nil && u == "": // without the mirror
		text = fmt.Sprintf("server = \"https://%s\"\n", domain)
	case u != "" && old != nil:
		text = strings.ReplaceAll(string(old), strings.Replace(u, "http", "https", 1), u)
	case u != "":
		text = fmt.Sprintf("server = %q\n[host.%[1]q]\n", u) // containerd before 1.7.32 requires the table
	case sub.ca != nil && strings.Contains(v.Fix, "ca ="):
		pem := filepath.Dir(file) + ".pem"
		must(s.t, writeFiles(sub.machine.dir, map[string]string{pem: string(sub.ca)}))
		if old != nil {
			text = strings.ReplaceAll(string(old), "capabilities", fmt.Sprintf("ca = %q\n  capabilities", pem))
		} else {
			text = fmt.Sprintf("server = \"https://%s\"\n[host.\"https://%[1]s\"]\nca = %q\n", domain, pem)
		}
	default:
		return nil // it names the file only
	}
	must(s.t, writeFiles(filepath.Dir(path), map[string]string{"hosts.toml": text}))
	return s.examineAgain(file, sub, sub.image)
}

// applySecret makes the secret that the fix prints, with the login that the row's own fix
// found to be right.
func (s *scene) applySecret(sub *subject, v verdict, image string) []string {
	m := createSecret.FindStringSubmatch(v.Fix)
	if m == nil || sub.auth == nil || v.Fault == "none" {
		return nil
	}
	if blanks.MatchString(m[1]) {
		return []string{"a secret for no registry: " + m[0]}
	}
	with := *sub
	with.secret = dockerConfig(m[1], sub.auth)
	return s.examineAgain(m[0], &with, image)
}

// examineAgain returns a problem unless the image is Healthy now.
func (s *scene) examineAgain(what string, sub *subject, image string) []string {
	s.log.setFixing(true)
	defer s.log.setFixing(false)
	d := s.check(sub, image)
	if !d.healthy() {
		// A failed pull can leave data that makes containerd's next ones fail, until its
		// garbage collector removes it, which runs after some hundred changes.
		const most = 100
		for range most {
			p := s.pull(sub, image, hangTime)
			if p.code == codes.OK {
				sub.machine.remove(s.t, image)
			}
			if !strings.Contains(p.message, "unexpected commit digest") {
				break
			}
		}
		d = s.check(sub, image)
	}
	for _, h := range s.hosts {
		h.takeCost()
	}
	if d.healthy() {
		return nil
	}
	return []string{"after " + what + " it is not Healthy: " + d.String()}
}

func (d diagnosis) healthy() bool { return d.Verdict.Fault == "none" && d.Verdict.Cause == "Healthy" }

func (l *accessLog) setFixing(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fixing = on
}
