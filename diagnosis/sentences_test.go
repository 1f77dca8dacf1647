package diagnosis_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// textOf returns what people read of these checks, in one line.
func textOf(checks []Check) string {
	var b strings.Builder
	Diagnosis{Image: host + "/app:1", Verdict: Diagnose(checks), Checks: checks}.Text(&b)
	return strings.Join(strings.Fields(b.String()), " ")
}

// atPort returns the checks of the registry at another port than 443.
func atPort(checks []Check) []Check {
	var out []Check
	for _, c := range checks {
		c.ID, c.BlockedBy = strings.ReplaceAll(c.ID, host, host+":5000"), strings.ReplaceAll(c.BlockedBy, host, host+":5000")
		c.Host += ":5000"
		if c.ID == "reference" {
			c.Evidence["domain"] += ":5000"
		}
		out = append(out, c)
	}
	return out
}

// What is printed fits the evidence: the host, the layers' host, the alert, the
// credential.
func TestSentencesFitTheEvidence(t *testing.T) {
	const cdn = "cdn.example"
	layers := func(inner Cause, edits ...edit) []Check {
		edits = append([]edit{ev("innerCause", string(inner), "blobHost", cdn)}, edits...)
		return all(reported(inner, BlobHostUnreachable), ladder("", ""), check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, edits...))
	}
	alert := func(text string) []Check {
		return all(reported(TLSHandshakeFailed), ladder(KindTLS, TLSHandshakeFailed, ev("alert", text)))
	}
	login := func(cause Cause, source string) []Check {
		return all(check("pull", KindPull, Fail, cause), check("credentials", KindCredentials, Pass, "", ev("node", "read")),
			ladder(KindManifest, cause, ev("usedCredential", source)))
	}
	runtime := func(why, socket string) []Check {
		return all(check("runtime", KindRuntime, Fail, RuntimeUnavailable, ev("why", why), func(c *Check) { c.Target = socket }))
	}
	config := func(file, reason string) []Check {
		return all(reported(RuntimeConfigInvalid), ladder(KindTLS, CertificateUntrusted),
			check("hosts/"+host, KindRuntime, Fail, RuntimeConfigInvalid, ev("file", file, "reason", reason, "ignored", "true")))
	}
	detour := func(cause Cause, fails Kind) []Check {
		return append([]Check{check("reference", KindReference, Pass, "", ev("domain", "elsewhere.lab", "path", "app", "tag", "1"))},
			append(all(reported(cause), ladder(fails, cause))[1:], check("dns/"+host+"/10.0.0.1:53", KindDNS, Fail, HostNotFound),
				check("hosts/elsewhere.lab", KindRuntime, Pass, "", ev("file", "/etc/x/hosts.toml", "order", host)))...)
	}
	cut := with(with(reported(ConnectionReset), ev("step", "blob")), saying("unexpected EOF"))
	for _, tt := range []struct {
		name      string
		checks    []Check
		has, lack []string
	}{
		{"one port", atPort(all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "likely")))),
			[]string{"-connect registry.example:5000"}, []string{"5000:443"}},
		{"layers forbidden", layers(AccessForbidden, ev("status", "403")),
			[]string{"cdn.example answers 403"}, []string{"firewall, proxy, DNS"}},
		{"layers of an unknown CA", layers(CertificateUntrusted),
			[]string{"add the CA that signed the certificate of cdn.example to the trust store"}, []string{"firewall, proxy, DNS"}},
		{"layers from a portal", layers(Undetermined, ev("contentType", "text/html")),
			[]string{"web page instead of cdn.example"}, []string{"firewall, proxy, DNS"}},
		{"layers without a name", layers(HostNotFound), []string{"make cdn.example resolve"}, []string{"firewall, proxy, DNS"}},
		{"a mirror cuts layers off", all(cut, onHost(mirror, pullable()), onHost(host, pullable())),
			[]string{"mirror " + mirror + " sends bad layers: unexpected EOF; the runtime does not try the upstream then"}, []string{"as seen by"}},
		{"certificate required", alert("tls: certificate required"),
			[]string{"fix registry.example requires a client certificate"}, []string{"instead of a TLS server"}},
		{"TLS too old", alert("tls: protocol version not supported"),
			[]string{"enable TLS 1.2 or newer on registry.example"}, []string{"instead of a TLS server"}},
		{"another alert", alert("tls: handshake failure"), []string{"why it rejects TLS"}, []string{"instead of a TLS server"}},
		{"secret known", login(CredentialsRejected, "secret shop/quay"),
			[]string{"into secret shop/quay;", "kubectl -n shop create secret docker-registry quay "}, []string{"of namespace", "SECRET"}},
		{"login in a file", login(CredentialsRejected, "file /auth.json"),
			[]string{"into file /auth.json"}, []string{"kubectl", "of namespace"}},
		{"expired secret", login(CredentialsExpired, "secret shop/quay"), []string{"in secret shop/quay "}, []string{"of namespace"}},
		{"forbidden file", login(AccessForbidden, "file /auth.json"), []string{"to the account in file /auth.json"}, []string{"pull secret"}},
		{"layer cut off", all(cut, pullable()),
			[]string{"pull the image on another node: if it fails there too, registry.example is"}, []string{"curl"}},
		{"layer cut off elsewhere", set(all(cut, pullable()), "blob/"+host, "blobHost", cdn),
			[]string{"if it fails there too, cdn.example is", "connection to cdn.example is reset"}, []string{"curl"}},
		{"layers on the node itself", set(layers(ConnectionRefused), "blob/"+host, "blobHost", "127.0.0.1:9"),
			[]string{"which is the node itself"}, []string{"curl"}},
		{"a host that only hosts.toml names has no address", detour(HostNotFound, KindDNS),
			[]string{"on this node: check whether /etc/x/hosts.toml should send pulls of elsewhere.lab to " + host + "; if not, correct it; if so, make"},
			[]string{"intended name", "to confirm"}},
		{"a host that only hosts.toml names refuses", detour(ConnectionRefused, KindDial),
			[]string{"on this node: check whether /etc/x/hosts.toml should send pulls of elsewhere.lab to " + host + "; if not, correct it; if so, from another node: curl"}, nil},
		{"runtime of k3s", runtime("refused", "/run/k3s/containerd/containerd.sock"), []string{"systemctl restart k3s"}, nil},
		{"runtime without CRI", runtime("unimplemented", "/run/containerd/containerd.sock"),
			[]string{"disabled_plugins"}, []string{"systemctl"}},
		{"runtime without CRI by its configuration", all(runtime("unimplemented", "/run/containerd/containerd.sock"),
			check("runtime/config.toml", KindRuntime, Fail, RuntimeConfigInvalid, ev("file", "/etc/c.toml", "reason", "both are set"))),
			[]string{"correct /etc/c.toml (both are set), and restart"}, []string{"disabled_plugins"}},
		{"a table that is ignored", set(config("/etc/a/hosts.toml", `[plugins."io.containerd.grpc.v1.cri"] of /etc/c.toml is ignored: of no version`),
			"hosts/"+host, "remedy", "put version = 2 at the top of /etc/c.toml"),
			[]string{"put version = 2 at the top of /etc/c.toml; then", "restart"}, []string{"correct /etc/a"}},
		{"a CA file that is missing", config("/etc/x.pem", "the ca file cannot be read (ENOENT)"),
			[]string{"create /etc/x.pem, or remove it from"}, nil},
		{"an empty CA file", config("/etc/x.pem", "the ca file holds no certificate"), []string{"correct /etc/x.pem, or remove it from"}, nil},
		{"two directories", config("/etc/a/hosts.toml", `config_path is "/etc/a:/etc/b"`), []string{"name one directory in config_path"}, nil},
		{"no route", editedAt(all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable)), 3,
			func(c *Check) { c.Target = "192.0.2.1:443" }),
			[]string{"ip route get 192.0.2.1"}, nil},
		{"no route for IPv4", editedAt(all(reported(NetworkUnreachable), ladder(KindDial, NetworkUnreachable, onlyIPv6)), 3,
			func(c *Check) { c.Target = "192.0.2.1:443" }),
			[]string{"use a registry or a mirror with IPv6 addresses, or give", "a route to IPv4 addresses", "ip route get 192.0.2.1"}, nil},
		{"rate limit", all(reported(RateLimited), ladder(KindManifest, RateLimited, ev("retryAfter", "60"))),
			[]string{"wait 1 min: the kubelet pulls again on its own, within 5 min. If ", "limits it again, waiting does not help"}, nil},
		{"an answer without a reason", all(reported(Undetermined), ladder(KindManifest, Undetermined)),
			[]string{"not known yet; to find out: ask the operator of registry.example why it answers so"}, []string{"to confirm"}},
		{"no registry", set(all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("status", "404"))), atRegistry, "status", "404"),
			[]string{"check whether registry.example is the intended name: it returns 404 for every path: curl -i https://registry.example/v2/"}, []string{"ask the operator"}},
	} {
		text := textOf(tt.checks)
		for _, s := range tt.has {
			if !strings.Contains(text, s) {
				t.Errorf("%s: no %q in %s", tt.name, s, text)
			}
		}
		for _, s := range tt.lack {
			if strings.Contains(text, s) {
				t.Errorf("%s: %q in %s", tt.name, s, text)
			}
		}
	}
}

