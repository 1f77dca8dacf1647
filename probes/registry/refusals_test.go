package registry

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
	"github.com/pullprobe/pullprobe/probes/probetest"
	"github.com/pullprobe/pullprobe/probes/reference"
	"github.com/pullprobe/pullprobe/report"
)

// A rejected password is not sent again, whether the registry or the token service
// rejected it; the next one is sent.
func TestRejectedLoginIsNotRepeated(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	n := newProber(t, ca, nil)
	wrong := credentials.Credential{Username: "joe", Password: "canary-wrong", Source: "secret a/wrong"}
	good := credentials.Credential{Username: "joe", Password: "canary-secret", Source: "secret a/good"}
	reg := probetest.NewRegistry(t)
	cert := ca.Good(t, "r.lab")
	var basicLog, tokenLog recorder
	service := probetest.Serve(t, ptr(ca.Good(t, "auth.lab")), tokenService(&tokenLog))
	for _, tt := range []struct {
		name, host string
		log        *recorder
		request    string // the one that carries the password
	}{
		{"basic", fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, basicLog.wrap(basicAuth("joe", "canary-secret", reg)))), &basicLog, "HEAD /v2/app/manifests/1 Basic"},
		{"token", fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, tokenAuth(fmt.Sprintf("https://auth.lab:%d/token", service), reg))), &tokenLog, "GET /token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var token report.Check
			target := Target{Image: tt.host + "/app:1", Credentials: []credentials.Credential{wrong}, Platform: "linux/amd64", Refusals: &credentials.RejectionCache{TTL: func() time.Duration { return time.Minute }}}
			manifest := func() report.Check {
				t.Helper()
				_, ref := reference.Parse(target.Image)
				checks := Probe(t.Context(), n, ref, target)
				token = report.Find(checks, report.TokenID(tt.host))
				return report.Find(checks, report.ManifestID(tt.host))
			}
			first := manifest()
			firstToken := token
			again := manifest()
			if first.Cause != report.CredentialsRejected || first.Evidence["remembered"] != "" {
				t.Errorf("first: %+v", first)
			}
			if again.Outcome != report.Fail || again.Cause != report.CredentialsRejected || again.Evidence["remembered"] != "true" || again.Evidence["usedCredential"] != "secret a/wrong" {
				t.Errorf("again: %+v", again)
			}
			for key, value := range first.Evidence {
				if again.Evidence[key] != value {
					t.Errorf("again: %s is %q, was %q", key, again.Evidence[key], value)
				}
			}
			if again.Evidence["answeredAt"] == "" || !strings.HasPrefix(again.Summary, first.Summary+" (answered at ") {
				t.Errorf("again: %s", again.Summary)
			}
			if token.Outcome != firstToken.Outcome || token.Cause != firstToken.Cause || token.Summary != firstToken.Summary ||
				!maps.Equal(token.Evidence, firstToken.Evidence) {
				t.Errorf("token: %+v, was %+v", token, firstToken)
			}
			target.Image = tt.host + "/other:1"
			if c := manifest(); c.Cause != report.CredentialsRejected || c.Evidence["remembered"] != "true" || c.Evidence["answeredAt"] != "" {
				t.Errorf("for another image: %+v", c)
			}
			target.Image = tt.host + "/app:1"
			if got := tt.log.count(tt.request); got != 1 {
				t.Errorf("the password was sent %d times: %q", got, tt.log.all())
			}
			target.Credentials = []credentials.Credential{wrong, good}
			if c := manifest(); c.Outcome != report.Pass || c.Evidence["usedCredential"] != "secret a/good" {
				t.Errorf("with a good one: %+v", c)
			}
			if got := tt.log.count(tt.request); got != 2 {
				t.Errorf("passwords were sent %d times: %q", got, tt.log.all())
			}
		})
	}
}

// A login that hosts.toml adds is sent with the runtime's own request only: once, if the
// registry rejects it.
func TestRejectedLoginOfHostsTomlIsSentOnce(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab")
	var log recorder
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(basicAuth("joe", "canary-secret", probetest.NewRegistry(t)))))
	n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": fmt.Sprintf(
		"[host.\"https://%[1]s\"]\n[host.\"https://%[1]s\".header]\nAuthorization = \"Basic canary-wrong\"\n", host)})
	c := probetest.Want(t, probe(t, n, host+"/app:1"), "manifest/"+host, report.Fail, report.CredentialsRejected, "loginInHosts=true")
	if strings.Contains(c.Summary, "canary") {
		t.Error(c.Summary)
	}
	if head, get := log.count("HEAD /v2/app/manifests/1 Basic"), log.count("GET /v2/ Basic"); head != 1 || get != 0 {
		t.Errorf("the password was sent %d + %d times: %q", head, get, log.all())
	}
}

// containerd's own credentials go to their host only.
func TestCredentialOfOneHost(t *testing.T) {
	ca := probetest.NewAuthority(t, nil)
	cert := ca.Good(t, "r.lab", "m.lab")
	var mirrorLog, log recorder
	mirror := fmt.Sprintf("m.lab:%d", probetest.Serve(t, &cert, mirrorLog.wrap(basicAuth("joe", "canary-secret", probetest.NewRegistry(t)))))
	host := fmt.Sprintf("r.lab:%d", probetest.Serve(t, &cert, log.wrap(basicAuth("joe", "canary-secret", probetest.NewRegistry(t)))))
	n := newProber(t, ca, map[string]string{"/etc/containerd/certs.d/" + host + "/hosts.toml": "[host.\"https://" + mirror + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"})
	for _, tt := range []struct {
		only         string
		mirror, host report.Outcome
	}{{"", report.Pass, report.Pass}, {host, report.Fail, report.Pass}, {mirror, report.Pass, report.Fail}} {
		c := probe(t, n, host+"/app:1", credentials.Credential{Username: "joe", Password: "canary-secret", Source: "runtime config", Host: tt.only})
		if c["manifest/"+mirror].Outcome != tt.mirror || c["manifest/"+host].Outcome != tt.host {
			t.Errorf("for %q: mirror %s, registry %s", tt.only, c["manifest/"+mirror].Outcome, c["manifest/"+host].Outcome)
		}
		for id, check := range c {
			if strings.Contains(fmt.Sprint(check), "canary") {
				t.Errorf("a secret in %s", id)
			}
		}
	}
}
