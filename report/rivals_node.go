package report

// rivalsOfTheRuntime are those of the runtime and its configuration.
func rivalsOfTheRuntime() []rivalry {
	return []rivalry{
		{cause: RuntimeUnavailable, note: "the runtime's own socket does not answer: whatever the reason, it is on this node"},
		{cause: RuntimeConfigStale, rivals: []rival{
			{
				id:       "failed-before",
				looks:    "a fault that is over: the message is older than the checks that pass",
				acts:     FaultNone,
				rare:     true,
				question: "check whether the pull succeeds after a restart of the runtime",
				excluded: func(f finding) bool { return f.message.fromTestPull() && !f.obstacle.found() },
			},
		}},
		{cause: RuntimeConfigInvalid, rivals: []rival{
			{
				id:       "file-does-not-matter",
				looks:    "a fault that the file would not have changed: the runtime ignores it",
				acts:     FaultUndetermined,
				rare:     true,
				question: "pull after the file is corrected: {hostsFile}",
				excluded: func(f finding) bool { return !f.has(KeyIgnored, True) },
			},
		}},
		{cause: SandboxImageUnavailable, rivals: []rival{
			{
				id:       "sandbox-fails-otherwise",
				looks:    "a pod that waits for something else before its sandbox, such as its network",
				acts:     FaultUndetermined,
				rare:     true,
				question: "read the runtime's own error: kubectl describe pod shows it as FailedCreatePodSandBox",
				excluded: func(f finding) bool { return f.message.mayMean(SandboxImageUnavailable) },
			},
		}},
		{cause: MirrorFaulty, rivals: []rival{
			{
				id:       "upstream-not-seen",
				looks:    "an image that the upstream lacks, too",
				acts:     FaultUndetermined,
				rare:     true,
				question: "pull without this mirror",
				excluded: func(f finding) bool {
					hosts := f.hosts()
					return len(hosts) > 1 && f.get(ManifestID(hosts[len(hosts)-1])).Outcome == Pass
				},
			},
		}},
		{cause: PullTimedOut, rivals: []rival{
			{
				id:       "slow-elsewhere",
				looks:    "a registry or a layers' host that is slow for everyone",
				acts:     FaultRegistry,
				rare:     true,
				question: "measure how fast another node downloads these layers",
			},
		}},
		{cause: PullQueueLimited, rivals: []rival{
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
			acts:     FaultRegistry,
			question: "check the image file system on {node}: df -h {disk}; df -i {disk}",
			excluded: func(f finding) bool { return f.failedHere(KindDisk) || f.failedHere(KindRuntime) },
		}
	}
	return []rivalry{
		{cause: DiskFull, rivals: []rival{own("full-elsewhere")}},
		{cause: InodesExhausted, rivals: []rival{own("no-inodes-elsewhere")}},
		{cause: DiskReadOnly, rivals: []rival{own("read-only-elsewhere")}},
		{cause: DiskIOError, rivals: []rival{own("io-error-elsewhere")}},
		{cause: UnpackFailed, rivals: []rival{
			{
				id:       "bad-layer",
				looks:    "a layer that no node can unpack",
				acts:     FaultRegistry,
				rare:     true,
				question: "check whether another node unpacks the same image",
			},
		}},
		{cause: LayerCorrupt, rivals: []rival{
			{
				id:       "spoilt-on-the-way",
				looks:    "a proxy, a mirror or a layers' host that changes or cuts off what it passes on",
				acts:     FaultUndetermined,
				rare:     true,
				question: "check whether another node gets the same layer from {host}",
				excluded: func(f finding) bool { return f.failedHere(KindBlob) && f.direct() && f.has(KeyStatus, "404") },
			},
			{
				id:       "content-of-a-cache",
				looks:    "a cache of another registry that has the manifest, and cannot get the layers now",
				rare:     true,
				question: "check whether {repository} on {host} is a cache (proxy repository), and whether it reaches its registry",
				excluded: func(f finding) bool { return !f.mayBeCache() },
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
			acts:     FaultUndetermined,
			question: "send the same request from another network, or without the proxy: who answers for {host}?",
			excluded: func(f finding) bool {
				// A proxy answers for a host as a whole.
				return f.direct() || f.has(KeyCode) || f.Cause != TokenServiceFailed && f.isRegistry()
			},
		}
	}
	return []rivalry{
		{cause: RateLimited, rivals: []rival{
			onTheWay("limited-on-the-way", "a proxy or a gateway that limits requests itself"),
		}},
		{cause: RegistryUnavailable, rivals: []rival{
			onTheWay("answered-by-the-proxy", "a proxy that answers for a registry that it cannot reach"),
			{
				id:       "error-of-no-registry",
				looks:    "a web server or an ingress without a backend, where a misspelt host leads",
				acts:     FaultConfig,
				rare:     true,
				question: "check whether {host} is a registry at all: curl -i https://{hostport}/v2/",
				excluded: func(f finding) bool { return f.isRegistry() && !f.underWildcard() },
			},
			{
				id:       "head-answered-otherwise",
				looks:    "something in front of the registry that answers HEAD otherwise than GET",
				acts:     FaultRegistry,
				question: "compare GET with HEAD from another network: curl -i, curl -I https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool { return f.manifest(KeyGetStatus) != "200" },
			},
		}},
		{cause: TokenServiceFailed, rivals: []rival{
			onTheWay("token-answer-of-the-proxy", "a proxy or a portal that answers for the token service"),
		}},
		{cause: BlobHostUnreachable, note: "a host of layers that is down for everyone, and a firewall, look alike: " +
			"who must act is undetermined without further evidence"},
		{cause: UnsupportedManifest, rivals: []rival{
			{
				id:       "unknown-media-type",
				looks:    "a manifest that a newer runtime understands, or that was not read",
				acts:     FaultNode,
				rare:     true,
				question: "check the media type of the manifest: curl -I https://{host}/v2/{repository}/manifests/{tag}",
				excluded: func(f finding) bool {
					return f.has(KeyMediaType) || f.has(KeyConfigType) || f.manifest(KeyMediaType) != ""
				},
			},
		}},
	}
}

// rivalsOfNoFault are those of verdicts without a fault, and of none.
func rivalsOfNoFault() []rivalry {
	return []rivalry{
		{cause: Healthy, note: "every step on the path was seen to work, or the runtime pulled the image"},
		{cause: Recovered, note: "the runtime pulled the image just now"},
		{cause: NotAPullProblem, note: "the pod's own status says what it waits for"},
		{cause: Unscheduled, note: "the pod's own status says that it has no node"},
		{cause: Undetermined, note: "it claims no cause"},
	}
}
