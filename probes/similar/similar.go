package similar

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// maxName bounds a tag, and a repository that is compared with others.
const maxName = 128

// Tags returns those of tags that may have been meant by tag, the likeliest first:
// with another case, leading v or separator only; with a typo among its letters; with
// an additional patch level or variant, the newest first; without one that tag has.
// near are other versions, which are no typo.
func Tags(tag string, tags []string) (meant, near []string) {
	type candidate struct {
		tag   string
		class int
		worse int // within its class
	}
	var found []candidate
	for _, t := range tags {
		if t == tag || t == "" || len(t) > maxName || len(tag) > maxName || !isTag(t) {
			continue
		}
		d := distance(tag, t)
		switch {
		case spelling(t) == spelling(tag):
			found = append(found, candidate{t, 1, d})
		case d <= 2 && d < len(tag) && misspelt(tag, t):
			found = append(found, candidate{t, 2, d})
		case extends(t, tag):
			found = append(found, candidate{t, 3, variantsIn(t)})
		case extends(tag, t):
			found = append(found, candidate{t, 4, -len(t)})
		case d <= 2 && d < len(tag):
			found = append(found, candidate{t, 5, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		if c := cmp.Or(a.class-b.class, a.worse-b.worse); c != 0 || a.class != 3 {
			return c
		}
		return compareVersions(b.tag, a.tag)
	})
	for _, c := range found {
		if c.class < 5 {
			meant = append(meant, c.tag)
		} else {
			near = append(near, c.tag)
		}
	}
	return meant, near
}

// spelling returns a name without what people often write differently.
func spelling(s string) string {
	s = strings.NewReplacer("_", "-", ".", "-", "/", "-").Replace(strings.ToLower(s))
	if len(s) > 1 && s[0] == 'v' && '0' <= s[1] && s[1] <= '9' {
		s = s[1:]
	}
	return s
}

// digits returns the digits of s.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// extends reports whether long is short with an additional part.
func extends(long, short string) bool {
	rest, ok := strings.CutPrefix(spelling(long), spelling(short))
	return ok && strings.HasPrefix(rest, "-")
}

// variantsIn returns how many parts of a tag are words, not numbers.
func variantsIn(tag string) int {
	n := 0
	for part := range strings.SplitSeq(spelling(tag), "-") {
		if digits(part) != part {
			n++
		}
	}
	return n
}

// compareVersions compares part by part, numbers as numbers.
func compareVersions(a, b string) int {
	x, y := strings.Split(spelling(a), "-"), strings.Split(spelling(b), "-")
	for i := range min(len(x), len(y)) {
		p, q := x[i], y[i]
		if digits(p) == p && digits(q) == q {
			p, q = strings.TrimLeft(p, "0"), strings.TrimLeft(q, "0")
			if c := len(p) - len(q); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(p, q); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// GuessTags returns tags that may have been meant, for a registry whose list is not
// available or not complete.
func GuessTags(tag string) []string {
	var out []string
	if distance(strings.ToLower(tag), "latest") <= 2 {
		out = append(out, "latest")
	}
	if lower := strings.ToLower(tag); lower != tag {
		out = append(out, lower)
	}
	switch s := spelling(tag); {
	case s == "" || s[0] < '0' || s[0] > '9':
	case tag[0] == 'v' || tag[0] == 'V':
		out = append(out, tag[1:])
	default:
		out = append(out, "v"+tag)
	}
	if i := strings.LastIndex(tag, "-"); i > 0 {
		out = append(out, tag[:i])
	}
	return out
}

// Valid returns the tag if it is a valid one, else nothing.
func Valid(tag string) string {
	if !isTag(tag) {
		return ""
	}
	return tag
}

// isTag reports whether s, from a registry's list, is a valid tag: a suggestion is
// part of a command that people copy.
func isTag(s string) bool { return anchoredTag.MatchString(s) }

// isPath reports whether s, from a registry's list, is a valid repository.
func isPath(s string) bool {
	named, err := reference.WithName("registry.example/" + s)
	return err == nil && reference.Path(named) == s
}

var anchoredTag = regexp.MustCompile(`^` + reference.TagRegexp.String() + `$`)

// Repositories returns those of paths that may have been meant by path.
func Repositories(path string, paths []string) []string {
	rank := func(p string) int {
		if len(p) > maxName || len(path) > maxName || !isPath(p) {
			return 0
		}
		_, last := cutLast(path)
		_, other := cutLast(p)
		switch d := distance(path, p); {
		case spelling(p) == spelling(path):
			return 1
		case d <= 2 && d < len(last) && misspelt(path, p):
			return 1 + d
		case last == other:
			return 4 // in another project
		}
		return 0
	}
	var out []string
	for r := 1; r <= 4; r++ {
		for _, p := range paths {
			if rank(p) == r {
				out = append(out, p)
			}
		}
	}
	return out
}

// misspelt reports whether name may be other with one slip: in one word, where a short word
// has room for one letter and a long one for two; or one separator or letter between words.
// Names that differ in a number, or in a word of one or two letters, are two things: app1
// and app2, team-a and team-b; so are two of three letters, such as api and app.
func misspelt(name, other string) bool {
	if digits(name) != digits(other) {
		return false
	}
	words, others := inWords(name), inWords(other)
	if len(words) != len(others) {
		return distance(strings.Join(words, ""), strings.Join(others, "")) <= 1
	}
	slips := 0
	for i, word := range words {
		d := distance(word, others[i])
		switch n := len(others[i]); {
		case d == 0:
			continue
		case d > 2, d == 2 && n < longWord, n <= 2 && len(word) <= 2, n <= 3 && len(words) == 1:
			return false
		}
		slips++
	}
	return slips == 1
}

// ShortRepository returns the one of paths that may have been meant by a name of one short
// word: with a letter more, a letter less, or two letters swapped. Two short words with other
// letters, such as api and app, are two things. It is empty if there is none, or more than one.
func ShortRepository(path string, paths []string) string {
	meant := ""
	for _, p := range paths {
		switch {
		case p == meant || !isPath(p) || !shortSlip(path, p):
		case meant != "":
			return ""
		default:
			meant = p
		}
	}
	return meant
}

// shortSlip reports whether two words, one of three letters and the other of two to four,
// differ in one letter more, or in the order of two.
func shortSlip(name, other string) bool {
	short, long := min(len(name), len(other)), max(len(name), len(other))
	if short < 2 || short > 3 || long < 3 || len(inWords(name)) != 1 || len(inWords(other)) != 1 || digits(name) != digits(other) {
		return false
	}
	return distance(name, other) == 1 && (short != long || sorted(name) == sorted(other))
}

func sorted(s string) string { return string(slices.Sorted(slices.Values([]byte(s)))) }

// longWord is how many letters a word has at least in which two may be wrong.
const longWord = 8

// inWords splits a name at what separates the words of a tag or a repository.
func inWords(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("/-_.", r) })
}

// GuessRepositories returns repositories that may have been meant, for a registry
// that shows no list of them.
func GuessRepositories(domain, path string) []string {
	project, name := cutLast(path)
	in := func(name string) string { return strings.TrimPrefix(project+"/"+name, "/") }
	var out []string
	if domain == "docker.io" && project == "library" {
		for _, official := range officialImages() {
			if distance(name, official) <= 2 && len(name) > 3 {
				out = append(out, in(official))
			}
		}
	}
	switch {
	case strings.Contains(name, "_"):
		out = append(out, in(strings.ReplaceAll(name, "_", "-")))
	case strings.Contains(name, "-"):
		out = append(out, in(strings.ReplaceAll(name, "-", "_")))
	}
	if singular, ok := strings.CutSuffix(name, "s"); ok && singular != "" {
		out = append(out, in(singular))
	} else {
		out = append(out, in(name+"s"))
	}
	switch {
	case domain == "docker.io":
	case project == "":
		out = append(out, "library/"+name)
	default:
		out = append(out, name)
	}
	return out
}

func cutLast(path string) (project, name string) {
	if i := strings.LastIndex(path, "/"); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// officialImages returns the images of Docker Hub that are misspelt most.
func officialImages() []string {
	return []string{
		"alpine", "busybox", "centos", "debian", "elasticsearch", "fedora", "golang", "grafana", "haproxy", "hello-world",
		"httpd", "influxdb", "kibana", "mariadb", "memcached", "mongo", "mysql", "nats", "nginx", "node",
		"openjdk", "php", "postgres", "python", "rabbitmq", "redis", "registry", "ruby", "rust", "tomcat",
		"traefik", "ubuntu", "vault", "wordpress", "zookeeper",
	}
}

// distance returns how many bytes were inserted, left out, replaced or swapped with
// their neighbour between a and b (optimal string alignment).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
