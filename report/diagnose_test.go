package report_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/pullprobe/pullprobe/report"
)

const host = "registry.example"

type edit func(*Check)

func ev(kv ...string) edit {
	return func(c *Check) {
		if c.Evidence == nil {
			c.Evidence = map[string]string{}
		}
		for i := 0; i < len(kv); i += 2 {
			c.Evidence[kv[i]] = kv[i+1]
		}
	}
}

func check(id string, kind Kind, outcome Outcome, cause Cause, edits ...edit) Check {
	c := Check{ID: id, Kind: kind, Host: host, Outcome: outcome, Cause: cause, Summary: "as seen by " + id}
	for _, e := range edits {
		e(&c)
	}
	return c
}

func blocked(id string, kind Kind, by string) Check {
	c := check(id, kind, Skipped, "")
	c.BlockedBy = by
	return c
}

func reference() Check {
	return check("reference", KindReference, Pass, "", ev("domain", host, "path", "app", "tag", "1"))
}

// words is what the kubelet says.
func words(cause Cause, could ...Cause) Check {
	list := ""
	for _, c := range could {
		list += string(c) + ","
	}
	return check("pod", KindPod, Fail, cause, ev("could", list, "namespace", "shop", "name", "web"))
}

// ladder is what the checks of one host come to, up to the one that fails.
func ladder(fails Kind, cause Cause, edits ...edit) []Check {
	rungs := []struct {
		id   string
		kind Kind
	}{
		{"dns/" + host, KindDNS}, {"dial/" + host + "/192.0.2.1:443", KindDial}, {"tls/" + host + "/192.0.2.1:443", KindTLS},
		{"registry/" + host, KindRegistry}, {"manifest/" + host, KindManifest}, {"image/" + host, KindImage},
	}
	var out []Check
	blocker := ""
	for _, r := range rungs {
		switch {
		case blocker != "":
			out = append(out, blocked(r.id, r.kind, blocker))
			blocker = r.id
		case r.kind == fails:
			out = append(out, check(r.id, r.kind, Fail, cause, edits...))
			blocker = r.id
		default:
			out = append(out, check(r.id, r.kind, Pass, ""))
		}
	}
	return out
}

func all(parts ...any) []Check {
	out := []Check{reference()}
	for _, p := range parts {
		switch p := p.(type) {
		case Check:
			out = append(out, p)
		case []Check:
			out = append(out, p...)
		}
	}
	return out
}

