package diagnosis

import (
	"github.com/pullprobe/pullprobe/diagnosis/facts"
	"github.com/pullprobe/pullprobe/report"
)

// rivalsOfTheRuntime are those of the runtime and its configuration.
func rivalsOfTheRuntime() []rivalry {
	return []rivalry{
		{cause: report.RuntimeUnavailable, note: "the runtime's own socket does not answer: whatever the reason, it is on this node"},
		{cause: report.RuntimeConfigStale, rivals: []rival{
			{
				id:       "failed-before",
				looks:    "a fault that is over: the message is older than the checks that pass",
				acts:     report.FaultNone,
				rare:     true,
				question: "check whether the pull succeeds after a restart of the runtime",
				excluded: func(f finding) bool { return f.Message.FromTestPull() && !f.obstacle.Found() },
			},
		}},
		{cause: report.RuntimeConfigInvalid, rivals: []rival{
			{
				id:       "file-does-not-matter",
				looks:    "a fault that the file would not have changed: the runtime ignores it",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "pull again once {hostsFile} is corrected",
				excluded: func(f finding) bool { return !f.Has(report.KeyIgnored, report.True) },
			},
		}},
		{cause: report.SandboxImageUnavailable, rivals: []rival{
			{
				id:       "sandbox-fails-otherwise",
				looks:    "a pod that waits for something else before its sandbox, such as its network",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "read the runtime's own error in the Event FailedCreatePodSandBox:\nkubectl -n {ns} describe pod {pod}",
				excluded: func(f finding) bool { return f.Message.MayMean(report.SandboxImageUnavailable) },
			},
		}},
		{cause: report.MirrorFaulty, rivals: []rival{
			{
				id:       "upstream-not-seen",
				looks:    "an image that the upstream lacks, too",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "pull without this mirror",
				excluded: func(f finding) bool {
					hosts := f.Hosts()
					if facts.FoundAt(f.Evidence, f.Domain()) {
						return true
					}
					return len(hosts) > 1 && f.Get(report.ManifestID(hosts[len(hosts)-1])).Outcome == report.Pass
				},
			},
		}},
		{cause: report.PullTimedOut, rivals: []rival{
			{
				id:       "slow-elsewhere",
				looks:    "a registry or a layers' host that is slow for everyone",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "measure how fast another node downloads these layers",
			},
		}},
		{cause: report.PullQueueLimited, rivals: []rival{
			{
				id:       "slow-not-queued",
				looks:    "a pull that runs beside the other one and is slow itself",
				question: "check whether the kubelet pulls one image at a time: serializeImagePulls and maxParallelImagePulls in its configuration",
			},
		}},
	}
}

// rivalsOfTheDisk are those of writing and unpacking. A registry's text may speak
// of a full disk, too: its own.
func rivalsOfTheDisk() []rivalry {
	own := func(id string) rival {
		return rival{
			id:       id,
			looks:    "a registry that reports this of its own disk or quota: the runtime hands its text on",
			acts:     report.FaultRegistry,
			question: "check the image file system on {node}:\ndf -h {disk}\ndf -i {disk}",
			excluded: func(f finding) bool { return f.FailedHere(report.KindDisk) || f.FailedHere(report.KindRuntime) },
		}
	}
	return []rivalry{
		{cause: report.DiskFull, rivals: []rival{own("full-elsewhere")}},
		{cause: report.InodesExhausted, rivals: []rival{own("no-inodes-elsewhere")}},
		{cause: report.DiskReadOnly, rivals: []rival{own("read-only-elsewhere")}},
		{cause: report.DiskIOError, rivals: []rival{own("io-error-elsewhere")}},
		{cause: report.UnpackFailed, rivals: []rival{
			{
				id:       "bad-layer",
				looks:    "a layer that no node can unpack",
				acts:     report.FaultRegistry,
				rare:     true,
				question: "check whether another node unpacks the same image",
			},
		}},
		{cause: report.LayerCorrupt, rivals: []rival{
			{
				id:       "spoilt-on-the-way",
				looks:    "a proxy, a mirror or a layers' host that changes or cuts off what it passes on",
				acts:     report.FaultUndetermined,
				rare:     true,
				question: "check whether another node gets the same layer from {host}",
				excluded: func(f finding) bool {
					return f.FailedHere(report.KindBlob) && f.direct() && f.Has(report.KeyStatus, "404")
				},
			},
			{
				id:       "content-of-a-cache",
				looks:    "a cache of another registry that has the manifest, and cannot get the layers now",
				rare:     true,
				question: "check whether {repository} on {host} is a cache (proxy repository), and whether it reaches its registry",
				excluded: func(f finding) bool { return !f.MayBeCache() },
			},
		}},
	}
}

