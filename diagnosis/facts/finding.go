package facts

import (
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Finding is a verdict with the evidence that it rests on.
type Finding struct {
	*Evidence
	report.Verdict
	Host string // the host that the verdict is about
}

// FindingOf returns the finding of a verdict on this evidence.
func FindingOf(e *Evidence, v report.Verdict) Finding {
	f := Finding{Evidence: e, Verdict: v}
	for _, id := range v.Because {
		// A check of secrets has the name in the image, such as docker.io, and not that of
		// the host that answers, such as registry-1.docker.io.
		if c := e.Get(id); c.Host != "" && c.Outcome == report.Fail && id != e.MessageID() && c.Kind != report.KindCredentials {
			f.Host = c.Host
			return f
		}
	}
	if hosts := e.Hosts(); len(hosts) > 0 {
		f.Host = hosts[len(hosts)-1]
	} else {
		f.Host = e.Domain()
	}
	return f
}

// Decided returns a fact of the first check that decided and has it.
func (f Finding) Decided(key string) string {
	for _, id := range f.Because {
		if s := f.Fact(id, key); s != "" {
			return s
		}
	}
	return ""
}

// Has reports whether a check that decided has one of these values of a fact;
// without values, whether one has the fact at all.
func (f Finding) Has(key string, values ...string) bool {
	for _, id := range f.Because {
		if s := f.Fact(id, key); s != "" && (len(values) == 0 || slices.Contains(values, s)) {
			return true
		}
	}
	return false
}

// FailedHere reports whether a check of this kind failed, and is among those that
// decided.
func (f Finding) FailedHere(kind report.Kind) bool {
	return slices.ContainsFunc(f.Because, func(id string) bool {
		c := f.Get(id)
		return c.Kind == kind && c.Outcome == report.Fail
	})
}

// Agreed reports whether a message of the runtime is among what decided.
func (f Finding) Agreed() bool { return slices.Contains(f.Because, f.MessageID()) }

// Manifest returns a fact of the host's answer to the request for the manifest.
func (f Finding) Manifest(key string) string { return f.Fact(report.ManifestID(f.Host), key) }

// IsRegistry reports whether the host was seen to behave as a registry. A login
// page and an ingress without a rule do not.
func (f Finding) IsRegistry() bool {
	if f.Get(report.ManifestID(f.Host)).Outcome == report.Pass {
		return true
	}
	base := f.Get(report.RegistryID(f.Host)).Evidence
	switch base[report.KeyIsRegistry] {
	case report.True:
		return true
	case "false":
		return false
	}
	return base[report.KeyAPIVersion] != "" || base[report.KeyCode] != "" || f.Manifest(report.KeyCode) != "" || f.RepositoryVisible()
}

// RepositoryVisible reports whether this registry showed the repository's tag list
// to the same login.
func (f Finding) RepositoryVisible() bool { return f.Manifest(report.KeyRepository) == "exists" }

// WithLogin reports whether the answer was given to a login.
func (f Finding) WithLogin() bool {
	return f.Manifest(report.KeyLoginUsed) == report.True || f.Manifest(report.KeyUsedCredential) != "" &&
		f.Manifest(report.KeyAnonymous) != report.True
}

// logsIn reports whether the host asks for a login where one is needed. Products
// that hide repositories do not, even if they challenge other requests.
func (f Finding) logsIn() bool {
	return f.Manifest(report.KeyChallenged) == report.True && f.Fact(report.RegistryID(f.Host), report.KeyProduct) != "artifactory"
}

// MayBeHidden reports whether what the host answers 404 for may exist, for those who
// log in: it was asked without a login, showed nothing of the repository, and is not
// known to ask for one.
func (f Finding) MayBeHidden() bool { return !f.WithLogin() && !f.RepositoryVisible() && !f.logsIn() }

// ForbiddenWithoutReason reports whether the registry answered 403 to the request
// for the manifest without one of a registry's error codes, as HEAD does, and its
// text was not read.
func (f Finding) ForbiddenWithoutReason() bool {
	textRead := f.Manifest(report.KeyCode) != "" || f.Manifest(report.KeyRefusedFor) != ""
	return f.Manifest(report.KeyStatus) == "403" && !textRead && f.FailedHere(report.KindManifest)
}

// MayBeCache reports whether the repository may be a cache of one in another registry: by
// the product, or by its name.
func (f Finding) MayBeCache() bool {
	path := f.Fact(report.IDReference, report.KeyPath)
	product := f.Fact(report.RegistryID(f.Host), report.KeyProduct)
	switch {
	case f.Host == "mirror.gcr.io": // of Docker Hub's frequent images
		return true
	case f.Is(report.DNSID(f.Host), report.KeyPublicRegistry):
		return false
	case product == "artifactory", product == "nexus", product == "harbor" && strings.Count(path, "/") > 1:
		return true
	}
	// Of other registries' repositories, only the name shows it: "library" is Docker Hub's own.
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool {
		hint := func(word string) bool { return strings.Contains(part, word) }
		return part == "library" || slices.ContainsFunc([]string{"proxy", "cache", "mirror", "docker-hub", "dockerhub", "quay", "ghcr"}, hint)
	})
}

// SentElsewhere reports whether a file of the node sends the pull to a host that is not
// the registry that the image names, and to that registry not at all; or to another path of
// the registry than the image names.
func (f Finding) SentElsewhere(host string) bool {
	domain := f.Domain()
	own := func(host string) bool { return report.Serves(host, domain) }
	if domain == "" || f.Fact(report.HostsID(domain), report.KeyFile) == "" {
		return false
	}
	return f.PathOf(host) != "" || !own(host) && !slices.ContainsFunc(f.Hosts(), own)
}

// PathOf returns the path at a host to which a file of the node sends the pull, instead of
// that of the API; empty: it is that of the API.
func (f Finding) PathOf(host string) string {
	for entry := range strings.SplitSeq(f.Fact(report.HostsID(f.Domain()), report.KeyPaths), ",") {
		if path, ok := strings.CutPrefix(entry, host); ok && strings.HasPrefix(path, "/") {
			return path
		}
	}
	return ""
}

// NameIsItsOwn reports whether the host's name exists for itself, and not by a
// wildcard record that any misspelt name finds.
func (f Finding) NameIsItsOwn() bool {
	name := f.Get(report.DNSID(f.Host)).Evidence
	sibling := name[report.KeySibling]
	literal := name[report.KeyFrom] == "literal" || name[report.KeyFrom] == "hosts"
	return literal || f.PulledBefore() || sibling == "other" || sibling == "none"
}

// PulledBefore reports whether the node has images from the image's registry.
func (f Finding) PulledBefore() bool {
	n := f.LocalImages().Evidence[report.KeyCount]
	return n != "" && n != "0"
}

// UnderWildcard reports whether any sibling of the host's name has its address, and
// nothing shows that the name is right.
func (f Finding) UnderWildcard() bool {
	return !f.PulledBefore() && f.Fact(report.DNSID(f.Host), report.KeySibling) == "same"
}

// OtherNameFails reports whether every resolver that failed fails for a name of
// another domain, too.
func (f Finding) OtherNameFails() bool {
	n := 0
	for _, c := range f.Below(report.DNSID(f.Host)) {
		if c.Outcome != report.Fail {
			continue
		}
		if c.Evidence[report.KeyOtherName] != "fails" {
			return false
		}
		n++
	}
	return n > 0
}

// IsAzure reports whether the host is one of Azure's container registries.
func IsAzure(host string) bool {
	for _, domain := range []string{".azurecr.io", ".azurecr.cn", ".azurecr.us", ".azurecr.de"} {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}
