//go:build matrix

package matrix

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// access is one request to a host of a row, with what it was answered.
type access struct {
	by           client
	exam         int // the number of the examination, for requests of pullprobe
	host         string
	method, path string
	user         string // of the login that the request carried
	secret       string
	realm        string // that the login was given to; empty: the request carried none
	status       int
}

// client is who made a request.
type client string

const (
	byProduct  client = "pullprobe"
	byTestPull client = "containerd, for pullprobe's test pull"
	byRuntime  client = "containerd"
)

// accessLog has every request to the hosts of a row.
type accessLog struct {
	mu      sync.Mutex
	entries []access
	exams   int
	pulling int                        // pulls of the row itself that run now
	refers  map[string]map[string]bool // by host: the hosts of the realms that it named in challenges
}

// tokenIssuers has the host that issued each token.
var tokenIssuers sync.Map

// beginExam begins an examination, and beginPull a pull of the row itself: it is the
// kubelet's. What containerd requests beside it is pullprobe's test pull.
func (l *accessLog) beginExam() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exams++
}

func (l *accessLog) beginPull() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pulling++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pulling--
	}
}

// client returns who makes a request now.
func (l *accessLog) client(r *http.Request) client {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case strings.HasPrefix(r.UserAgent(), productAgent):
		return byProduct
	case l.pulling == 0:
		return byTestPull
	}
	return byRuntime
}

var realmInChallenge = regexp.MustCompile(`(?i)bearer .*realm="([^"]*)"`)

// add adds a request after it was answered.
func (l *accessLog) add(host string, by client, r *http.Request, status int, answered http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := realmInChallenge.FindStringSubmatch(answered.Get("WWW-Authenticate")); m != nil {
		if realm, err := url.Parse(m[1]); err == nil {
			if l.refers == nil {
				l.refers = map[string]map[string]bool{}
			}
			if l.refers[host] == nil {
				l.refers[host] = map[string]bool{}
			}
			l.refers[host][realm.Host] = true
		}
	}
	a := access{by: by, exam: l.exams, host: host, method: r.Method, path: r.URL.Path, status: status}
	a.user, a.secret, a.realm = l.loginOf(host, r)
	l.entries = append(l.entries, a)
}

// loginOf returns the login of a request and the realm that it is given to. A token of a
// service that the host itself refers to is not a login.
func (l *accessLog) loginOf(host string, r *http.Request) (user, secret, realm string) {
	service := "https://" + host + r.URL.Path
	if form := r.PostForm; form != nil {
		if secret := form.Get("password") + form.Get("refresh_token"); secret != "" {
			return form.Get("username"), secret, service
		}
	}
	if user, secret, ok := r.BasicAuth(); ok {
		if strings.HasPrefix(r.URL.Path, "/v2/") {
			service = "Basic"
		}
		return user, secret, service
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if given := r.Header.Get("Authorization"); given != "" {
			return "", given, "a header"
		}
		return "", "", ""
	}
	issuer, known := tokenIssuers.Load(token)
	if name, _ := issuer.(string); !known || !l.refers[host][name] {
		return "", token, "the token of " + fmt.Sprint(issuer)
	}
	return "", "", ""
}

// readForm reads the form of a request, so that handlers can read it too.
func readForm(r *http.Request) {
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t == "application/x-www-form-urlencoded" {
		r.ParseForm()
	}
}

// loginProblems returns the logins that pullprobe, or a test pull for it, gave a host and
// realm that containerd gives none in the row's own pulls: those before and after the fix,
// with the credentials that the kubelet would pass. It also returns each password that one
// examination gave a realm again after the realm had refused it.
func (l *accessLog) loginProblems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	given := map[string]bool{}
	for _, a := range l.entries {
		if a.by == byRuntime && a.realm != "" {
			given[a.host+" "+a.realm] = true
		}
	}
	var out []string
	refused := map[string]int{}
	for _, a := range l.entries {
		if a.realm == "" || a.by == byRuntime {
			continue
		}
		if !given[a.host+" "+a.realm] {
			out = append(out, fmt.Sprintf("%s gave the login of %q to %s (%s), containerd never does", a.by, a.user, a.host, a.realm))
		}
		basic := a.realm == "Basic"
		if a.by == byProduct && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && !basic) {
			realm := a.realm
			if basic {
				realm = a.host
			}
			refused[fmt.Sprintf("examination %d gave the refused password of %q to %s", a.exam, a.user, realm)]++
		}
	}
	for what, n := range refused {
		if n > 1 {
			out = append(out, fmt.Sprintf("%s %d times", what, n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// requested returns how many requests of one client which selects.
func (l *accessLog) requested(by client, which func(access) bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.entries {
		if a.by == by && which(a) {
			n++
		}
	}
	return n
}
