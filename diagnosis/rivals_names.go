package diagnosis

import (
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// notARegistry returns the rival of every answer that a web server may give, too.
func notARegistry(id, looks string) rival {
	return rival{
		id: id, looks: looks, acts: report.FaultConfig,
		question: "check whether {host} is a registry at all:\ncurl -i https://{host}/v2/",
		excluded: finding.IsRegistry,
	}
}

// underAWildcard returns the rival of every answer of a host, because a misspelt name may
// resolve to that host.
func underAWildcard(id, looks string) rival {
	return rival{
		id: id, looks: looks, acts: report.FaultConfig,
		question: "check whether {host} is the intended name: any other name of its domain resolves to the same address",
		excluded: func(f finding) bool {
			return f.NameIsItsOwn() || f.IsRegistry() && !f.UnderWildcard()
		},
	}
}

// ofAnotherSite returns the rival of the answers of a registry: a wildcard DNS record
// resolves a misspelt name to another registry.
func ofAnotherSite(id string) rival {
	return rival{
		id:       id,
		looks:    "the host name is misspelt, and a wildcard DNS record resolves it to another registry",
		acts:     report.FaultConfig,
		rare:     true,
		question: "check whether {host} is the intended name: any other name of its domain resolves to the same address",
		excluded: func(f finding) bool { return !f.UnderWildcard() || facts.IsOneService(f.Evidence, f.Host) },
	}
}

// lostRepository returns the rival of RepositoryNotFound if the repository existed before.
func lostRepository(id string) rival {
	return rival{
		id: id, looks: "the registry has lost the repository: the node has images of it", acts: report.FaultRegistry,
		question: "check on {host} whether its storage is complete: this node has images of {repository}",
		excluded: func(f finding) bool { return f.LocalImages().Evidence[report.KeyOfRepository] == "" },
	}
}

// refusedByRegistry returns the rival of a 403 that blames the login: the registry refuses
// for another reason (policy, quota, country), and no login changes that. login is curl's
// options for the login.
func refusedByRegistry(id, login string) rival {
	return rival{
		id:    id,
		looks: "the registry refuses for another reason than the login: policy, quota, billing, quarantine, country, network",
		acts:  report.FaultRegistry,
		rare:  true,
		question: "read in the answer of {host} why it refuses:\n" +
			"curl -i " + login + "https://{host}/v2/{repository}/manifests/{tag}",
		excluded: func(f finding) bool {
			return f.Manifest(report.KeyStatus) != "403" || f.Manifest(report.KeyRefusedFor) != "" ||
				f.Is(report.ManifestID(f.Host), report.KeyPolicy)
		},
	}
}

// hiddenFromLogin returns the rival of a 404: some registries answer 404, and not 403, for
// what the login may not see.
func hiddenFromLogin(id string) rival {
	return rival{
		id:       id,
		looks:    "the registry hides what the account may not see (Artifactory with hidden repositories)",
		question: "check whether the account in {source} may see {repository} on {host}: it answers 404 without that right, too",
		excluded: func(f finding) bool {
			product := f.Fact(report.RegistryID(f.Host), report.KeyProduct)
			unknown := product == "" && f.Cause == report.RepositoryNotFound && !facts.IsOneService(f.Evidence, f.Host)
			return product != "artifactory" && !unknown || !f.WithLogin() || f.RepositoryVisible()
		},
	}
}

// ofACache returns the rival of TagNotFound and RepositoryNotFound: a cache of another
// registry (Nexus and Artifactory: proxy or remote repository, Harbor: proxy cache) has what
// was pulled through it before. Its own lists do not show what the other registry has.
func ofACache(id string) rival {
	return rival{
		id:       id,
		looks:    "the host is a cache of another registry: it cannot reach that registry now, or remembers an older answer",
		acts:     report.FaultRegistry,
		rare:     true,
		question: "check whether {repository} on {host} is a cache (proxy repository) of another registry: if so, check that registry",
		excluded: func(f finding) bool { return !f.MayBeCache() },
	}
}

// rivalsOfNames returns the rivals of causes in the image's name: InvalidReference,
// TagNotFound, RepositoryNotFound, AccessDeniedOrMissing, PlatformMismatch.
func rivalsOfNames() []rivalry {
	gotten := func(f finding) bool {
		status := f.Manifest(report.KeyGetStatus)
		return status != "" && status != "200"
	}
	const withLogin = "check with a login whether it exists:\n" +
		"curl -I -u USER https://{host}/v2/{repository}/manifests/{tag}"
	const get = "compare the answers to GET and HEAD (-I for -i):\ncurl -i https://{host}/v2/{repository}/manifests/{tag}"
	return []rivalry{
		{cause: report.InvalidReference, rivals: []rival{
			{
				id:       "foreign-text",
				looks:    "the registry calls a name invalid in its answer, and the runtime reports that text",
				acts:     report.FaultUndetermined,
				question: "read the runtime's log at the time of the pull: who reports the invalid name?",
				excluded: func(f finding) bool { return f.Get(report.IDReference).Outcome != report.Pass },
			},
		}},
		{cause: report.TagNotFound, rivals: []rival{
			{
				id:       "head-not-passed-on",
				looks:    "something in front of the registry answers HEAD itself and passes GET on; or one of its machines lacks the tag",
				acts:     report.FaultRegistry,
				rare:     true,
				question: get,
				excluded: gotten,
			},
			{
				id:       "tag-hidden-from-anonymous",
				looks:    "the registry answers 404 instead of requiring a login (Artifactory with hidden repositories)",
				acts:     report.FaultConfig,
				question: withLogin,
				excluded: func(f finding) bool { return !f.MayBeHidden() },
			},
			{
				id:       "tag-listed",
				looks:    "the registry lists the tag, but has lost its manifest (garbage collection, replication)",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "check whether the tag is in the registry's own list:\ncurl https://{host}/v2/{repository}/tags/list",
				excluded: func(f finding) bool {
					digest := f.Fact(report.IDReference, report.KeyDigest) != "" && f.RepositoryVisible()
					return digest || f.Manifest(report.KeyListed) == "false" || f.Manifest(report.KeyTags) == "none"
				},
			},
			ofAnotherSite("tag-of-another-site"),
			hiddenFromLogin("tag-hidden-from-login"),
			ofACache("tag-of-a-cache"),
			notARegistry("tag-of-no-registry", "the host is a web server or an ingress, not a registry, and does not know the path"),
		}},
		{cause: report.RepositoryNotFound, rivals: []rival{
			{
				id:       "repository-hidden-from-anonymous",
				looks:    "the registry answers 404 for a private repository instead of requiring a login (Artifactory, Nexus)",
				acts:     report.FaultConfig,
				question: withLogin,
				excluded: func(f finding) bool { return !f.MayBeHidden() },
			},
			lostRepository("repository-lost"),
			ofAnotherSite("repository-of-another-site"),
			hiddenFromLogin("repository-hidden-from-login"),
			ofACache("repository-of-a-cache"),
			notARegistry("repository-of-no-registry", "the host is a web server or an ingress, not a registry, and does not know the path"),
		}},
		{cause: report.AccessDeniedOrMissing, rivals: []rival{
			fromNode("denied-for-lack-of-the-nodes-login"),
			{
				id:       "head-forbidden",
				looks:    "a firewall or gateway in front of the registry forbids HEAD and passes GET on",
				acts:     report.FaultRegistry,
				question: get,
				excluded: func(f finding) bool { return !f.ForbiddenWithoutReason() || gotten(f) },
			},
			refusedByRegistry("refused-to-anonymous", ""),
			notARegistry("denied-by-no-registry", "the host is a web site, not a registry, and forbids the path"),
		}},
		{cause: report.PlatformMismatch, rivals: []rival{
			{
				id:       "index-not-read",
				looks:    "pullprobe read the image index only in part, or the runtime got another index from another host",
				question: "list the platforms of the image:\ndocker manifest inspect {image}",
				excluded: func(f finding) bool { return f.Has(report.KeyPlatforms) || f.Has(report.KeyPlatform) },
			},
		}},
	}
}
