package diagnosis_test

import (
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// A fix for the node says only what was compared: images that were pulled from
// the registry before, or other hosts that are unreachable too.
func TestFixSaysWhatWasCompared(t *testing.T) {
	const before, nothing = "pulled here before", "nothing else can be reached"
	pulled := check(LocalID(host), KindImage, Pass, "", ev(KeyCount, "3"))
	none := check(LocalID(host), KindImage, Pass, "", ev(KeyCount, "0"))
	isolated := check(IDControl, KindControl, Fail, NetworkUnreachable)
	for _, cause := range []Cause{ConnectionRefused, ConnectionTimeout} {
		for _, tt := range []struct {
			name          string
			checks        []Check
			fault         Fault
			want, wantNot []string
		}{
			{"images are here", []Check{pulled}, FaultNode, []string{before, host}, []string{nothing}},
			{"nothing is reachable", []Check{none, isolated}, FaultNode, []string{nothing}, []string{before}},
			{"nothing is reachable, and images are here", []Check{pulled, isolated}, FaultNode, []string{nothing}, []string{before}},
			{"no comparison", []Check{none}, FaultUndetermined, nil, []string{before, nothing}},
		} {
			v := Diagnose(all(tt.checks, ladder(KindDial, cause)))
			if v.Fault != tt.fault {
				t.Errorf("%s: %s: fault %s", cause, tt.name, v.Fault)
			}
			for _, s := range tt.want {
				if !strings.Contains(v.Fix, s) {
					t.Errorf("%s: %s: no %q in %q", cause, tt.name, s, v.Fix)
				}
			}
			for _, s := range tt.wantNot {
				if strings.Contains(v.Fix, s) {
					t.Errorf("%s: %s: %q in %q", cause, tt.name, s, v.Fix)
				}
			}
		}
		if _, fix := Advice(cause, FaultNode, Reading{Host: host}); strings.Contains(fix, before) || strings.Contains(fix, nothing) {
			t.Errorf("%s: advice without evidence compares: %q", cause, fix)
		}
	}
}

// The summary is the sentence of the check that found the cause. It follows a
// description of the cause if the check found only a symptom, or is a message.
func TestSummarySaysItOnce(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"own sentence", `tag "1" does not exist in registry.example/app`},
		{"no tag", `tag "latest" does not exist in registry.example/app; the image has no tag, which means latest`},
		{"host added", host + ": connection refused"},
		{"control added", host + ": connection refused; this node reaches 1 of 1 other hosts: mirror.example"},
		{"symptom", "a pull secret of the pod is not valid: symptom"},
		{"message", "the image's content does not match its digest: unexpected EOF"},
	} {
		var checks []Check
		switch tt.name {
		case "own sentence":
			checks = all(ladder(KindManifest, TagNotFound, saying(`tag "1" does not exist in registry.example/app`)))
		case "no tag":
			untagged := with(check(IDReference, KindReference, Pass, "", ev("domain", host, "path", "app", "tag", "latest")),
				func(c *Check) { c.Target = host + "/app" })
			checks = append(all(ladder(KindManifest, TagNotFound, saying(`tag "latest" does not exist in registry.example/app`)))[1:], untagged)
		case "host added":
			checks = all(ladder(KindDial, ConnectionRefused, saying("connection refused")))
		case "control added":
			checks = all(ladder(KindDial, ConnectionRefused, saying("connection refused")),
				check(IDControl, KindControl, Pass, "", saying("this node reaches 1 of 1 other hosts: mirror.example")))
		case "symptom":
			checks = all(check(IDPod, KindPod, Fail, PullSecretMalformed, ev(KeyProven, True), saying("symptom")))
		case "message":
			checks = all(with(reported(LayerCorrupt), saying("unexpected EOF")), ladder("", ""))
		}
		if v := Diagnose(checks); v.Summary != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, v.Summary, tt.want)
		}
	}
}

// unless comes before a command that changes the image of a Deployment.
const unless = " (unless deployment/api has another image by now: then wait for its rollout)"

// runNow follows a command that deletes the Job of a CronJob.
const runNow = "\nthe schedule makes the next Job; to have one now:\nkubectl -n shop create job --from=cronjob/nightly nightly-$(date +%s)"

