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

	"google.golang.org/grpc/codes"
)

// access is one request to a host of a row, with what it was answered.
type access struct {
	by           client
	exam         int  // the number of the examination, for requests of pullprobe
	fixed        bool // the row's fault is fixed
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
	byAnyone   client = "anyone, while a printed fix is tried" // not compared
)

// accessLog has every request to the hosts of a row.
type accessLog struct {
	mu      sync.Mutex
	entries []access
	exams   int
	pulling int                        // pulls of the row itself that run now
	fixing  bool                       // a printed fix is tried
	fixed   bool                       // the row's fault is fixed
	down    map[string]bool            // hosts that do not serve containerd, see wouldGive
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
	case l.fixing:
		return byAnyone
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
	for _, c := range answered.Values("WWW-Authenticate") {
		m := realmInChallenge.FindStringSubmatch(c)
		if m == nil {
			continue
		}
		realm, err := url.Parse(m[1])
		if err != nil {
			continue
		}
		if l.refers == nil {
			l.refers = map[string]map[string]bool{}
		}
		if l.refers[host] == nil {
			l.refers[host] = map[string]bool{}
		}
		l.refers[host][strings.TrimSuffix(realm.Host, ":443")] = true
	}
	a := access{by: by, exam: l.exams, fixed: l.fixed, host: host, method: r.Method, path: r.URL.Path, status: status}
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

// gift is a login that a client gave to a host for a realm.
type gift struct {
	host, realm, user, secret string
	fixed                     bool
}

func (a access) gift() gift { return gift{a.host, a.realm, a.user, a.secret, a.fixed} }

// foreignGifts returns the logins that pullprobe, or a test pull for it, gave, and that
// containerd gave to no such host and realm in the row's own pulls: those before the fix
// for examinations before it, those after it for the others.
func (l *accessLog) foreignGifts() (out []access) {
	l.mu.Lock()
	defer l.mu.Unlock()
	given, ran := map[gift]bool{}, map[bool]bool{}
	for _, a := range l.entries {
		if a.by == byRuntime {
			given[a.gift()], ran[a.fixed] = true, true
		}
	}
	for _, a := range l.entries {
		g := a.gift()
		if !ran[g.fixed] { // containerd did not run
			g.fixed = true
		}
		if (a.by == byProduct || a.by == byTestPull) && a.realm != "" && !given[g] {
			out = append(out, a)
		}
	}
	return out
}

// loginProblems returns the logins that were given to a host and realm to which containerd
// never gives them, and each password that one examination gave a realm again that had
// refused it.
func (l *accessLog) loginProblems() []string {
	var out []string
	for _, a := range l.foreignGifts() {
		out = append(out, fmt.Sprintf("%s gave the login of %q to %s (%s), containerd never does", a.by, a.user, a.host, a.realm))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	refused := map[string]int{}
	for _, a := range l.entries {
		basic := a.realm == "Basic"
		if a.by == byProduct && a.realm != "" && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && !basic) {
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

// isDown reports whether a host does not serve containerd now.
func (l *accessLog) isDown(host string, by client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down[host] && by == byRuntime
}

// tryHosts makes containerd pull again for each login that it did not give so far, while
// all hosts fail that the login has nothing to do with. So it comes to the hosts that it
// would request after them.
func (s *scene) tryHosts(sub *subject, image string) {
	tried := map[string]bool{}
	for _, a := range s.log.foreignGifts() {
		if a.fixed != s.log.fixed || tried[a.host] {
			continue
		}
		tried[a.host] = true
		s.log.mu.Lock()
		s.log.down = map[string]bool{}
		for _, h := range s.hosts {
			name := h.String()
			s.log.down[name] = name != a.host && !s.log.refers[name][a.host] && !s.log.refers[a.host][name]
		}
		s.log.mu.Unlock()
		if p := s.pull(sub, image, hangTime); p.code == codes.OK {
			sub.machine.remove(s.t, image)
		}
		s.log.mu.Lock()
		s.log.down = nil
		s.log.mu.Unlock()
	}
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
