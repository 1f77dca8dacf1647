package pods

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pullprobe/pullprobe/agent/corev1"
)

// State is what a container does, as its status shows it.
type State struct {
	Running  time.Time // since when it runs; zero: it does not
	Probe    string    // the probe that it has not passed yet, startup or readiness; empty: it is ready
	Restarts int32
	ImageID  string // the image of its last start, as the kubelet names it
	End      *End   // of its last run; nil: none has ended
}

// End is how a run of a container ended.
type End struct {
	Reason  string
	Code    int32
	At      time.Time
	Ran     time.Duration // meaningless if the process was never started
	Message string        // the runtime's own
	Exec    string        // who reported "exec format error": one of the values below; empty: nobody
}

// Who reported "exec format error": evidence "execFormat" of the pod check.
const (
	ByRuntime = "runtime"
	ByLog     = "log" // the last line of the container's log: anyone may have written it
)

// newState returns what a container's status shows.
func newState(spec corev1.Container, s corev1.ContainerStatus) State {
	out := State{Restarts: s.RestartCount, ImageID: s.ImageID}
	if r := s.State.Running; r != nil {
		out.Running = r.StartedAt.Time
		switch {
		case spec.StartupProbe != nil && s.Started != nil && !*s.Started:
			out.Probe = "startup"
		case spec.ReadinessProbe != nil && !s.Ready:
			out.Probe = "readiness"
		}
	}
	if t := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated); t != nil {
		out.End = newEnd(t)
	}
	return out
}

// startErrors are the reasons of a run that the runtime could not start: containerd's, and
// that of Docker. The message is the runtime's then
// (containerd, internal/cri/server/container_start.go).
var startErrors = []string{"StartError", "ContainerCannotRun"}

func newEnd(t *corev1.ContainerStateTerminated) *End {
	e := &End{Reason: t.Reason, Code: t.ExitCode, At: t.FinishedAt.Time, Ran: t.FinishedAt.Sub(t.StartedAt.Time)}
	switch {
	case slices.Contains(startErrors, t.Reason):
		e.Message = runtimeMessage(t.Message)
		if execFormat(t.Message) {
			e.Exec = ByRuntime
		}
	case execInLog().MatchString(strings.TrimSpace(t.Message)):
		e.Exec = ByLog
	}
	return e
}

// started reports whether the runtime started the process.
func (e *End) started() bool { return !slices.Contains(startErrors, e.Reason) }

// execFormat reports whether a message of the runtime has the system's text of ENOEXEC. crun
// writes it with a capital.
func execFormat(message string) bool {
	return strings.Contains(strings.ToLower(message), "exec format error")
}

// execInLog matches what runc (libcontainer, Init), an older runc and crun (container.c,
// container_init) write to the container's own log, as they are the container's process by
// then. With terminationMessagePolicy FallbackToLogsOnError the kubelet reports the log's end.
var execInLog = compiled(`(?i)(?:^|\n)(?:exec \S+: exec format error|` +
	`standard_init_linux\.go:\d+: exec user process caused:? "?exec format error"?|` +
	`(?:\{"msg":")?exec container process \S+: exec format error(?:",.*)?)$`)

// compiled returns a function that compiles a pattern when it is used first: most nodes never
// need it.
func compiled(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// commandInMessage matches a program's name with white space in it, as a message of runc
// quotes it: a whole command in one string, which may have a password.
var commandInMessage = compiled(`exec: \\?"[^"]*\s`)

// runcPrefixes are the steps that a message of runc begins with, the last one first
// (libcontainer, container_linux.go and process_linux.go).
var runcPrefixes = []string{"error during container init: ", "unable to start container process: "}

// runtimeMessage returns the part of a runtime's message that is kept: without the steps
// before the failure, and nothing if it quotes a whole command.
func runtimeMessage(message string) string {
	if commandInMessage().MatchString(message) {
		return ""
	}
	for _, prefix := range runcPrefixes {
		if _, rest, ok := strings.Cut(message, prefix); ok {
			message = rest
			break
		}
	}
	return bounded(strings.TrimSpace(message), 1<<10)
}

// bounded returns s, or a copy of its first bytes: a part of a string keeps all of it in
// memory.
func bounded(s string, limit int) string {
	if len(s) > limit {
		return strings.Clone(strings.ToValidUTF8(s[:limit], ""))
	}
	return s
}

// sources returns what the volumes of a pod are made of, where the kubelet has to wait for
// that: "ConfigMap settings". A pod's token is left out, as each pod has one.
func sources(volumes []corev1.Volume) (out []string) {
	add := func(kind, name string, optional *bool) {
		if optional == nil || !*optional {
			out = append(out, strings.TrimSpace(kind+" "+name))
		}
	}
	for _, v := range volumes {
		switch {
		case strings.HasPrefix(v.Name, "kube-api-access-"), v.EmptyDir != nil, v.DownwardAPI != nil, v.Image != nil:
		case v.ConfigMap != nil:
			add("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
		case v.Secret != nil:
			add("Secret", v.Secret.SecretName, v.Secret.Optional)
		case v.PersistentVolumeClaim != nil:
			add("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName, nil)
		case v.CSI != nil:
			add("CSI volume", v.Name, nil)
		case v.Projected != nil:
			for _, p := range v.Projected.Sources {
				if p.ConfigMap != nil {
					add("ConfigMap", p.ConfigMap.Name, p.ConfigMap.Optional)
				}
				if p.Secret != nil {
					add("Secret", p.Secret.Name, p.Secret.Optional)
				}
			}
		default:
			add("volume", v.Name, nil)
		}
	}
	return out
}
