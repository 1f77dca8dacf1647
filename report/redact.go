package report

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a published check may hold, in bytes.
const (
	maxEvidence = 512
	maxSummary  = 400
)

// Redactor is the one place that everything passes before it is published or
// logged. It takes out secrets it knows, whatever looks like a credential, and
// control characters, and bounds the length of every text.
type Redactor struct {
	secrets []string
}

// shortest is the length in bytes from which a secret can be told from a word.
const shortest = 4

// NewRedactor knows these secrets. Texts of fewer than four bytes are left out:
// they would match by accident everywhere. So is a password that is a word of
// every report, such as "registry": the gaps would tell it, and the checks could
// not be read any more.
func NewRedactor(secrets ...string) Redactor { return Redactor{}.With(secrets...) }

// With knows these secrets, too.
func (r Redactor) With(secrets ...string) Redactor {
	r.secrets = slices.Clone(r.secrets)
	words := vocabulary()
	for _, s := range secrets {
		// Also as they read in a text of one line, and with its spaces folded.
		for _, s := range []string{s, plain(s), strings.Join(strings.Fields(plain(s)), " ")} {
			if len(s) >= shortest && !slices.Contains(r.secrets, s) && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, s) }) {
				r.secrets = append(r.secrets, s)
			}
		}
	}
	// The longest first, so that a secret that contains another goes whole.
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	return r
}

// vocabulary are the words that checks are made of, beside what they are about:
// their kinds and ids, the causes, and the facts that rules go by.
func vocabulary() []string {
	words := strings.Fields(`reference pod credentials credentials/account credentials/node credentials/provider runtime runtime/config.toml
		runtime/environment runtime/ca runtime/proxy runtime/sandbox runtime/process local hosts queue disk clock dns dial tls registry token
		manifest image blob pull elsewhere true false absent anonymous basic bearer containerd files hidden hung later likely noSpace
		podListsOwn provider read sandbox unknown unspecified loopback private shared CreateContainerError Always`)
	for _, c := range Catalogue() {
		words = append(words, string(c.Cause))
	}
	return words
}

var (
	userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/@\s"']+@`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`)
	jwt      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`)
	keyed    = regexp.MustCompile(`(?i)\b(password|passwd|token|secret|auth|sig|signature|x-amz-[a-z-]+)=[^&\s"']+`)
)

const removed = "[redacted]"

// Text redacts one text and bounds it to limit bytes (0: no bound).
func (r Redactor) Text(s string, limit int) string {
	s = plain(s) // before anything else: what is invisible must not take a secret apart
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, removed)
	}
	s = r.cutOff(s)
	s = userinfo.ReplaceAllString(s, "${1}"+removed+"@")
	s = bearer.ReplaceAllString(s, "$1 "+removed)
	s = jwt.ReplaceAllString(s, removed)
	s = keyed.ReplaceAllString(s, "$1="+removed)
	return bound(s, limit)
}

// cutOff takes out the beginnings of secrets in texts that were cut short
// before they came here: whoever sends a secret back chooses where it is cut.
func (r Redactor) cutOff(s string) string {
	if len(r.secrets) == 0 {
		return s
	}
	for _, dots := range []string{"…", ellipsis} {
		pieces := strings.Split(s, dots)
		for i := range pieces[:len(pieces)-1] {
			pieces[i] = r.withoutBeginning(pieces[i])
		}
		s = strings.Join(pieces, dots)
	}
	return s
}

// withoutBeginning takes the beginning of a secret from the end of s.
func (r Redactor) withoutBeginning(s string) string {
	for _, secret := range r.secrets {
		for n := min(len(secret)-1, len(s)); n >= shortest; n-- {
			if strings.HasSuffix(s, secret[:n]) {
				return s[:len(s)-n] + removed
			}
		}
	}
	return s
}

// ellipsis is what a text ends with that was cut short here.
const ellipsis = "..."

// plain makes s one line without control characters or invisible ones that
// change how a line reads (bidirectional overrides, for one).
func plain(s string) string {
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\t', c == '\r':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), unicode.Is(unicode.Zl, c), unicode.Is(unicode.Zp, c):
			return -1
		}
		return c
	}, s)
}

// bound cuts s to limit bytes at a rune's edge and says that it did.
func bound(s string, limit int) string {
	if limit <= 0 || len(s) <= limit {
		return s
	}
	cut := max(limit-len(ellipsis), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// Check redacts every text of a check.
func (r Redactor) Check(c Check) Check {
	c.ID, c.Host, c.Target = r.Text(c.ID, maxSummary), r.Text(c.Host, maxSummary), r.Text(c.Target, maxSummary)
	c.Summary, c.BlockedBy = r.Text(c.Summary, maxSummary), r.Text(c.BlockedBy, maxSummary)
	if c.Evidence != nil {
		e := make(map[string]string, len(c.Evidence))
		for k, v := range c.Evidence {
			e[r.Text(k, 64)] = r.Text(v, maxEvidence)
		}
		c.Evidence = e
	}
	return c
}

// Checks redacts a list of checks. Diagnose what comes out of it: then the
// verdict can say nothing that the checks may not.
func (r Redactor) Checks(in []Check) []Check {
	out := make([]Check, len(in))
	for i, c := range in {
		out[i] = r.Check(c)
	}
	return out
}

// Diagnosis redacts a diagnosis. What is in the pod's own specification is no
// secret, even if it is spelt like one, but it is a tenant's text: it is bounded
// and plain. The verdict is drawn from checks that have been through
// [Redactor.Checks].
func (r Redactor) Diagnosis(d Diagnosis) Diagnosis {
	spec := NewRedactor()
	d.Image, d.Asked = spec.Text(d.Image, maxEvidence), spec.Text(d.Asked, 128)
	d.Checks = r.Checks(d.Checks)
	return d
}
