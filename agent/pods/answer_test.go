package pods

import (
	"strings"
	"testing"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/report"
)

// at returns a time as the API has it.
func at(seconds int) metav1.Time {
	return metav1.NewTime(born.Add(time.Duration(seconds) * time.Second))
}

// runEnded returns a state of a container as containerd 2.4 with runc 1.5 and the kubelet 1.36
// report it, seen in the lab.
func runEnded(reason string, code int32, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: reason, ExitCode: code, Message: message, StartedAt: at(5), FinishedAt: at(5),
	}}
}

// inStatus returns an edit that gives the container of aPod a state.
func inStatus(now, last corev1.ContainerState, restarts int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "c", State: now, LastTerminationState: last, RestartCount: restarts, ImageID: "registry.example/app@sha256:1111",
		}}
	}
}

func waits(reason, message string) corev1.ContainerState { return waiting("c", reason, message).State }

const (
	notStarted = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: " +
		"unable to start container process: error during container init: exec: "
	execRunc  = "exec /sleeper: exec format error\n"                  // with terminationMessagePolicy FallbackToLogsOnError
	execOther = notStarted + `"/sleeper": exec format error: unknown` // of a runtime that executes it before it answers
	canary    = "hunter2-canary"
)

// TestAnswers checks what a pod is said to do that does not wait for an image, by statuses
// that the kubelet wrote.
func TestAnswers(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(5)}}
	none := corev1.ContainerState{}
	no := false
	tests := []struct {
		name    string
		edit    func(*corev1.Pod)
		state   string
		waits   string
		cause   report.Cause
		outcome report.Outcome
		text    string
	}{
		{"runs", inStatus(running, none, 0), "running", "", "", report.Pass, "container c has been running since 2026-"},
		{"runs again", inStatus(running, runEnded("OOMKilled", 137, canary), 2), "running", "", "", report.Pass,
			"2 restarts; before that: exit code 137 (OOMKilled) at "},
		{"has just been started again", inStatus(
			corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(3595)}}, runEnded("Error", 255, ""), 2,
		), "crashed", "restarted", report.NotAPullProblem, report.Pass,
			"was started again at 2026-11-21 04:59:55 UTC (2 restarts); before that: exit code 255 (Error)"},
		{"is not ready", func(p *corev1.Pod) {
			inStatus(running, none, 0)(p)
			p.Spec.Containers[0].ReadinessProbe = &corev1.Present{}
		}, "running", "readiness", "", report.Pass, "has not passed its readiness probe"},
		{"has not started up", func(p *corev1.Pod) {
			inStatus(running, none, 0)(p)
			p.Spec.Containers[0].StartupProbe, p.Status.ContainerStatuses[0].Started = &corev1.Present{}, &no
		}, "running", "startup", "", report.Pass, "has not passed its startup probe"},
		{"no ConfigMap", inStatus(waits("CreateContainerConfigError", `configmap "nowhere" not found`), none, 0),
			"waiting", "configmap/nowhere", report.NotAPullProblem, report.Pass,
			"container c has its image and waits for ConfigMap nowhere, which does not exist in namespace "},
		{"no Secret", inStatus(waits("CreateContainerConfigError", `secret "gone" not found`), none, 0),
			"waiting", "secret/gone", report.NotAPullProblem, report.Pass, "waits for Secret gone, which does not exist"},
		{"no key", inStatus(waits("CreateContainerConfigError", "couldn't find key zzz in Secret facts/have"), none, 0),
			"waiting", "secret/have/zzz", report.NotAPullProblem, report.Pass, "waits for key zzz of Secret have"},
		{"runs as root", inStatus(waits("CreateContainerConfigError",
			`container has runAsNonRoot and image will run as root (pod: "nonroot_facts(214c)", container: app)`), none, 0),
			"waiting", "start", report.NotAPullProblem, report.Pass, "cannot be created: container has runAsNonRoot and image will run as root"},
		{"a name that is no name", inStatus(waits("CreateContainerConfigError", `configmap "$(reboot)" not found`), none, 0),
			"waiting", "start", report.NotAPullProblem, report.Pass, "cannot be created: "},
		{"no program", inStatus(waits("RunContainerError", notStarted+`"/nope": stat /nope: no such file or directory`),
			runEnded("StartError", 128, notStarted+`"/nope": stat /nope: no such file or directory`), 3),
			"crashed", "start", report.NotAPullProblem, report.Pass, `cannot be started: exec: "/nope": stat /nope: no such file or directory`},
		{"no program, between two starts", inStatus(waits("CrashLoopBackOff", "back-off 40s restarting failed container=c pod=p_ns(u)"),
			runEnded("StartError", 128, notStarted+`"/nope": stat /nope: no such file or directory`), 3),
			"crashed", "start", report.NotAPullProblem, report.Pass, `"/nope": stat /nope: no such file or directory`},
		{"a whole command as program", inStatus(waits("RunContainerError", notStarted+`"login --password `+canary+`": executable file not found`),
			none, 0), "crashed", "start", report.NotAPullProblem, report.Pass, "container c has its image and cannot be started"},
		{"a whole command as program, between two starts", inStatus(waits("CrashLoopBackOff", "back-off"),
			runEnded("StartError", 128, notStarted+`"login --password `+canary+`": executable file not found`), 3),
			"crashed", "start", report.NotAPullProblem, report.Pass, "cannot be started: the runtime could not start it (StartError)"},
		{"crashes", inStatus(waits("CrashLoopBackOff", "back-off"), runEnded("Error", 3, canary), 5),
			"crashed", "restart", report.NotAPullProblem, report.Pass, "does not keep running: exit code 3 (Error) at "},
		{"has just crashed", inStatus(runEnded("Error", 255, ""), runEnded("Error", 255, ""), 1),
			"crashed", "restart", report.NotAPullProblem, report.Pass, "exit code 255 (Error) at 2026-"},
		{"has ended", inStatus(runEnded("Completed", 0, canary), none, 0),
			"ended", "", report.NotAPullProblem, report.Pass, "container c has ended: exit code 0 (Completed)"},
		{"a hook fails", inStatus(waits("PostStartHookError", canary), none, 0),
			"waiting", "", report.NotAPullProblem, report.Pass, "waits for something else: PostStartHookError"},
		{"after an init container", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "registry.example/init:1"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "first", State: running}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "PodInitializing", "")}
		}, "initializing", "init/first", "", report.Pass, "container c waits for init container first, which has been running since "},
		{"after the first of two init containers", func(p *corev1.Pod) {
			inits(p, corev1.ContainerStatus{Name: "i", State: running}, waiting("j", "PodInitializing", ""))
		}, "initializing", "init/i", "", report.Pass, "container c waits for init container i, which has been running since "},
		{"after an init container that crashes", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "registry.example/init:1"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "first", State: runEnded("Error", 1, canary)}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "PodInitializing", "")}
		}, "initializing", "init/first", "", report.Pass, "init container first, which fails: exit code 1 (Error)"},
		{"exec format error of the runtime", inStatus(waits("RunContainerError", execOther), none, 0),
			"crashed", "start", report.PlatformMismatch, report.Fail, "exec format error"},
		{"the pod has completed", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
			"succeeded", "", report.NotAPullProblem, report.Pass, "the pod has completed; it needs no image, so nothing was checked"},
		{"evicted", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
			p.Status.Message = "The node was low on resource: memory.\x1b[31m "
		}, "failed", "", report.NotAPullProblem, report.Pass,
			"has failed (Evicted); it needs no image, so nothing was checked: The node was low on"},
		{"being deleted", func(p *corev1.Pod) { now := at(9); p.DeletionTimestamp = &now },
			"deleting", "", report.NotAPullProblem, report.Pass, "the pod is being deleted; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPod(aPod(tt.edit), "pullprobe")
			images := p.AllImages(born.Add(time.Hour))
			c := Check(p, images[len(images)-1], "node-a")
			if c.Outcome != tt.outcome || c.Cause != tt.cause || c.Evidence["state"] != tt.state || c.Evidence["waitsFor"] != tt.waits {
				t.Errorf("got %v %q state=%q waitsFor=%q", c.Outcome, c.Cause, c.Evidence["state"], c.Evidence["waitsFor"])
			}
			if !strings.Contains(c.Summary, tt.text) {
				t.Errorf("no %q in %q", tt.text, c.Summary)
			}
			for _, text := range c.Evidence {
				if strings.Contains(text+c.Summary, canary) || strings.Contains(text+c.Summary, "\x1b") {
					t.Errorf("what the application wrote is published: %q, %v", c.Summary, c.Evidence)
				}
			}
			if c.Evidence["creating"] != "" {
				t.Error("it counts as being created")
			}
		})
	}
}

