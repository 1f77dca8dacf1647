package report

import (
	"cmp"
	"slices"
	"strings"
)

// rootRule traces a finding to what led to it, or returns it as it is.
type rootRule struct {
	name  string
	trace func(*judge, finding) finding
}

func rootRules() []rootRule {
	return []rootRule{
		{"asked as nobody, while a secret that was meant to be there is not", func(j *judge, f finding) finding {
			c := j.get("credentials")
			if c.Outcome != Fail || !asNobody(f) {
				return f
			}
			elsewhere := c.Cause == PullSecretOtherRegistry // which is no sign that one was meant here
			switch name := f.name(); {
			case name == CredentialsMissing && elsewhere && c.Evidence["expectedProvider"] != "":
				return f
			case name == CredentialsMissing && elsewhere && c.Evidence["possibleProvider"] != "":
				return f.rooted(c.Cause, "credentials").doubtful("whether pods of this node are meant to get their credentials from " + c.Evidence["possibleProvider"] + ", which could not be looked for")
			case name == CredentialsMissing:
				return f.rooted(c.Cause, "credentials")
			case name == AccessDeniedOrMissing && (f.check.Evidence["registryStatus"] == "403" || elsewhere && f.check.Evidence["suggestRepository"] != ""):
				return f.doubtful()
			case name == AccessDeniedOrMissing: // whether the repository exists at all is not known
				return f.rooted(c.Cause, "credentials").doubtful()
			case name == RepositoryNotFound, name == TagNotFound: // with credentials it might be seen
				return f.doubtful()
			}
			return f
		}},
		{"asked as nobody, because the secrets may not be read", func(j *judge, f finding) finding {
			if j.get("credentials").Outcome != Skipped || !asNobody(f) || f.name() == TagNotFound || !inCredentials(f.name()) && f.name() != RepositoryNotFound {
				return f
			}
			if j.words.check != nil && inCredentials(j.words.cause) {
				f = f.rooted(j.words.cause, j.words.check.ID) // that had them
			}
			return f.doubtful()
		}},
		{"a web page in the place of a registry", func(j *judge, f finding) finding {
			if f.check.Kind != KindManifest || !strings.HasPrefix(f.check.Evidence["contentType"], "text/html") || j.get("registry/"+f.check.Host).Outcome == Pass {
				return f
			}
			decides := "whether " + f.check.Host + " is a registry at all: it shows web pages"
			if f.name() == RegistryUnavailable {
				return f.doubtful(decides) // what stands before a registry says so in HTML, too
			}
			return f.rooted(Undetermined).doubtful(decides)
		}},
		{"a server that knows no registry's paths", func(j *judge, f finding) finding {
			// A registry answers /v2/ with 200 or 401, and says in JSON what it lacks.
			v2, e := j.get("registry/"+f.check.Host).Evidence, f.check.Evidence
			if f.check.Kind != KindManifest || e["status"] != "404" || e["code"] != "" || v2["status"] != "404" || v2["apiVersion"] != "" || v2["code"] != "" {
				return f
			}
			return f.rooted(Undetermined).doubtful("whether " + f.check.Host + " is a registry at all: it answers 404 to everything")
		}},
		{"forbidden to nobody in particular", func(j *judge, f finding) finding {
			if f.name() != AccessForbidden || j.fact("manifest/"+f.check.Host, "anonymous") != "true" || j.saidOf(f) {
				return f
			}
			return f.rooted(AccessDeniedOrMissing)
		}},
		{"an image on the node that this pod may not use", func(j *judge, f finding) finding {
			// Newer kubelets pull again what is there, with the credentials of each
			// pod (KubeletEnsureSecretPulledImages); older ones would not have asked.
			if !asNobody(f) || !inCredentials(f.check.Cause) || j.said.check == nil || j.local().Evidence["present"] != "true" || j.alwaysPulls() {
				return f
			}
			return f.rooted(PresentNotAuthorized, j.local().ID).doubtful("the kubelet's next attempt, if the image came to the node only after its last one")
		}},
		{"a resolver that sends the runtime elsewhere", wrongAnswer},
		{"a name that another resolver of this node knows", func(j *judge, f finding) finding {
			if f.name() != HostNotFound || f.check.Evidence["redirectedTo"] != "" {
				return f
			}
			return f.also(j.resolversThatKnow(f.check.Host)...)
		}},
		{"TLS broken into on the way to a public registry", func(j *judge, f finding) finding {
			e := f.check.Evidence
			if f.name() != CertificateUntrusted || e["publicRegistry"] != "true" || e["interceptor"] == "" && e["sct"] != "false" {
				return f
			}
			return f.rooted(TLSIntercepted).doubtful("the certificate that " + f.check.Host + " shows from another network")
		}},
		{"a chain that the server sends without its middle", func(j *judge, f finding) finding {
			if f.name() != CertificateUntrusted || f.check.Evidence["missingIntermediate"] != "true" {
				return f
			}
			return f.rooted(CertificateInvalid)
		}},
		{"a hosts.toml that the runtime ignores", func(j *judge, f finding) finding {
			c := j.get("hosts/" + j.fact("reference", "domain"))
			if c.Outcome != Fail || c.Evidence["ignored"] != "true" {
				return f
			}
			if stage(f.name()) >= stageAnswer {
				return f.doubtful("a pull by " + cmp.Or(c.Evidence["file"], "the hosts.toml") + ", which the runtime ignores: " + c.Evidence["reason"])
			}
			return f.rooted(c.Cause, c.ID).doubtful("whether the file names a host or an authority that would have worked")
		}},
		{"a token that was never good by the registry's clock", func(j *judge, f finding) finding {
			id := "token/" + f.check.Host
			if b := j.fact(id, "byRegistryClock"); b == "" || b == "valid" || f.check.Kind != KindManifest || !inCredentials(f.name()) {
				return f
			}
			return f.rooted(TokenServiceFailed, id)
		}},
		{"a proxy that the runtime was not started with", func(j *judge, f finding) finding {
			c := j.get("runtime/environment")
			if c.Evidence["newer"] != "true" || c.Evidence["proxyDiffers"] != "true" || stage(f.name()) > stageDial {
				return f
			}
			return f.rooted(RuntimeConfigStale, c.ID).doubtful("whether the pull works after a restart of the runtime")
		}},
		{"a mirror that answers for the upstream, and wrongly", func(j *judge, f finding) finding {
			hosts := j.hosts()
			if len(hosts) < 2 || f.check.Host == "" || f.check.Host == hosts[len(hosts)-1] {
				return f
			}
			upstream := hosts[len(hosts)-1]
			theirs, ours := j.fact("manifest/"+upstream, "digest"), j.fact("manifest/"+f.check.Host, "digest")
			if j.get("manifest/"+upstream).Outcome != Pass || theirs == ours && theirs != "" {
				return f // it hands on what is upstream
			}
			f = f.rooted(MirrorFaulty).also("manifest/" + upstream)
			if f.check.Kind == KindImage && (theirs == "" || ours == "") {
				return f.doubtful("whether " + upstream + " has the same manifest: a digest that is not known cannot be compared")
			}
			return f
		}},
		{"a mirror that fails where the upstream is out of reach", func(j *judge, f finding) finding {
			if len(f.others) == 0 || stage(f.check.Cause) >= stageAnswer {
				return f
			}
			for _, c := range f.others {
				if c.Cause != TagNotFound && c.Cause != RepositoryNotFound && c.Cause != TokenServiceFailed && stage(c.Cause) >= stageAnswer && !inCredentials(c.Cause) {
					f.because = []string{c.ID, f.check.ID}
					f.check = c
					return f.rooted(MirrorFaulty).doubtful("whether this node is meant to reach the upstream at all: if so, that is the fault")
				}
			}
			return f
		}},
	}
}