// rivalsOfAnswers are those of what registries, their token services and the hosts
// of their layers answer.
func rivalsOfAnswers() []rivalry {
	onTheWay := func(id, looks string) rival {
		return rival{
			id: id, looks: looks,
			acts:     report.FaultUndetermined,
			question: "compare the answer with that in another network, or without the proxy:\ncurl -i https://{host}/v2/",
			excluded: func(f finding) bool {
				// A proxy answers for a host as a whole.
				return f.direct() || f.Has(report.KeyCode) || f.Cause != report.TokenServiceFailed && f.IsRegistry()
			},
		}
	}
	return []rivalry{
		{cause: report.RateLimited, rivals: []rival{
			onTheWay("limited-on-the-way", "a proxy or a gateway that limits requests itself"),
		}},
		{cause: report.RegistryUnavailable, rivals: []rival{
			onTheWay("answered-by-the-proxy", "a proxy that answers for a registry that it cannot reach"),
			{
				id:       "error-of-no-registry",
				looks:    "a web server or an ingress without a backend, where a misspelt host leads",
				acts:     report.FaultConfig,
				rare:     true,
				question: "check whether {host} is a registry at all:\ncurl -i https://{host}/v2/",
				excluded: func(f finding) bool { return f.IsRegistry() && !f.UnderWildcard() },
			},
			{
				id:    "head-answered-otherwise",
				looks: "something in front of the registry that answers HEAD otherwise than GET",
				acts:  report.FaultRegistry,
				question: "compare the answers to GET and HEAD (-I for -i) in another network:\n" +
					"curl -i https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool { return f.Manifest(report.KeyGetStatus) != "200" },
			},
		}},
		{cause: report.TokenServiceFailed, rivals: []rival{
			onTheWay("token-answer-of-the-proxy", "a proxy or a portal that answers for the token service"),
		}},
		{cause: report.BlobHostUnreachable, note: "a host of layers that is down for everyone, and a firewall, look alike: " +
			"who must act is undetermined without further evidence"},
		{cause: report.UnsupportedManifest, rivals: []rival{
			{
				id:       "unknown-media-type",
				looks:    "a manifest that a newer runtime understands, or that was not read",
				acts:     report.FaultNode,
				rare:     true,
				question: "check the media type of the manifest:\ncurl -I https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool {
					return f.Has(report.KeyMediaType) || f.Has(report.KeyConfigType) || f.Manifest(report.KeyMediaType) != ""
				},
			},
		}},
	}
}

// rivalsOfNoFault are those of verdicts without a fault, and of none.
func rivalsOfNoFault() []rivalry {
	return []rivalry{
		{cause: report.Healthy, note: "every step on the path was seen to work, or the runtime pulled the image"},
		{cause: report.Recovered, note: "the runtime pulled the image just now"},
		{cause: report.NotAPullProblem, note: "the pod's own status says what it waits for"},
		{cause: report.Unscheduled, note: "the pod's own status says that it has no node"},
		{cause: report.Undetermined, note: "it claims no cause"},
	}
}