// An existing name that may be meant comes first, in what the pod was made from.
func TestFixNamesWhatExists(t *testing.T) {
	const orPush = "\nor push registry.example/app:1"
	for _, tt := range []struct {
		cause      Cause
		found, pod []string
		want       string
	}{
		{TagNotFound, []string{KeySuggestTag, "1.0"}, nil, "use the existing tag:\nkubectl -n shop set image pod/web main=registry.example/app:1.0" + orPush},
		{
			RepositoryNotFound, []string{KeySuggestRepository, "shop/app"}, nil,
			"use the existing repository:\nkubectl -n shop set image pod/web main=registry.example/shop/app:1" + orPush,
		},
		{TagNotFound, nil, nil, "push registry.example/app:1, or use an existing tag in container main of pod shop/web"},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "deployment/api"},
			"use the existing tag" + unless + ":\nkubectl -n shop set image deployment/api main=registry.example/app:1.0" + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "cronjob/nightly", KeyJob, "nightly-29411520"},
			"use the existing tag:\nkubectl -n shop set image cronjob/nightly main=registry.example/app:1.0\nkubectl -n shop delete job nightly-29411520" + runNow + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "job/once"},
			"use the existing tag in job/once, and in this pod:\nkubectl -n shop set image pod/web main=registry.example/app:1.0" + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "workflow.argoproj.io/flow"},
			"use the existing tag in workflow.argoproj.io/flow, and in this pod:\nkubectl -n shop set image pod/web main=registry.example/app:1.0" + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "deploymentconfig/web"},
			"use the existing tag:\noc -n shop set image deploymentconfig/web main=registry.example/app:1.0" + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "static/etcd", KeyNode, "node-a"},
			"use the existing tag on node-a, in the file of static pod etcd (by default in /etc/kubernetes/manifests): registry.example/app:1.0" + orPush,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyOwner, "deployment/api", KeyNewerImage, "registry.example/app:1.1"},
			"deployment/api was changed after this pod was made: a newer pod has registry.example/app:1.1; " +
				"the rollout replaces this pod, see whether it ends:\nkubectl -n shop rollout status deployment/api --timeout=10s",
		},
		{
			TagNotFound, nil, []string{KeyOwner, "cronjob/nightly", KeyJob, "nightly-29411520", KeyNewerImage, "registry.example/app:1.1"},
			"cronjob/nightly was changed after this pod was made: a newer pod has registry.example/app:1.1; " +
				"delete the Job with the old image:\nkubectl -n shop delete job nightly-29411520",
		},
		{
			TagNotFound, nil, []string{KeyOwner, "cronjob/nightly", KeyJob, "nightly-29411520"},
			"push registry.example/app:1, or use an existing tag in container main of cronjob/nightly in namespace shop\n" +
				"then have the pod made from the new template:\nkubectl -n shop delete job nightly-29411520" + runNow,
		},
		{
			TagNotFound, []string{KeySuggestTag, "1.0"}, []string{KeyContainerType, "ephemeral"},
			"use the existing tag in another container:\nkubectl -n shop debug web --image=registry.example/app:1.0" + orPush,
		},
	} {
		pod := with(reported(tt.cause), ev(append([]string{KeyContainer, "main"}, tt.pod...)...))
		found := ladder(KindManifest, tt.cause)
		if tt.found != nil {
			found = ladder(KindManifest, tt.cause, ev(tt.found...))
		}
		if v := Diagnose(all(pod, found)); v.Fix != tt.want {
			t.Errorf("%s %q:\n got %q\nwant %q", tt.cause, tt.pod, v.Fix, tt.want)
		}
	}
}

// The fix of a platform that the image lacks begins with what the cluster has.
func TestFixOfPlatform(t *testing.T) {
	const see = "see whether the cluster has such nodes:\nkubectl get nodes -L kubernetes.io/arch\nif so, keep the pod on them"
	for _, tt := range []struct{ offered, owner, want string }{
		{
			"linux/arm64", "deployment/api", "the image is for linux/arm64; " + see + ":\n" +
				`kubectl -n shop patch deployment/api -p '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/arch":"arm64"}}}}}'` +
				"\nif not, publish the image for linux/amd64",
		},
		{
			"linux/arm64, linux/s390x", "deployment/api",
			"the image is for linux/arm64, linux/s390x; " + see + " (nodeSelector kubernetes.io/arch); if not, publish the image for linux/amd64",
		},
		{
			"linux/x'y", "deployment/api",
			"the image is for linux/x'y; " + see + " (nodeSelector kubernetes.io/arch); if not, publish the image for linux/amd64",
		},
		{
			"linux/arm64", "job/once",
			"the image is for linux/arm64; " + see + " (nodeSelector kubernetes.io/arch); if not, publish the image for linux/amd64",
		},
	} {
		v := Diagnose(all(
			with(reported(PlatformMismatch), ev(KeyContainer, "main", KeyOwner, tt.owner)),
			ladder(KindImage, PlatformMismatch, ev(KeyPlatforms, tt.offered, KeyWanted, "linux/amd64")),
		))
		if v.Fix != tt.want {
			t.Errorf("%s of %s:\n got %q\nwant %q", tt.offered, tt.owner, v.Fix, tt.want)
		}
	}
}