// TestSameImage checks that each container of a pod is told about that does something of its
// own, and of those that wait one.
func TestSameImage(t *testing.T) {
	three := func(states ...corev1.ContainerState) (out string) {
		p := aPod(func(p *corev1.Pod) {
			p.Spec.Containers = nil
			for i, state := range states {
				name := string(rune('a' + i))
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: "registry.example/app:1"})
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
			}
		})
		for _, w := range newPod(p, "pullprobe").AllImages(born) {
			out += w.Container
		}
		return out
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(5)}}
	creating := waits("ContainerCreating", "")
	if got := three(running, creating, runEnded("Error", 1, "")); got != "ac" {
		t.Errorf("one runs, one waits, one crashes: %q", got)
	}
	if got := three(creating, creating, creating); got != "a" {
		t.Errorf("all wait: %q", got)
	}
}

// TestNoAnswer checks that a container that the kubelet creates again, as after a restart of
// the node, may wait for its image.
func TestNoAnswer(t *testing.T) {
	p := newPod(aPod(inStatus(waits("ContainerCreating", ""), runEnded("Error", 255, ""), 1)), "pullprobe")
	if c := Check(p, p.AllImages(born)[0], "node-a"); c.Cause != "" || c.Evidence["state"] != "" {
		t.Errorf("%+v", c)
	}
}

