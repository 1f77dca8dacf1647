package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/probes/answers"
	"github.com/pullprobe/pullprobe/probes/connect"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/runtimeconfig"
)

// surveyOf checks the hosts of domains, and returns the results by host.
func surveyOf(t *testing.T, n *connect.Prober, domains ...string) map[string]Result {
	t.Helper()
	var places []Place
	for _, d := range domains {
		_, more := Places(n, d)
		places = append(places, more...)
	}
	looks := map[string]Result{}
	for _, l := range Survey(t.Context(), n, places, 8) {
		if _, twice := looks[l.Place.Name()]; twice {
			t.Errorf("%s is looked at twice", l.Place.Name())
		}
		looks[l.Place.Name()] = l
	}
	return looks
}

func checksByID(checks []report.Check) map[string]report.Check {
	out := map[string]report.Check{}
	for _, c := range checks {
		out[c.ID] = c
	}
	return out
}

func TestSurvey(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "mirror.lab", "auth.lab", "blobs.lab")
	var open, closed, mirror, service recorder
	reg := probetest.NewRegistry(t)
	token := fmt.Sprintf("auth.lab:%d", probetest.Serve(t, &cert, service.wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(401) }))))
	a := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, open.wrap(reg)))
	b := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, closed.wrap(tokenAuth("https://joe:canary-secret@"+token+"/token?x=1", reg))))
	m := fmt.Sprintf("mirror.lab:%d", probetest.Serve(t, &cert, mirror.wrap(reg)))
	dir := func(host string) string {
		return "/etc/containerd/certs.d/" + strings.Replace(host, ":", "_", 1) + "_/hosts.toml"
	}
	hosts := fmt.Sprintf("[host.%q]\n[host.%q.header]\nAuthorization = \"Basic canary-secret\"\n", "https://"+m, "https://"+m)
	n := newProber(t, ca, map[string]string{dir(a): hosts, dir(b): hosts, "/etc/containerd/certs.d/_default/hosts.toml": hosts})

	looks := surveyOf(t, n, a, b, runtimeconfig.DefaultDomain)
	for _, host := range []string{a, b, m} {
		probetest.Want(t, checksByID(looks[host].Checks), "registry/"+host, report.Pass, "")
		probetest.Want(t, checksByID(looks[host].Checks), "clock/"+host, report.Pass, "")
	}
	found := looks[token]
	probetest.Want(t, checksByID(found.Checks), "token/"+token, report.Pass, "", "status=401")
	if looks[b].Lead == nil || looks[b].Lead.Host != token || strings.Contains(looks[b].Lead.Realm, "canary") {
		t.Errorf("the token service: lead %+v", looks[b].Lead)
	}
	if len(looks) != 4 {
		t.Errorf("hosts: %v", looks)
	}
	for name, rec := range map[string]*recorder{"open": &open, "closed": &closed, "mirror": &mirror} {
		if got := rec.all(); !slices.Equal(got, []string{"GET /v2/"}) {
			t.Errorf("%s was asked %q", name, got)
		}
	}
	if got := service.all(); len(got) != 1 || strings.Contains(got[0], "scope") || strings.Contains(got[0], "Basic") {
		t.Errorf("the token service was asked %q", got)
	}
	if got := n.Config.ConfiguredDomains(n.Files); !slices.Contains(got, a) || !slices.Contains(got, runtimeconfig.DefaultDomain) {
		t.Errorf("configured: %q", got)
	}

	t.Run("an invalid host is not contacted", func(t *testing.T) {
		for _, host := range []string{strings.Repeat("a.", 200) + "lab", "auth%e2%80%ae.lab", "auth%ff.lab"} {
			if l := leadTo(answers.Challenge{Bearer: true, Realm: "https://" + host + "/token"}, "r.lab"); l != nil {
				t.Errorf("%q", l.Host)
			}
		}
	})
	t.Run("a host of layers gets no request", func(t *testing.T) {
		var rec recorder
		host := fmt.Sprintf("blobs.lab:%d", probetest.Serve(t, &cert, rec.wrap(reg)))
		_, places := Places(n, a)
		looks := Survey(t.Context(), n, []Place{places[1].Behind(Lead{Host: host})}, 1)
		if len(looks) != 1 || looks[0].Place.Name() != host || len(rec.all()) != 0 {
			t.Errorf("%+v, asked %q", looks, rec.all())
		}
		probetest.Want(t, checksByID(looks[0].Checks), fmt.Sprintf("tls/%s/127.0.0.1:%s", host, host[len("blobs.lab:"):]), report.Pass, "")
	})
}

