package report

import (
	"slices"
	"strings"
)

// Finding is a verdict with the evidence that it rests on.
type Finding struct {
	*evidence
	Verdict
	host string // the host that the verdict is about
}

// FindingOf returns the finding of a verdict on this evidence.
func FindingOf(e *evidence, v Verdict) Finding {
	f := Finding{evidence: e, Verdict: v}
	for _, id := range v.Because {
		// A check of secrets has the name in the image, such as docker.io, and not that of
		// the host that answers, such as registry-1.docker.io.
		if c := e.get(id); c.Host != "" && c.Outcome == Fail && id != e.messageID() && c.Kind != KindCredentials {
			f.host = c.Host
			return f
		}
	}
	if hosts := e.hosts(); len(hosts) > 0 {
		f.host = hosts[len(hosts)-1]
	} else {
		f.host = e.fact(IDReference, KeyDomain)
	}
	return f
}

// decided returns a fact of the first check that decided and has it.
func (f Finding) decided(key string) string {
	for _, id := range f.Because {
		if s := f.fact(id, key); s != "" {
			return s
		}
	}
	return ""
}

// has reports whether a check that decided has one of these values of a fact;
// without values, whether one has the fact at all.
func (f Finding) has(key string, values ...string) bool {
	for _, id := range f.Because {
		if s := f.fact(id, key); s != "" && (len(values) == 0 || slices.Contains(values, s)) {
			return true
		}
	}
	return false
}

// failedHere reports whether a check of this kind failed, and is among those that
// decided.
func (f Finding) failedHere(kind Kind) bool {
	return slices.ContainsFunc(f.Because, func(id string) bool {
		c := f.get(id)
		return c.Kind == kind && c.Outcome == Fail
	})
}

// agreed reports whether a message of the runtime is among what decided.
func (f Finding) agreed() bool { return slices.Contains(f.Because, f.messageID()) }

func (f Finding) manifest(key string) string { return f.fact(ManifestID(f.host), key) }

// isRegistry reports whether the host was seen to behave as a registry. A login
// page and an ingress without a rule do not.
func (f Finding) isRegistry() bool {
	if f.get(ManifestID(f.host)).Outcome == Pass {
		return true
	}
	base := f.get(RegistryID(f.host)).Evidence
	switch base[KeyIsRegistry] {
	case True:
		return true
	case "false":
		return false
	}
	return base[KeyAPIVersion] != "" || base[KeyCode] != "" || f.manifest(KeyCode) != "" || f.repositoryVisible()
}

// repositoryVisible reports whether this registry showed the repository's tag list
// to the same login.
func (f Finding) repositoryVisible() bool { return f.manifest(KeyRepository) == "exists" }

// withLogin reports whether the answer was given to a login.
func (f Finding) withLogin() bool {
	return f.manifest(KeyLoginUsed) == True || f.manifest(KeyUsedCredential) != "" && f.manifest(KeyAnonymous) != True
}

// logsIn reports whether the host asks for a login where one is needed. Products
// that hide repositories do not, even if they challenge other requests.
func (f Finding) logsIn() bool {
	return f.manifest(KeyChallenged) == True && f.fact(RegistryID(f.host), KeyProduct) != "artifactory"
}

// mayBeHidden reports whether what the host answers 404 for may exist, for those who
// log in: it was asked without a login, showed nothing of the repository, and is not
// known to ask for one.
func (f Finding) mayBeHidden() bool { return !f.withLogin() && !f.repositoryVisible() && !f.logsIn() }

// forbiddenWithoutReason reports whether the registry answered 403 to the request
// for the manifest without one of a registry's error codes, as HEAD does, and its
// text was not read.
func (f Finding) forbiddenWithoutReason() bool {
	textRead := f.manifest(KeyCode) != "" || f.manifest(KeyRefusedFor) != ""
	return f.manifest(KeyStatus) == "403" && !textRead && f.failedHere(KindManifest)
}

// mayBeCache reports whether the repository may be a cache of one in another registry,
// by the product, by the cloud, or by the repository's name.
func (f Finding) mayBeCache() bool {
	path := f.fact(IDReference, KeyPath)
	switch f.fact(RegistryID(f.host), KeyProduct) {
	case "artifactory", "harbor", "nexus", "acr", "ecr":
		return true
	case "quay":
		return f.host != "quay.io"
	case "gitlab":
		return strings.Contains(path, "/dependency_proxy/")
	}
	cloud := slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".pkg.dev"}, func(domain string) bool {
		return strings.HasSuffix(f.host, domain)
	})
	// Docker Hub alone has "library".
	return cloud || azure(f.host) || strings.HasPrefix(path, "library/") && f.fact(IDReference, KeyDomain) != "docker.io"
}

// sentElsewhere reports whether a file of the node sends the pull to a host that is not
// the registry that the image names, and to that registry not at all.
func (f Finding) sentElsewhere(host string) bool {
	domain := f.domain()
	own := func(host string) bool {
		return host == domain || domain == "docker.io" && host == "registry-1.docker.io"
	}
	return domain != "" && f.fact(HostsID(domain), KeyFile) != "" && !own(host) && !slices.ContainsFunc(f.hosts(), own)
}

// nameIsItsOwn reports whether the host's name exists for itself, and not by a
// wildcard record that any misspelt name finds.
func (f Finding) nameIsItsOwn() bool {
	name := f.get(DNSID(f.host)).Evidence
	sibling := name[KeySibling]
	literal := name[KeyFrom] == "literal" || name[KeyFrom] == "hosts"
	return literal || sibling == "other" || sibling == "none"
}

// underWildcard reports whether any sibling of the host's name has its address.
func (f Finding) underWildcard() bool { return f.fact(DNSID(f.host), KeySibling) == "same" }

// otherNameFails reports whether every resolver that failed fails for a name of
// another domain, too.
func (f Finding) otherNameFails() bool {
	n := 0
	for _, c := range f.below(DNSID(f.host)) {
		if c.Outcome != Fail {
			continue
		}
		if c.Evidence[KeyOtherName] != "fails" {
			return false
		}
		n++
	}
	return n > 0
}

// refusedByResolver reports whether every resolver that failed refused to answer,
// which is its own decision, and not the failure of a domain's name servers.
func (f Finding) refusedByResolver() bool {
	n := 0
	for _, c := range f.below(DNSID(f.host)) {
		if c.Outcome != Fail {
			continue
		}
		if c.Evidence[KeyRcode] != "REFUSED" && c.Evidence[KeyError] != "ECONNREFUSED" {
			return false
		}
		n++
	}
	return n > 0
}

// azure reports whether the host is one of Azure's container registries.
func azure(host string) bool {
	for _, domain := range []string{".azurecr.io", ".azurecr.cn", ".azurecr.us", ".azurecr.de"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}