// What other pods use, or what a name must look like, is named beside what is wrong.
func TestFixNamesWhatIsMeant(t *testing.T) {
	pod := func(cause Cause) Check {
		return with(reported(cause), ev(KeyContainer, "main", KeyOwner, "deployment/api"))
	}
	nowhere := []any{pod(HostNotFound), imagesHere("0"), resolverFails(HostNotFound), ladder(KindDNS, HostNotFound)}
	const command = "kubectl -n shop set image deployment/api main="
	for _, tt := range []struct {
		name   string
		checks []Check
		fix    string
		why    string // a part of the summary
	}{
		{
			"another host that has the image",
			all(append(nowhere, suggested(KeySuggestImage, "registry.lab/app:1", KeySuggestHost, "registry.lab", KeyUsedBy, "12"))...),
			"use the existing image in registry.lab" + unless + ":\n" + command + "registry.lab/app:1" + "\n" +
				"or make registry.example resolve on this node, if it is right",
			"; registry.lab is the registry of other pods",
		},
		{
			"another host whose image was not seen",
			all(append(nowhere, suggested(KeySuggestHost, "registry.lab", KeyUsedBy, "1"))...),
			"correct the registry's name in container main of deployment/api in namespace shop, if registry.lab is meant (another pod of this node uses it); " +
				"if registry.example is right, make it resolve on this node",
			"; registry.lab is the registry of other pods",
		},
		{
			"a name without registry",
			all(pod(RepositoryNotFound), ladder(KindManifest, RepositoryNotFound), suggested(KeySuggestImage, "registry.lab/shop/app:1")),
			"use the existing image in registry.lab" + unless + ":\n" + command + "registry.lab/shop/app:1" + "\nor push registry.example/app:1",
			"; registry.lab is the registry of other pods",
		},
		{
			"a name without registry, and no way to Docker Hub",
			all(pod(ConnectionTimeout), ladder(KindDial, ConnectionTimeout), suggested(KeySuggestImage, "registry.lab/shop/app:1")),
			"from another node:\ncurl -v https://registry.example/v2/\n" +
				"if it answers there (even 401), fix this node's network; if not, contact the operator of registry.example\n" +
				"or, if registry.lab/shop/app:1 is meant, use that" + unless + ":\n" + command + "registry.lab/shop/app:1",
			"",
		},
		{
			"a project that is taken for a host",
			all(append(nowhere, suggested(KeySuggestImage, "mycompany/api:1"))...),
			"use the existing image, in lower case" + unless + ":\n" + command + "mycompany/api:1" + "\nor make registry.example resolve on this node, if it is right",
			"",
		},
		{
			"an invalid name",
			[]Check{check("reference", KindReference, Fail, InvalidReference, ev(KeySuggestImage, "registry.lab/app:1")), pod(InvalidReference)},
			"correct the image name" + unless + ":\n" + command + "registry.lab/app:1", "",
		},
		{
			"an invalid name of which nothing is known",
			[]Check{check("reference", KindReference, Fail, InvalidReference), pod(InvalidReference)},
			"correct the image name in container main of deployment/api in namespace shop", "",
		},
		{
			"a repository with the same digest",
			set(set(all(pod(RepositoryNotFound), ladder(KindManifest, RepositoryNotFound, ev(KeySuggestRepository, "shop/app"))),
				"reference", "tag", ""), "reference", "digest", "sha256:aa"),
			"use the existing repository" + unless + ":\n" + command + "registry.example/shop/app@sha256:aa" + "\n" +
				"or pin an existing digest of registry.example/app, or push the image with digest sha256:aa again",
			"",
		},
		{
			"a full disk, and a suggestion",
			all(pod(DiskFull), check("disk", KindDisk, Fail, DiskFull), suggested(KeySuggestImage, "registry.lab/shop/app:1")),
			"", "",
		},
	} {
		v := Diagnose(tt.checks)
		if v.Fix != tt.fix && tt.fix != "" {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, v.Fix, tt.fix)
		}
		if tt.fix == "" && strings.Contains(v.Fix+v.Summary, "registry.lab") {
			t.Errorf("%s: %q %q", tt.name, v.Fix, v.Summary)
		}
		if !strings.Contains(v.Summary, tt.why) {
			t.Errorf("%s: %q lacks %q", tt.name, v.Summary, tt.why)
		}
	}
}

