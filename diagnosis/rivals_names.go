package diagnosis

import (
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// notARegistry is the rival of every answer that a web server may give, too.
func notARegistry(id, looks string) rival {
	return rival{
		id: id, looks: looks, acts: report.FaultConfig,
		question: "check whether {host} is a registry at all:\ncurl -i https://{host}/v2/",
		excluded: finding.IsRegistry,
	}
}

// underAWildcard is the rival of every answer of a host that a misspelt name may
// lead to.
func underAWildcard(id, looks string) rival {
	return rival{
		id: id, looks: looks, acts: report.FaultConfig,
		question: "check whether {host} is the intended name: any other name of its domain leads to the same address",
		excluded: func(f finding) bool {
			return f.NameIsItsOwn() || f.IsRegistry() && !f.UnderWildcard()
		},
	}
}

// ofAnotherSite is the rival of what another registry answers, to which a misspelt name
// leads by a wildcard record.
func ofAnotherSite(id string) rival {
	return rival{
		id: id, looks: "a misspelt host that a wildcard record leads to another registry", acts: report.FaultConfig, rare: true,
		question: "check whether {host} is the intended name: any other name of its domain leads to the same address",
		excluded: func(f finding) bool { return !f.UnderWildcard() || facts.IsOneService(f.Evidence, f.Host) },
	}
}

// lostRepository is the rival of a repository that is not there now, and was before.
func lostRepository(id string) rival {
	return rival{
		id: id, looks: "a registry that has lost the repository: the node has images of it", acts: report.FaultRegistry,
		question: "check on {host} whether its storage is complete: this node has images of {repository}",
		excluded: func(f finding) bool { return f.LocalImages().Evidence[report.KeyOfRepository] == "" },
	}
}

// refusedOtherwise is the rival of 403: the registry has a reason of its own, which
// no login changes. The request that shows it has curl's options of the login.
func refusedOtherwise(id, login string) rival {
	return rival{
		id:    id,
		looks: "a registry that refuses for a reason of its own: policy, quota, billing, quarantine, country, network",
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

// hiddenFromLogin is the rival of what a registry does not show to a login: some answer
// 404, and not 403, for what it may not see.
func hiddenFromLogin(id string) rival {
	return rival{
		id:       id,
		looks:    "a registry that hides what the account may not see (Artifactory with hidden repositories)",
		question: "check whether the account in {source} may see {repository} on {host}: it answers 404 without that right, too",
		excluded: func(f finding) bool {
			product := f.Fact(report.RegistryID(f.Host), report.KeyProduct)
			unknown := product == "" && f.Cause == report.RepositoryNotFound && !facts.IsOneService(f.Evidence, f.Host)
			return product != "artifactory" && !unknown || !f.WithLogin() || f.RepositoryVisible()
		},
	}
}

// ofACache is the rival of what a registry does not have: a cache of another registry
// (Nexus and Artifactory: proxy or remote repository, Harbor: proxy cache) has what was
// pulled through it before, and says so little of the other registry that its own lists
// prove nothing.
func ofACache(id string) rival {
	return rival{
		id:       id,
		looks:    "a cache of another registry, which cannot reach that one now, or remembers an older answer of it",
		acts:     report.FaultRegistry,
		rare:     true,
		question: "check whether {repository} on {host} is a cache (proxy repository) of another registry: then that one decides",
		excluded: func(f finding) bool { return !f.MayBeCache() },
	}
}

// rivalsOfNames are those of names in the image reference.
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
				looks:    "a registry whose answer speaks of an invalid name: the runtime hands its text on",
				acts:     report.FaultUndetermined,
				question: "read the runtime's log at the time of the pull: who reports the invalid name?",
				excluded: func(f finding) bool { return f.Get(report.IDReference).Outcome != report.Pass },
			},
		}},
		{cause: report.TagNotFound, rivals: []rival{
			{
				id:       "head-not-passed-on",
				looks:    "something in front of the registry that answers HEAD itself and passes GET on; or one of several machines lacks the tag",
				acts:     report.FaultRegistry,
				rare:     true,
				question: get,
				excluded: gotten,
			},
			{
				id:       "tag-hidden-from-anonymous",
				looks:    "a registry that answers 404 instead of asking for a login (Artifactory with hidden repositories)",
				acts:     report.FaultConfig,
				question: withLogin,
				excluded: func(f finding) bool { return !f.MayBeHidden() },
			},
			{
				id:       "tag-listed",
				looks:    "a tag that the registry lists while its manifest is lost (garbage collection, replication)",
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
			notARegistry("tag-of-no-registry", "a web server or an ingress that knows no such path"),
		}},
		{cause: report.RepositoryNotFound, rivals: []rival{
			{
				id:       "repository-hidden-from-anonymous",
				looks:    "a registry that hides a private repository behind 404 instead of asking for a login (Artifactory, Nexus)",
				acts:     report.FaultConfig,
				question: withLogin,
				excluded: func(f finding) bool { return !f.MayBeHidden() },
			},
			lostRepository("repository-lost"),
			ofAnotherSite("repository-of-another-site"),
			hiddenFromLogin("repository-hidden-from-login"),
			ofACache("repository-of-a-cache"),
			notARegistry("repository-of-no-registry", "a web server or an ingress that knows no such path"),
		}},
		{cause: report.AccessDeniedOrMissing, rivals: []rival{
			fromNode("denied-for-lack-of-the-nodes-login"),
			{
				id:       "head-forbidden",
				looks:    "a firewall or gateway in front of the registry that forbids HEAD and passes GET on",
				acts:     report.FaultRegistry,
				question: get,
				excluded: func(f finding) bool { return !f.ForbiddenWithoutReason() || gotten(f) },
			},
			refusedOtherwise("refused-to-anonymous", ""),
			notARegistry("denied-by-no-registry", "a web site that forbids the path"),
		}},
		{cause: report.PlatformMismatch, rivals: []rival{
			{
				id:       "index-not-read",
				looks:    "an image index that pullprobe read only in part, or another index, which the runtime got from another host",
				question: "list the platforms of the image:\ndocker manifest inspect {image}",
				excluded: func(f finding) bool { return f.Has(report.KeyPlatforms) || f.Has(report.KeyPlatform) },
			},
		}},
	}
}