func (f finding) also(ids ...string) finding {
	f.because = append(slices.Clone(f.because), ids...)
	return f
}

// saidOf reports whether the finding has its root cause from the words of the
// kubelet, which had credentials that the checks had not.
func (j *judge) saidOf(f finding) bool {
	return f.cause != "" && inCredentials(f.cause) && j.words.check != nil && !j.words.fresh() && slices.Contains(f.because, j.words.check.ID)
}

func asNobody(f finding) bool {
	return f.name() == CredentialsMissing || f.check.Evidence["anonymous"] == "true"
}

// resolversThatKnow are the ids of the checks of single resolvers that have an
// address for host.
func (d *evidence) resolversThatKnow(host string) []string {
	var out []string
	for _, c := range d.below("dns/" + host + "/") {
		if c.Outcome == Pass {
			out = append(out, c.ID)
		}
	}
	return out
}

// wrongAnswer finds that the address is not the registry's.
func wrongAnswer(j *judge, f finding) finding {
	if s := stage(f.check.Cause); s != stageDial && s != stageTLS || f.check.Host == "" {
		return f
	}
	name := "dns/" + f.check.Host
	for _, c := range j.below("elsewhere/" + f.check.Host + "/") {
		if c.Outcome != Pass || c.Kind != KindTLS {
			continue
		}
		// Another resolver gave it, and there the registry is. The runtime's
		// address may be the registry's as well, and out of order: only a
		// certificate for somebody else says no.
		f = f.rooted(ResolverWrongAnswer, name, c.ID)
		if f.check.Cause == CertificateNameMismatch || j.nobodysAddress(f.check.Host) {
			return f
		}
		return f.doubtful("whether " + cmp.Or(j.fact(name, "addresses"), f.check.Target, "the address found") + " is meant to be one of " + f.check.Host)
	}
	if e := j.get(name).Evidence; e["via"] != "" && (e["wildcard"] == "true" || e["asIs"] != "") {
		return f.rooted(ResolverWrongAnswer, name).doubtful("the name with a dot at its end: " + f.check.Host + " was found under the search domain " + e["via"])
	}
	if j.nobodysAddress(f.check.Host) || stage(f.check.Cause) == stageTLS && j.odd(f.check.Host, "private", "shared") && j.fact(name, "disagree") == "true" {
		return f.rooted(ResolverWrongAnswer, name).doubtful(fromOutside(f.check.Host))
	}
	return f
}

func fromOutside(host string) string {
	return "the address of " + host + " by a resolver outside this node"
}

// nobodysAddress reports whether host resolves to an address that cannot be
// its own: sinkholes answer with 0.0.0.0, and blocking entries of a hosts file
// send a public name to this machine.
func (d *evidence) nobodysAddress(host string) bool {
	return d.fact("dns/"+host, "special") == "unspecified" || d.odd(host, "loopback", "link-local", "metadata", "documentation", "benchmarking", "multicast", "reserved")
}

// odd reports whether a public registry resolves to an address of one of these
// kinds. A private registry may have any.
func (d *evidence) odd(host string, kinds ...string) bool {
	return d.fact("dns/"+host, "publicRegistry") == "true" && slices.Contains(kinds, d.fact("dns/"+host, "special"))
}
