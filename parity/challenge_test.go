package parity

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	"github.com/google/go-cmp/cmp"

	"github.com/pullprobe/pullprobe/probes/answers"
)

// containerdChallenge is answers.ReadChallenge on containerd's own parser.
func containerdChallenge(h http.Header) (answers.Challenge, bool) {
	for _, c := range auth.ParseAuthHeader(h) {
		switch c.Scheme {
		case auth.BearerAuth:
			p := c.Parameters
			ch := answers.Challenge{Bearer: true, Realm: p["realm"], Service: p["service"], Problem: p["error"]}
			if p["scope"] != "" {
				ch.Scopes = strings.Split(p["scope"], " ")
			}
			return ch, true
		case auth.BasicAuth:
			return answers.Challenge{}, true
		}
	}
	return answers.Challenge{}, false
}

// containerdTokenOnly is answers.WantsTokenOnly on containerd's own parser.
func containerdTokenOnly(h http.Header) bool {
	all := auth.ParseAuthHeader(h)
	return len(all) > 0 && !slices.ContainsFunc(all, func(c auth.Challenge) bool { return c.Scheme != auth.BearerAuth })
}

func FuzzChallengeLikeContainerd(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://a.lab/token",service="s",scope="repository:a:pull repository:b:pull"`,
		`bearer realm="https://a.lab/token", error="insufficient_scope"`,
		`BEARER REALM=token , service="a\"b\\c",scope=`,
		`Bearer realm="a", Basic realm="b"`,
		`Bearer realm="no end`,
		`Bearer realm="\`,
		`Bearer realm="a"service="b"`,
		`Bearer realm = "a"`,
		`Bearer,realm="a"`,
		`Bearer realm="a",,service="b"`,
		`Bearer realm="a",service=,error="c"`,
		`Bearer realm="a",realm="b"`,
		"Bearer\trealm=\"a\"\r\n,\vservice=b",
		`Bearer "realm"="a"`,
		`Bearer réalm="a"`,
		`Bearer realm="é",service=é`,
		`Digest realm="a"`,
		`Basic`,
		`Negotiate abc==`,
		` Bearer realm="a"`,
		``,
	} {
		f.Add(seed, `Basic realm="x"`)
		f.Add(seed, ``)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		h := http.Header{"Www-Authenticate": {first, second}}
		got, ok := answers.ReadChallenge(h)
		want, wantOK := containerdChallenge(h)
		if diff := cmp.Diff(want, got); diff != "" || ok != wantOK {
			t.Errorf("%q: %v, containerd %v (-containerd +probes):\n%s", h, ok, wantOK, diff)
		}
		if got, want := answers.WantsTokenOnly(h), containerdTokenOnly(h); got != want {
			t.Errorf("%q: token only: %v, containerd %v", h, got, want)
		}
	})
}