func TestDiagnose(t *testing.T) {
	resolver := func(cause Cause) Check {
		return check("dns/"+host+"/192.0.2.53:53", KindDNS, Fail, cause)
	}
	local := func(n string) Check {
		return check("local/"+host, KindImage, Pass, "", ev("count", n))
	}
	tests := []struct {
		name       string
		checks     []Check
		fault      Fault
		cause      Cause
		confidence Confidence
		because    string // first
	}{
		{"both witnesses agree", all(words(TagNotFound), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"words allow for it", all(words(TagNotFound, RepositoryNotFound), ladder(KindManifest, RepositoryNotFound)), FaultConfig, RepositoryNotFound, Confirmed, "manifest/" + host},
		{"checks alone", all(ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"words alone, of a later stage", all(words(LayerCorrupt), ladder("", "")), FaultRegistry, LayerCorrupt, Likely, "pod"},
		{"words that everything contradicts", all(words(ConnectionReset), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
		{"words say nothing, checks pass", all(words(Undetermined), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "pod"},
		{"words say nothing, a check fails", all(words(Undetermined), ladder(KindTLS, CertificateUntrusted)), FaultNode, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"later failure than the words tell", all(words(ConnectionRefused), ladder(KindManifest, TagNotFound)), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},

		{"invalid reference is proven", []Check{check("reference", KindReference, Fail, InvalidReference), words(InvalidReference)}, FaultConfig, InvalidReference, Confirmed, "reference"},
		{"Never is proven", all(check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")), ladder("", "")), FaultConfig, NeverPullNotPresent, Confirmed, "pod"},
		{"Never, but the image is there", all(check("pod", KindPod, Fail, NeverPullNotPresent, ev("proven", "true")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder("", "")), FaultConfig, PresentNotAuthorized, Likely, "pod"},
		{"not a pull problem", all(check("pod", KindPod, Pass, NotAPullProblem), ladder(KindDial, ConnectionRefused)), FaultNone, NotAPullProblem, Confirmed, "pod"},
		{"being created, image on the node", all(check("pod", KindPod, Pass, "", ev("creating", "true")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder("", "")), FaultNone, NotAPullProblem, Likely, "local/" + host},
		{"being created, to be pulled whatever is there", all(check("pod", KindPod, Pass, "", ev("creating", "true", "policy", "Always")), check("local/"+host, KindImage, Pass, "", ev("present", "true")), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Likely, "manifest/" + host},
		{"being created, nothing in the way", all(check("pod", KindPod, Pass, "", ev("creating", "true")), ladder("", "")), FaultUndetermined, Undetermined, Uncertain, "image/" + host},
		{"runtime away", all(words(RuntimeUnavailable), check("runtime", KindRuntime, Fail, RuntimeUnavailable)), FaultNode, RuntimeUnavailable, Confirmed, "runtime"},

		{"refused, seen from here only", all(words(ConnectionRefused), local("0"), ladder(KindDial, ConnectionRefused)), FaultUndetermined, ConnectionRefused, Confirmed, "dial/" + host + "/192.0.2.1:443"},
		{"refused, but pulled from before", all(words(ConnectionRefused), local("3"), ladder(KindDial, ConnectionRefused)), FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"our deadline is shorter than the runtime's", all(words(ConnectionTimeout), local("3"), ladder(KindDial, ConnectionTimeout, ev("deadline", "true"))), FaultNode, ConnectionTimeout, Likely, "dial/" + host + "/192.0.2.1:443"},
		{"nobody resolves the name", all(words(HostNotFound), local("0"), resolver(HostNotFound), ladder(KindDNS, HostNotFound)), FaultConfig, HostNotFound, Likely, "dns/" + host},
		{"one resolver could not say", all(words(HostNotFound), local("0"), resolver(HostNotFound), resolver(ResolverUnreachable), ladder(KindDNS, HostNotFound)), FaultUndetermined, HostNotFound, Confirmed, "dns/" + host},
		{"no such name, but pulled from before", all(words(HostNotFound), local("2"), resolver(HostNotFound), ladder(KindDNS, HostNotFound)), FaultNode, HostNotFound, Likely, "dns/" + host},
		{"a dead resolver beside a good one", all(resolver(ResolverUnreachable), ladder("", ""), check("pull", KindPull, Pass, "")), FaultNone, Healthy, Confirmed, "pull"},
		{"proxy unknown", all(words(ConnectionRefused), check("runtime/proxy", KindRuntime, Skipped, ""), local("1"), ladder(KindDial, ConnectionRefused)), FaultNode, ConnectionRefused, Likely, "dial/" + host + "/192.0.2.1:443"},

		{"secret missing behind a 401", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretMissing, ev("secret", "regcred")), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretMissing, Confirmed, "credentials"},
		{"secret missing, but the tag is too", all(words(TagNotFound), check("credentials", KindCredentials, Fail, PullSecretMissing), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"undecodable secret stops the kubelet", all(words(PullSecretMalformed), check("credentials", KindCredentials, Fail, PullSecretMalformed, ev("fatal", "true")), ladder("", "")), FaultConfig, PullSecretMalformed, Confirmed, "credentials"},
		{"a secret that the kubelet passes over", all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretMalformed), ladder(KindManifest, CredentialsMissing)), FaultConfig, PullSecretMalformed, Confirmed, "credentials"},
		{"secrets may not be read", all(words(CredentialsRejected), check("credentials", KindCredentials, Skipped, ""), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))), FaultConfig, CredentialsRejected, Likely, "manifest/" + host},
		{"rejected password of a node file", all(words(CredentialsRejected), ladder(KindManifest, CredentialsRejected, ev("usedCredential", "node /root/.docker/config.json"))), FaultNode, CredentialsRejected, Confirmed, "manifest/" + host},

		{"a token service that cannot be reached is not its owner's fault yet", all(words(ConnectionTimeout, TokenServiceFailed), ladder(KindManifest, TokenServiceFailed, ev("innerCause", "ConnectionTimeout"))), FaultUndetermined, TokenServiceFailed, Likely, "manifest/" + host},
		{"a token service that answers wrongly is", all(words(TokenServiceFailed), ladder(KindManifest, TokenServiceFailed)), FaultRegistry, TokenServiceFailed, Confirmed, "manifest/" + host},
		{"layers behind an expired certificate", all(words(CertificateExpired, BlobHostUnreachable), ladder(KindImage, BlobHostUnreachable, ev("innerCause", "CertificateExpired"))), FaultRegistry, BlobHostUnreachable, Likely, "image/" + host},
		{"the kubelet got past a login that the checks lack", all(words(TagNotFound), ladder(KindManifest, CredentialsMissing, ev("anonymous", "true")), check("pull", KindPull, Fail, CredentialsMissing, ev("auth", "anonymous"))), FaultConfig, TagNotFound, Likely, "pod"},
		{"refused with credentials of the node, fine without any", all(words(CredentialsRejected), ladder("", ""), check("pull", KindPull, Pass, "", ev("auth", "anonymous"))), FaultNode, CredentialsRejected, Likely, "pod"},
		{"typo on a registry that hides what exists, secret for another one", all(words(AccessDeniedOrMissing), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, AccessDeniedOrMissing, ev("anonymous", "true"))), FaultConfig, PullSecretOtherRegistry, Likely, "credentials"},
		{"no such repository on an open registry, secret for another one", all(words(RepositoryNotFound), check("credentials", KindCredentials, Fail, PullSecretOtherRegistry), ladder(KindManifest, RepositoryNotFound, ev("anonymous", "true"))), FaultConfig, RepositoryNotFound, Likely, "manifest/" + host},
		{"reset may come from either end", all(words(ConnectionReset), ladder(KindTLS, ConnectionReset)), FaultNode, ConnectionReset, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"a certificate that should come with its issuer's", all(words(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("issuerURL", "http://ca.example/i.crt", "intermediates", "0"))), FaultUndetermined, CertificateUntrusted, Likely, "tls/" + host + "/192.0.2.1:443"},
		{"403 to a password may be its end", all(words(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("auth", "basic"))), FaultConfig, AccessForbidden, Likely, "manifest/" + host},
		{"an answer that no rule knows", all(words(Undetermined), ladder(KindManifest, Undetermined)), FaultUndetermined, Undetermined, Uncertain, "manifest/" + host},
		{"one of two addresses is bad, and the runtime met it", all(words(CertificateExpired), ladder("", ""), check("tls/"+host+"/192.0.2.2:443", KindTLS, Fail, CertificateExpired)), FaultRegistry, CertificateExpired, Likely, "tls/" + host + "/192.0.2.2:443"},
		{"disk full by a rule of thumb is a remark", all(ladder("", ""), check("disk", KindDisk, Fail, DiskFull, ev("need", "1"))), FaultNone, Healthy, Likely, "image/" + host},
		{"disk full wins where both witnesses agree", all(words(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder(KindRegistry, RateLimited)), FaultNode, DiskFull, Confirmed, "disk"},
		{"a registry that exists does not resolve", []Check{check("reference", KindReference, Pass, "", ev("domain", "ghcr.io")), words(HostNotFound), resolver(HostNotFound), check("dns/"+host, KindDNS, Fail, HostNotFound), blocked("manifest/"+host, KindManifest, "dns/"+host)}, FaultUndetermined, HostNotFound, Confirmed, "dns/" + host},
		{"full disk, and the runtime says so", all(words(DiskFull), check("disk", KindDisk, Fail, DiskFull), ladder("", "")), FaultNode, DiskFull, Confirmed, "disk"},
		{"full disk behind a missing tag", all(words(TagNotFound), check("disk", KindDisk, Fail, DiskFull), ladder(KindManifest, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"platform", all(words(PlatformMismatch), ladder(KindImage, PlatformMismatch)), FaultConfig, PlatformMismatch, Confirmed, "image/" + host},

		{"pull works again", all(words(ConnectionReset), ladder("", ""), check("pull", KindPull, Pass, "")), FaultNone, Recovered, Confirmed, "pull"},
		{"pulls, but for another architecture", all(ladder(KindImage, PlatformMismatch), check("pull", KindPull, Pass, "")), FaultConfig, PlatformMismatch, Likely, "image/" + host},
		{"the test pull's words are fresher than the pod's", all(words(HostNotFound), ladder(KindManifest, TagNotFound), check("pull", KindPull, Fail, TagNotFound)), FaultConfig, TagNotFound, Confirmed, "manifest/" + host},
		{"test pull fails where every check passes", all(words(ConnectionReset), ladder("", ""), check("pull", KindPull, Fail, ConnectionReset)), FaultUndetermined, Undetermined, Uncertain, "pull"},
		{"nothing fails, nothing is said", all(ladder("", "")), FaultNone, Healthy, Likely, "image/" + host},
		{"no checks at all", nil, FaultUndetermined, Undetermined, Uncertain, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Diagnose(tt.checks)
			if v.Fault != tt.fault || v.Cause != tt.cause || v.Confidence != tt.confidence {
				t.Errorf("got %s %s %s, want %s %s %s", v.Fault, v.Cause, v.Confidence, tt.fault, tt.cause, tt.confidence)
			}
			first := ""
			if len(v.Because) > 0 {
				first = v.Because[0]
			}
			if first != tt.because {
				t.Errorf("because %q, want %q first", v.Because, tt.because)
			}
			if v.Confidence == Uncertain && len(tt.checks) > 0 && len(v.WouldDecide) == 0 && v.Summary == "" {
				t.Error("an open verdict must say what would decide it")
			}
			if v.Summary == "" {
				t.Error("no summary")
			}
		})
	}
}

// Of several hosts the upstream decides, because a mirror may lack an image.
func TestDiagnoseMirrors(t *testing.T) {
	at := func(h string, checks []Check) []Check {
		out := slices.Clone(checks)
		for i := range out {
			out[i].Host = h
			out[i].ID = string(out[i].Kind) + "/" + h
			if out[i].BlockedBy != "" && i > 0 {
				out[i].BlockedBy = out[i-1].ID
			}
		}
		return out
	}
	order := check("hosts/"+host, KindRuntime, Pass, "", ev("order", "mirror.example,"+host))
	mirror404 := at("mirror.example", ladder(KindManifest, TagNotFound))

	v := Diagnose(all(words(TagNotFound, RepositoryNotFound), order, mirror404, at(host, ladder(KindDial, ConnectionTimeout, ev("deadline", "true")))))
	if v.Cause != ConnectionTimeout || v.Confidence == Confirmed {
		t.Errorf("mirror's 404 before an unreachable upstream: got %s %s", v.Cause, v.Confidence)
	}
	if !slices.Contains(v.Also, TagNotFound) {
		t.Errorf("also = %v, want the mirror's answer in it", v.Also)
	}
	v = Diagnose(all(order, mirror404, at(host, ladder("", "")), check("pull", KindPull, Pass, "")))
	if v.Cause != Healthy {
		t.Errorf("upstream has what the mirror lacks: got %s", v.Cause)
	}
}

// Saved evidence replays to the same verdict.
func TestDiagnoseReplay(t *testing.T) {
	checks := all(words(CredentialsMissing), check("credentials", KindCredentials, Fail, PullSecretMissing, ev("secret", "regcred")), ladder(KindManifest, CredentialsMissing))
	saved, err := json.Marshal(checks)
	if err != nil {
		t.Fatal(err)
	}
	var replayed []Check
	if err := json.Unmarshal(saved, &replayed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Diagnose(checks), Diagnose(replayed)); diff != "" {
		t.Error(diff)
	}
}

// Evidence whose BlockedBy goes in a circle must not hang or mislead.
func TestDiagnoseCircle(t *testing.T) {
	a, b := blocked("manifest/"+host, KindManifest, "registry/"+host), blocked("registry/"+host, KindRegistry, "manifest/"+host)
	if v := Diagnose(all(a, b)); v.Cause != Undetermined {
		t.Errorf("got %s, want Undetermined", v.Cause)
	}
}

// Every cause has words for people, and a fix unless nothing is wrong.
func TestCatalogueIsComplete(t *testing.T) {
	for _, info := range Catalogue() {
		v := Diagnose(all(check("pod", KindPod, Fail, info.Cause, ev("proven", "true"))))
		if v.Cause != info.Cause {
			t.Errorf("%s does not come through: %s", info.Cause, v.Cause)
		}
		if v.Summary == "" {
			t.Errorf("%s has no meaning", info.Cause)
		}
		if v.Fix == "" && info.Fault != FaultNone && info.Cause != Undetermined {
			t.Errorf("%s has no fix", info.Cause)
		}
	}
}
