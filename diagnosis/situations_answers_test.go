package diagnosis_test

import . "github.com/pullprobe/pullprobe/report"

// situationsOfWeakAnswers are about answers that may mean something else.
func situationsOfWeakAnswers() []situation {
	refused := func(reason string) []Check {
		manifest := ladder(KindManifest, CredentialsRejected, ev("auth", "bearer"))
		manifest[4].BlockedBy = "token/" + host
		return all(
			check("pull", KindPull, Fail, CredentialsRejected, ev("auth", "secret a")),
			check("token/"+host, KindToken, Fail, CredentialsRejected, ev("status", "401", "refusedFor", reason)),
			manifest,
		)
	}
	lost := func(code string) []Check {
		return all(
			check("pull", KindPull, Fail, LayerCorrupt),
			ladder("", ""),
			check("blob/"+host, KindBlob, Fail, LayerCorrupt, ev("status", "404", "code", code)),
		)
	}
	const lostLogin = "the token service redirects POST, and the login is lost there"
	return []situation{
		{
			"a token service that drops the login on a redirect",
			all(
				check("pull", KindPull, Fail, AccessDeniedOrMissing, ev("auth", "secret a")),
				check("token/"+host, KindToken, Pass, "", ev("loginNotSent", lostLogin)),
				ladder(KindManifest, TokenServiceFailed, ev("status", "401", "loginNotSent", lostLogin)),
			),
			FaultRegistry, TokenServiceFailed, Likely, atManifest,
		},
		{
			"an index without this platform, pulled all the same",
			all(
				check("pull", KindPull, Pass, ""),
				ladder(KindImage, PlatformMismatch, ev("index", "true", "platforms", "linux/386")),
			),
			FaultNone, Healthy, Confirmed, "pull",
		},
		{
			"a layers' host that refuses the login which only the runtime sends along",
			all(
				check("pull", KindPull, Fail, AccessForbidden, ev("step", "blob", "auth", "secret a")),
				ladder("", ""),
				check("blob/"+host, KindBlob, Pass, "", ev("blobHost", "cdn."+host, "runtimeWouldSend", "true", "notSeen", "the layer with the login")),
			),
			FaultUndetermined, BlobHostUnreachable, Likely, "blob/" + host,
		},
		{"a token service that rejects the login", refused("none"), FaultConfig, CredentialsRejected, Confirmed, atManifest},
		{"a token service that answers 401 for another reason", refused("other"), FaultConfig, CredentialsRejected, Likely, atManifest},
		{"a layer that the registry does not have", lost("BLOB_UNKNOWN"), FaultRegistry, LayerCorrupt, Confirmed, "blob/" + host},
		{"a layer's 404 without a code", lost(""), FaultRegistry, LayerCorrupt, Likely, "blob/" + host},
	}
}