// A reader is told everything once: "to confirm" repeats neither the fix nor what
// was not checked.
func TestTextSaysItOnce(t *testing.T) {
	for _, r := range recordings(t) {
		text := textOf(r.Checks)
		fix, rest, _ := strings.Cut(text[strings.Index(text, " fix ")+1:], " to confirm ")
		for item := range strings.SplitSeq(rest, " to confirm ") {
			item, _, _ = strings.Cut(item, " evidence ")
			if item != "" && strings.Contains(fix, item) {
				t.Errorf("%s: %q is in the fix too", r.Row, item)
			}
		}
		if n := strings.Count(text, "credentials/node"); n > 1 {
			t.Errorf("%s: credentials/node %d times", r.Row, n)
		}
	}
	refused := textOf(all(reported(ConnectionRefused), imagesHere("0"), ladder(KindDial, ConnectionRefused)))
	if !strings.Contains(refused, "(seen; who must act is open)") || !strings.Contains(refused, "fix from another node: curl -v https://registry.example/v2/ if") ||
		strings.Contains(refused, "to confirm") {
		t.Error(refused)
	}
}

// A command can be copied: it has a line of its own, and nothing else is on it. What a reader
// must fill in is in capitals or angle brackets.
func TestCommandsHaveLinesOfTheirOwn(t *testing.T) {
	inProse := regexp.MustCompile(`\b(kubectl|oc|crictl|ctr|curl|openssl|systemctl|journalctl|docker login|docker manifest|getent|df|du|nslookup|dmesg) [a-z{-]`)
	blank := regexp.MustCompile(`[<{][a-z]+[>}]| the `)
	expect := func(what, text string) {
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			switch {
			case !readable.IsCommand(line) && inProse.MatchString(line):
				t.Errorf("%s: a command in prose: %q", what, line)
			case readable.IsCommand(line) && blank.MatchString(line):
				t.Errorf("%s: a blank that is not marked: %q", what, line)
			case readable.IsCommand(line) && strings.ContainsAny(line[len(line)-1:], ".;,:)") && !strings.HasSuffix(line, "=<PASSWORD>"):
				t.Errorf("%s: more than a command: %q", what, line)
			}
		}
	}
	verdict := func(what string, v Verdict) {
		for _, s := range append(slices.Clone(v.WouldDecide), v.Fix) {
			expect(what, s)
		}
	}
	for _, s := range situations() {
		verdict(s.name, Diagnose(s.checks))
	}
	for _, r := range recordings(t) {
		verdict(r.Row, Diagnose(r.Checks))
	}
}

// What is empty because the runtime does not answer is one entry.
func TestNotCheckedWithoutRuntime(t *testing.T) {
	text := textOf(all(check("runtime", KindRuntime, Fail, RuntimeUnavailable), check("runtime/ca", KindTLS, Skipped, ""),
		check("runtime/proxy", KindRuntime, Skipped, ""), check("credentials/node", KindCredentials, Skipped, "")))
	const want = "not checked everything that needs the runtime's view (it does not answer)"
	if !strings.Contains(text, want) || strings.Contains(text, "runtime/ca") {
		t.Error(text)
	}
}

// A cause beside a healthy image says where it is.
func TestAlsoSaysWhere(t *testing.T) {
	dead := all(check("pull", KindPull, Pass, ""), onHost(mirror, ladder(KindDial, ConnectionRefused)), onHost(host, pullable()))
	if text := textOf(dead); !strings.Contains(text, "also ConnectionRefused at "+mirror) || !strings.Contains(text, "; does not block the pull") {
		t.Error(text)
	}
}
