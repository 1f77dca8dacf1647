package advice

import (
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// fixOfPod returns what to do where a pod waits for something else than an image.
func (a adviser) fixOfPod() string {
	pod := a.Get(report.IDPod).Evidence
	if a.Cause != report.NotAPullProblem {
		return ""
	}
	const describe = "\nkubectl -n {ns} describe pod {pod}"
	what, rest, named := strings.Cut(pod[report.KeyWaitsFor], "/")
	switch {
	case named || what == "start" || what == "restart" || what == "restarted":
	case pod[report.KeySandbox] == "absent" && pod[report.KeyVolumesNeed] != "":
		return fixOfVolumes(pod[report.KeyVolumesNeed])
	case pod[report.KeySandbox] == "absent":
		return "see which volume or network it waits for:" + describe
	default:
		return ""
	}
	switch what {
	case "configmap", "secret":
		kind := map[string]string{"configmap": "ConfigMap", "secret": "Secret"}[what]
		if object, key, hasKey := strings.Cut(rest, "/"); hasKey {
			return "add key " + key + " to " + kind + " " + object + ", or correct the key in {owner}; the keys that it has:\n" +
				"kubectl -n {ns} describe " + what + " " + object
		}
		return "create " + kind + " " + rest + ", or correct its name in {owner}; those that exist:\nkubectl -n {ns} get " + what + "s"
	case "init":
		return "see what init container " + rest + " does:\nkubectl -n {ns} logs {pod} -c " + rest
	case "start":
		return "correct what the message names in {owner}; all of it:" + describe
	case "restarted":
		return "see why it ended:\nkubectl -n {ns} logs {pod} -c {container} --previous"
	case "restart":
		return "see why it ended:\nkubectl -n {ns} logs {pod} -c {container}"
	}
	return ""
}

// fixOfVolumes returns how the owner of the workload finds which object is missing. The
// commands do not show what a Secret contains.
func fixOfVolumes(objects string) string {
	fix := "the owner of {owner} checks whether this exists, and creates what is missing, or corrects its name in {owner}:"
	for object := range strings.SplitSeq(objects, ",") {
		kind, name, _ := strings.Cut(object, "/")
		fix += "\nkubectl -n {ns} get " + kind + " " + name
	}
	return fix
}