// A fix prints a command only if evidence fills every blank of it, and only one
// that does no harm. Else it says what to do, and what is missing.
func TestFixCommands(t *testing.T) {
	suggested := ladder(KindManifest, TagNotFound, ev("suggestTag", "1.0"))
	inPod := func(kv ...string) Check {
		return with(reported(TagNotFound), ev(append([]string{"container", "main"}, kv...)...))
	}
	const mirrorFile = "/srv/certs.d/" + host + "/hosts.toml"
	configured := check("runtime/config.toml", KindRuntime, Pass, "", ev("runs", "/srv/certs.d", "filesSay", "/srv/certs.d"))
	login := func(edits ...edit) []Check {
		return all(with(reported(CredentialsMissing), ev("container", "main")), check("credentials", KindCredentials, Pass, "", ev("node", "read")),
			ladder(KindManifest, CredentialsMissing, append([]edit{ev("anonymous", "true")}, edits...)...))
	}
	mirrored := all(reported(CertificateUntrusted), configured, onHost(mirror, ladder(KindTLS, CertificateUntrusted, ev("issuer", "CN=X"))),
		onHost(host, []Check{check("manifest", KindManifest, Unknown, "")}))
	byProvider := all(check("pull", KindPull, Fail, CredentialsRejected), with(reference(), func(c *Check) { c.Evidence["domain"] = "shop.azurecr.io" }),
		onHost("shop.azurecr.io", ladder(KindManifest, CredentialsRejected, ev("usedCredential", "provider acr", "auth", "bearer"))))[1:]
	for _, tt := range []struct {
		name      string
		checks    []Check
		has, lack []string
	}{
		{"pod and container known", all(inPod(), suggested), []string{"kubectl -n shop set image pod/web main=registry.example/app:1.0"}, nil},
		{"owner known", all(inPod("owner", "deployment/web"), suggested),
			[]string{"kubectl -n shop set image deployment/web main="}, []string{"controller"}},
		{"image volume", all(inPod("volume", "data", "owner", "deployment/web"), suggested),
			[]string{`kubectl -n shop patch deployment/web -p ` +
				`'{"spec":{"template":{"spec":{"volumes":[{"name":"data","image":{"reference":"registry.example/app:1.0"}}]}}}}'`}, []string{"set image"}},
		{"no pod", all(check("pull", KindPull, Fail, TagNotFound), suggested), []string{"use the existing tag: registry.example/app:1.0"}, []string{"kubectl"}},
		{"no tag known", all(inPod(), ladder(KindManifest, TagNotFound)), []string{"in container main of pod shop/web"}, []string{"kubectl", "TAG"}},
		{"a repository that may be hidden", all(reported(RepositoryNotFound), ladder(KindManifest, RepositoryNotFound, ev("challenged", "", "anonymous", "true"))),
			[]string{"without a login, registry.example may answer 404 for a repository that it hides"}, nil},
		{"login", login(), []string{"create secret docker-registry registry-example --docker-server=" + host}, nil},
		{"login of a web site", set(login(), atRegistry, "isRegistry", "false"), []string{"whether registry.example is the intended registry"}, []string{"create secret"}},
		{"login under a wildcard", set(login(), atDNS, "sibling", "same"), []string{"intended registry"}, []string{"create secret"}},
		{"login, no pod", all(check("pull", KindPull, Fail, CredentialsMissing), ladder(KindManifest, CredentialsMissing)),
			[]string{"add a pull secret for registry.example"}, []string{"kubectl"}},
		{"login, and the pod's secrets cannot be read", all(
			with(reported(CredentialsMissing), ev("container", "main", "pullSecrets", "a,regcred")),
			check("credentials", KindCredentials, Skipped, "", ev("unreadable", "shop/a, shop/regcred", "node", "read")),
			ladder(KindManifest, CredentialsMissing, ev("anonymous", "true"))),
			[]string{"pullprobe cannot read them:\nkubectl -n shop get secrets a regcred"}, []string{"create secret"}},
		{"one missing secret", all(reported(CredentialsMissing), secret(PullSecretMissing), ladder(KindManifest, CredentialsMissing)),
			[]string{"create secret docker-registry regcred"}, nil},
		{"missing secret among others", all(reported(CredentialsMissing), secret(PullSecretMissing, ev("absent", "a, b")), ladder(KindManifest, CredentialsMissing)),
			[]string{"if it is meant for registry.example"}, []string{"create secret"}},
		{"a missing secret with nearly the name of another", all(with(reported(CredentialsMissing), func(c *Check) {
			c.Evidence["similarSecret"], c.Evidence["similarUsers"], c.Evidence["owner"] = "regcrd", "3", "deployment/web"
			c.Evidence["namespace"], c.Evidence["name"], c.Evidence["container"] = "pay", "web-1", "app"
		}), secret(PullSecretMissing), ladder(KindManifest, CredentialsMissing)),
			[]string{
				"regcrd, which 3 other pods of namespace pay on this node use:\nkubectl -n pay get secret regcrd\n",
				`2. if it should, list regcrd in deployment/web:` + "\n" + `kubectl -n pay patch deployment/web -p '{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"regcrd"},{"$patch":"delete","name":"regcred"}]}}}}'`,
				"3. if not, create regcred,", "kubectl -n pay create secret docker-registry regcred --docker-server=registry.example",
			}, []string{"NAME"}},
		{"no secret, and others use one for this registry", set(set(set(login(), "pod", "similarSecret", "harbor"), "pod", "similarUsers", "1"), "pod", "similarFor", "registry.example"),
			[]string{
				"secret harbor, which another pod of namespace shop on this node uses for registry.example:\nkubectl -n shop get secret harbor\n2. if it should, list harbor in",
				"3. if not, create another secret", "create secret docker-registry registry-example --docker-server=registry.example",
			}, nil},
		{"a secret that the kubelet ignores", all(reported(CredentialsMissing), secret(PullSecretMalformed), ladder(KindManifest, CredentialsMissing)),
			[]string{"the kubelet ignores regcred"}, []string{"delete"}},
		{"a secret that stops the kubelet", all(reported(PullSecretMalformed), secret(PullSecretMalformed, ev("fatal", "true")), ladder("", "")),
			[]string{"delete secret regcred"}, nil},
		{"full disk", all(reported(DiskFull), check("disk", KindDisk, Fail, DiskFull)), []string{"free space on /var/lib/containerd"}, []string{"prune", "crictl"}},
		{"untrusted mirror", mirrored, []string{mirrorFile, "for " + mirror}, []string{"certs.d/" + mirror}},
		{"untrusted, no config_path", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted)),
			[]string{"config_path"}, []string{"/etc/containerd/certs.d"}},
		{"untrusted, config_path by default", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted),
			check("runtime/config.toml", KindRuntime, Pass, "", ev("runs", "/etc/containerd/certs.d:/etc/docker/certs.d"))),
			[]string{"config_path"}, []string{"/etc/containerd"}},
		{"an intermediate that may be missing", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("missingIntermediate", "likely"))),
			[]string{"-showcerts"}, []string{"ca =", "ingress"}},
		{"refused by a quota", all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("status", "403", "refusedFor", "quota"))),
			[]string{"quota"}, []string{"grant", "secret"}},
		{"refused by a policy", all(reported(AccessForbidden), ladder(KindManifest, AccessForbidden, ev("status", "412", "policy", "true"))),
			[]string{"rule"}, []string{"grant", "secret"}},
		{"no login at a registry of a cloud", set(login(), "credentials", "possibleProvider", "ecr-credential-provider"),
			[]string{"ecr-credential-provider"}, []string{"create secret"}},
		{"a site that the node cannot judge", set(set(login(), atRegistry, "isRegistry", ""), atManifest, "code", ""),
			[]string{"intended registry"}, []string{"create secret"}},
		{"untrusted, k3s", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted),
			check("runtime/config.toml", KindRuntime, Pass, "", ev("filesSay", "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"))),
			[]string{"registries.yaml"}, nil},
		{"no CA certificates at all", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("roots", "0"))),
			[]string{"this node has no CA certificate at all; on this node: add "}, []string{"container"}},
		{"no CA certificates at all, in a container", all(ladder(KindTLS, CertificateUntrusted, ev("roots", "0")),
			check("runtime", KindRuntime, Skipped, "")), []string{"no CA certificates are here at all: check with --runtime-endpoint"}, []string{"trust store"}},
		{"staging authority", all(reported(CertificateUntrusted), ladder(KindTLS, CertificateUntrusted, ev("placeholder", "Let's Encrypt staging"))),
			[]string{"production authority"}, []string{"trust store", "ca ="}},
		{"plain HTTP at the default port", all(reported(PlainHTTPRegistry), configured, ladder(KindTLS, PlainHTTPRegistry)),
			[]string{"http://registry.example:443", mirrorFile}, nil},
		{"plain HTTP, and what answers is not known", set(all(reported(PlainHTTPRegistry), configured, ladder(KindTLS, PlainHTTPRegistry)), atTLS, "httpAnswer", ""),
			[]string{"serve registry.example with TLS"}, []string{"http://"}},
		{"plain HTTP of a portal", set(all(reported(PlainHTTPRegistry), configured, ladder(KindTLS, PlainHTTPRegistry)), atTLS, "httpAnswer", "other"),
			[]string{"login portal"}, []string{"http://", "hosts.toml"}},
		{"an expired CA of the node", all(reported(CertificateExpired), configured, ladder(KindTLS, CertificateExpired, ev("expiredFrom", "node"))),
			[]string{"expired CA"}, []string{"renew the certificate"}},
		{"layers on a host that fails for everyone", all(reported(CertificateExpired, BlobHostUnreachable), ladder("", ""),
			check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "CertificateExpired", "blobHost", "cdn.example"))),
			[]string{"cdn.example", "operator"}, []string{"allow"}},
		{"layers on a host that refuses", all(reported(ConnectionRefused, BlobHostUnreachable), ladder("", ""),
			check("blob/"+host, KindBlob, Fail, BlobHostUnreachable, ev("innerCause", "ConnectionRefused", "blobHost", "cdn.example"))),
			[]string{"from another node:\ncurl -v https://cdn.example/\n"}, nil},
		{"a token service that does not answer", all(reported(ConnectionTimeout, TokenServiceFailed),
			ladder(KindManifest, TokenServiceFailed, ev("innerCause", "ConnectionTimeout"))), []string{"from another node"}, nil},
		{"unit known", all(newer("runtime/ca", ev("unit", "k3s.service")), editedAt(ladder("", ""), 2, ev("rootNewer", "/x")),
			check("pull", KindPull, Fail, CertificateUntrusted)), []string{"systemctl restart k3s.service"}, nil},
		{"unit unknown", all(newer("runtime/ca"), editedAt(ladder("", ""), 2, ev("rootNewer", "/x")),
			check("pull", KindPull, Fail, CertificateUntrusted)), []string{"restart the runtime"}, []string{"systemctl"}},
		{"role missing in Azure", byProvider, []string{"AcrPull"}, []string{"password"}},
		{"HEAD not passed on", all(reported(TagNotFound), ladder(KindManifest, TagNotFound, ev("getStatus", "200"))), []string{"answer HEAD"}, []string{"push "}},
		{"nothing known", all(reported(Undetermined), ladder(KindManifest, Undetermined)), []string{"to find out"}, nil},
		{"secret known", all(reported(CredentialsRejected), ladder(KindManifest, CredentialsRejected, ev("usedCredential", "secret shop/quay"))),
			[]string{"create secret docker-registry quay "}, nil},
	} {
		v := Diagnose(tt.checks)
		for _, s := range tt.has {
			if !strings.Contains(v.Fix, s) {
				t.Errorf("%s: %s %s: no %q in %q", tt.name, v.Fault, v.Cause, s, v.Fix)
			}
		}
		if strings.Contains(v.Summary, "the pod has none") && strings.Contains(v.Fix, "cannot read") {
			t.Errorf("%s: the summary knows what could not be read: %s", tt.name, v.Summary)
		}
		for _, s := range append(tt.lack, "NAMESPACE", "POD", "CONTAINER", "SECRET", "TAG", "IMAGE") {
			if strings.Contains(v.Fix, s) {
				t.Errorf("%s: %s %s: %q in %q", tt.name, v.Fault, v.Cause, s, v.Fix)
			}
		}
	}
}