// A host costs one connection and, of one resolver, two queries: sweeps come
// again and again, from every node.
func TestSurveyIsFrugal(t *testing.T) {
	var costs traffic
	n, places := costs.hosts(t, 3, 0, nil)
	for _, l := range Survey(t.Context(), n, places, 3) {
		probetest.Want(t, checksByID(l.Checks), "registry/"+l.Place.Name(), report.Pass, "", "status=401")
	}
	if got := costs.now(); got[0] != 3 || got[3] != 6 || got[1] > 3*3000 {
		t.Errorf("connections, bytes sent and received, queries: %d", got)
	}
}

// Hosts that hang do not delay the others: they hang until all others have answered.
func TestSurveySideBySide(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "*.lab")
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	n := newProber(t, ca, nil)
	const long = 30 * time.Second
	n.Limits = connect.Limits{Overall: long, DNS: long, Dial: long, TLS: long, HTTP: long}
	hang := fmt.Sprint(probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.WriteHeader(http.StatusInternalServerError)
	})))
	t.Cleanup(let) // before the server is closed
	var answered atomic.Int32
	registry := probetest.NewRegistry(t)
	good := fmt.Sprint(probetest.Serve(t, &cert, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		registry.ServeHTTP(w, r)
		if answered.Add(1) == 10 {
			let()
		}
	})))
	var domains []string
	for i := range 40 {
		port := hang
		if i%4 == 0 {
			port = good
		}
		domains = append(domains, fmt.Sprintf("h%d.lab:%s", i, port))
	}
	var places []Place
	for _, d := range domains {
		_, p := Places(n, d)
		places = append(places, p...)
	}
	looks := Survey(t.Context(), n, places, len(places))
	if len(looks) != 40 {
		t.Fatalf("%d looks", len(looks))
	}
	for i, l := range looks {
		outcome := checksByID(l.Checks)["registry/"+domains[i]].Outcome
		if (i%4 == 0) != (outcome == report.Pass) {
			t.Errorf("%s: %s", l.Place.Name(), outcome)
		}
	}
}

// A recent result of a sweep saves a request, and nothing else.
func TestRecentSweepResult(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	var rec recorder
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, rec.wrap(probetest.NewRegistry(t))))
	n := newProber(t, ca, nil)
	target := func(checks []report.Check) Target {
		return Target{Platform: "linux/amd64", Known: func(host string) (report.Check, time.Duration, bool) {
			return checksByID(checks)["registry/"+host], 3 * time.Second, true
		}}
	}
	_, ref := reference.Parse(host + "/app:1")
	registry := func(checks []report.Check) map[string]report.Check {
		return checksByID(Probe(t.Context(), n, ref, target(checks)))
	}
	seen := surveyOf(t, n, host)[host].Checks
	if got := rec.count("GET /v2/"); got != 1 {
		t.Fatalf("%d requests", got)
	}
	c := registry(seen)
	probetest.Want(t, c, "registry/"+host, report.Pass, "", "ageMs=3000")
	probetest.Want(t, c, "manifest/"+host, report.Pass, "")
	for _, q := range rec.all()[1:] {
		if q == "GET /v2/" {
			t.Error("asked again")
		}
	}

	// A host that was unreachable may be reachable again.
	shut := fmt.Sprintf("shut.lab:%d", probetest.ClosedPort(t))
	seen = surveyOf(t, n, shut)[shut].Checks
	_, ref = reference.Parse(shut + "/app:1")
	for _, check := range registry(seen) {
		if check.Evidence["ageMs"] != "" {
			t.Errorf("taken over: %+v", check)
		}
	}
}
