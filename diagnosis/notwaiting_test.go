package diagnosis_test

import (
	"strings"
	"testing"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

const (
	oneDigest   = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	otherDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// podThat returns the check of a pod in a state.
func podThat(state string, edits ...edit) Check {
	cause := NotAPullProblem
	if state == "running" || state == "initializing" {
		cause = ""
	}
	names := ev("state", state, "namespace", "shop", "name", "web", "container", "app")
	return check("pod", KindPod, Pass, cause, append([]edit{names, saying("container app is " + state)}, edits...)...)
}

// failsToExecute returns the check of a pod of which the runtime reports "exec format error".
func failsToExecute() Check {
	c := podThat("crashed", ev("execFormat", "runtime", "could", "PlatformMismatch,NotAPullProblem"))
	c.Outcome, c.Cause = Fail, PlatformMismatch
	return c
}

// here returns the check of the image on the node.
func here(platform string, edits ...edit) Check {
	c := check("local/"+host+"/image", KindImage, Pass, "", append([]edit{
		ev("imageID", oneDigest, "digest", oneDigest, "platform", platform, "wanted", "linux/amd64"),
		saying("the image is on the node (" + oneDigest + ", 1.0 MiB)"),
	}, edits...)...)
	if platform != "linux/amd64" {
		c.Outcome, c.Cause, c.Summary = Fail, PlatformMismatch, host+"/app:1 on this node is built for "+platform+", this node is linux/amd64"
	}
	return c
}

func situationsOfPodsThatDoNotWait() []situation {
	const amd, arm = "linux/amd64", "linux/arm64"
	onNode := check("local/"+host, KindImage, Pass, "", ev("present", "true"))
	atOnce := func(code string) edit { return ev("exitCode", code, "atOnce", "true") }
	return []situation{
		{"runs, and can be pulled", all(podThat("running"), here(amd), pullable()), FaultNone, Healthy, Likely, "blob/" + host},
		{
			"runs, and its tag is gone",
			all(podThat("running"), here(amd), ladder(KindManifest, TagNotFound)),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"runs, and not every step was seen",
			all(podThat("running"), here(amd), ladder("", "")),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"comes after an init container, and its tag is gone",
			all(podThat("initializing"), ladder(KindManifest, TagNotFound)),
			FaultConfig, TagNotFound, Likely, atManifest,
		},
		{
			"comes after an init container, and its image is on the node",
			all(podThat("initializing"), here(amd), onNode, ladder(KindManifest, TagNotFound)),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"comes after an init container, and can be pulled",
			all(podThat("initializing"), pullable()),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"comes after an init container, and not every step was seen",
			all(podThat("initializing"), ladder("", "")),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{"crashes", all(podThat("crashed", atOnce("1")), here(amd), pullable()), FaultNone, NotAPullProblem, Confirmed, "pod"},
		{
			"exec format error, image for another platform",
			all(failsToExecute(), here(arm), pullable()),
			FaultConfig, PlatformMismatch, Confirmed, "local/" + host + "/image",
		},
		{
			"exec format error, image for this platform",
			all(failsToExecute(), here(amd), pullable()),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"exec format error, another image has the name by now",
			all(with(failsToExecute(), ev("digest", otherDigest)), here(arm), pullable()),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"exec format error, the image's platform is not known",
			all(failsToExecute(), pullable()),
			FaultUndetermined, Undetermined, ConfidenceUndetermined, "pod",
		},
		{
			"exec format error in the log, image for another platform",
			all(podThat("crashed", ev("execFormat", "log")), here(arm), pullable()),
			FaultConfig, PlatformMismatch, Likely, "local/" + host + "/image",
		},
		{
			"ends at once with runc's exit code, image for another platform",
			all(podThat("crashed", atOnce("255")), here(arm), pullable()),
			FaultConfig, PlatformMismatch, Likely, "local/" + host + "/image",
		},
		{
			"ends at once with another exit code, image for another platform",
			all(podThat("crashed", atOnce("2")), here(arm), pullable()),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
		{
			"ends later, image for another platform",
			all(podThat("crashed", ev("exitCode", "255")), here(arm), pullable()),
			FaultNone, NotAPullProblem, Confirmed, "pod",
		},
	}
}

// A pod that does not wait for an image is told so, with what a new pull would meet, and
// nothing that the kubelet does not do.
func TestAnswersForPodsThatDoNotWait(t *testing.T) {
	noSandbox := check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent", "namespace", "shop", "name", "web"))
	noVolume := check("pod", KindPod, Pass, "", ev("creating", "true", "sandbox", "absent", "namespace", "shop", "name", "web",
		"volumesNeed", "configmap/settings,secret/db", "owner", "deployment/web"))
	absent := check("local/"+host, KindImage, Pass, "", ev("present", "false"))
	onNode := check("local/"+host, KindImage, Pass, "", ev("present", "true"))
	waits := func(what string) Check { return podThat("waiting", ev("waitsFor", what, "owner", "deployment/web")) }
	for _, tt := range []struct {
		name      string
		checks    []Check
		has, lack []string
	}{
		{"runs", all(podThat("running"), here("linux/amd64"), pullable()), []string{
			"why container app is running; the image is on the node (" + oneDigest + ", 1.0 MiB); a new pull would work now",
		}, nil},
		{"tag is gone", all(podThat("running"), here("linux/amd64"), ladder(KindManifest, TagNotFound)), []string{
			"; a new pull would fail: cluster-config / TagNotFound (likely): ", "also TagNotFound", "fix ",
		}, []string{"wait for", "does not block"}},
		{"not every step was seen", all(podThat("running"), ladder("", "")), []string{"; whether a new pull would work is not known: "}, []string{
			"crictl pull", "would work now", "would fail",
		}},
		{"the name is gone", all(podThat("running"), absent, pullable()), []string{"; the node has no image of this name; "}, nil},
		{"another image runs", all(podThat("running", ev("digest", otherDigest)), here("linux/amd64"), pullable()), []string{
			", but the container has another one: " + otherDigest,
		}, nil},
		{
			"the tag was moved",
			all(podThat("running"), here("linux/amd64"), ladder("", ""), check("blob/"+host, KindBlob, Pass, ""),
				with(check("image/"+host, KindImage, Pass, ""), ev("digest", otherDigest))),
			[]string{"; the registry has another one under this name: " + otherDigest},
			nil,
		},
		{"no ConfigMap", all(waits("configmap/settings"), pullable()), []string{
			"why container app is waiting fix create ConfigMap settings, or correct its name in deployment/web; those that exist: " +
				"kubectl -n shop get configmaps",
		}, []string{"this pod is not waiting"}},
		{"no key", all(waits("secret/db/password"), pullable()), []string{
			"add key password to Secret db, or correct the key in deployment/web; the keys that it has: kubectl -n shop describe secret db",
		}, nil},
		{"after an init container", all(podThat("initializing", ev("waitsFor", "init/first")), pullable()), []string{
			"why container app is initializing; a new pull would work, as far as checked",
			"see what init container first does: kubectl -n shop logs web -c first",
		}, []string{"to confirm"}},
		{"after an init container, and its tag is gone", all(podThat("initializing"), ladder(KindManifest, TagNotFound)), []string{
			"why the next pull will fail: ", "; now container app is initializing", "wait for the kubelet's first pull of this image",
		}, []string{"cluster-config / TagNotFound"}},
		{"runs, and its image is here", all(podThat("running"), here("linux/amd64"), onNode, pullable()), nil, []string{"to confirm"}},
		{"no volume", all(noSandbox, ladder("", "")), []string{
			"why as seen by pod fix see which volume or network it waits for: kubectl -n shop describe pod web",
		}, []string{"to confirm"}},
		{"no object of a volume", all(noVolume, ladder("", "")), []string{
			"the owner of deployment/web checks whether this exists, and creates what is missing, or corrects its name in deployment/web: " +
				"kubectl -n shop get configmap settings kubectl -n shop get secret db",
		}, []string{"describe pod"}},
		{"beside a container that waits", all(podThat("running", ev("othersWait", "proxy")), here("linux/amd64"), pullable()), []string{
			"why the pod waits for the image of container proxy, not for that of app: container app is running; ",
		}, nil},
		{"its image can be pulled, beside two that wait", all(check("pod", KindPod, Pass, "", ev("container", "app", "othersWait", "a, b")), pullable()), []string{
			"why the pod waits for the image of containers a, b, not for that of app: the image can be pulled on this node",
		}, nil},
		{"cannot start", all(waits("start"), pullable()), []string{"all of it: kubectl -n shop describe pod web"}, nil},
		{"crashes", all(waits("restart"), pullable()), []string{"see why it ended: kubectl -n shop logs web -c app"}, nil},
		{"other architecture", all(failsToExecute(), here("linux/arm64"), pullable()), []string{
			"container app fails with exec format error: " + host + "/app:1 on this node is built for linux/arm64, this node is linux/amd64",
			"nodeSelector kubernetes.io/arch",
		}, nil},
		{"a script", all(failsToExecute(), here("linux/amd64"), pullable()), []string{
			"a script without a #! line, or built for another architecture although the image is declared for linux/amd64",
		}, nil},
		{"perhaps another architecture", all(podThat("crashed", ev("exitCode", "255", "atOnce", "true")), here("linux/arm64")), []string{
			"kubectl -n shop logs web -c app",
		}, nil},
	} {
		text := textOf(tt.checks)
		for _, want := range tt.has {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, text)
			}
		}
		for _, other := range tt.lack {
			if strings.Contains(text, other) {
				t.Errorf("%s: %q in\n%s", tt.name, other, text)
			}
		}
	}
	v := Diagnose(all(podThat("running"), ladder(KindManifest, TagNotFound)))
	if v.Fault != FaultNone || v.Also[0] != TagNotFound {
		t.Errorf("who acts: %s, also %v", v.Fault, v.Also)
	}
}