// TestExecFormat checks who is said to have reported a program that is not for this node.
// The container's log is anyone's.
func TestExecFormat(t *testing.T) {
	for _, tt := range []struct {
		name, want, atOnce string
		now                corev1.ContainerState
	}{
		{"runc, log not in the status", "", "true", runEnded("Error", 255, "")},
		{"runc, log in the status", "log", "true", runEnded("Error", 255, execRunc)},
		{"after other lines", "log", "true", runEnded("Error", 255, "starting\n"+execRunc)},
		{"an older runc", "log", "true", runEnded("Error", 1, `standard_init_linux.go:228: exec user process caused: exec format error`)},
		{"an old runc", "log", "true", runEnded("Error", 1, `standard_init_linux.go:211: exec user process caused "exec format error"`+"\n")},
		{"crun", "log", "true", runEnded("Error", 1, "exec container process `/app`: Exec format error\n")},
		{"crun in JSON", "log", "true", runEnded("Error", 1, "{\"msg\":\"exec container process `/a`: Exec format error\",\"level\":\"error\"}")},
		{"of a child", "", "true", runEnded("Error", 1, "sh: /bin/tool: exec format error; will retry\n")},
		{"by the runtime", "runtime", "", runEnded("StartError", 128, notStarted+`"/s": exec format error`)},
		{"in the waiting state", "runtime", "", waits("CreateContainerError", execOther)},
		{"of a hook, which may quote the application", "", "", waits("PostStartHookError", execOther)},
	} {
		p := newPod(aPod(inStatus(tt.now, corev1.ContainerState{}, 0)), "pullprobe")
		c := Check(p, p.AllImages(born)[0], "node-a")
		got, atOnce := c.Evidence["execFormat"], c.Evidence["atOnce"]
		if got != tt.want || atOnce != tt.atOnce || (c.Outcome == report.Fail) != (got == "runtime") {
			t.Errorf("%s: %q, %v, atOnce=%q", tt.name, got, c.Outcome, atOnce)
		}
	}
}

// TestSources checks that a pod without a sandbox names what its volumes need.
func TestSources(t *testing.T) {
	yes := true
	p := newPod(aPod(func(p *corev1.Pod) {
		object := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
		volume := func(name string, s corev1.VolumeSource) corev1.Volume {
			return corev1.Volume{Name: name, VolumeSource: s}
		}
		p.Spec.Volumes = []corev1.Volume{
			volume("a", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: object("settings")}}),
			volume("b", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "maybe", Optional: &yes}}),
			volume("c", corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}),
			volume("d", corev1.VolumeSource{EmptyDir: &corev1.Present{}}),
			volume("e", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: object("key")}},
			}}}),
			volume("kube-api-access-x", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: object("kube-root-ca.crt")}},
			}}}),
			volume("f", corev1.VolumeSource{}),
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{waiting("c", "ContainerCreating", "")}
	}), "pullprobe")
	w := p.AllImages(born)[0]
	w.Sandbox = SandboxAbsent
	const want = "its volumes need ConfigMap settings, PersistentVolumeClaim data, Secret key, volume f; whether that exists was not checked"
	if c := Check(p, w, "node-a"); !strings.HasSuffix(c.Summary, want) || c.Evidence["creating"] != "true" {
		t.Errorf("%q", c.Summary)
	} else if got := c.Evidence["volumesNeed"]; got != "configmap/settings,persistentvolumeclaim/data,secret/key" {
		t.Errorf("objects %q", got)
	}
	p.Sources = []string{"ConfigMap $(reboot)", "ConfigMap a,b"}
	if c := Check(p, w, "node-a"); c.Evidence["volumesNeed"] != "" {
		t.Errorf("names that are none: %v", c.Evidence)
	}
}
