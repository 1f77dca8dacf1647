package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report/readable"
)

// askTimeout is how long ask waits: the agent answers within seconds.
const askTimeout = 30 * time.Second

func newAsk(a *App) *cobra.Command {
	c := &cobra.Command{
		Use: "ask POD", Short: "Ask for a new diagnosis of a pod, and wait for the answer",
		Long: "Annotates the pod, which requests a new diagnosis from the agent of its node,\n" +
			"and shows the answer, also for a pod that runs. Of a TYPE/NAME it requests that\nof one pod: the first that waits for an image.",
		Example: `  # Check again now
  kubectl pullprobe ask web-0 -n shop

  # For one pod of a Deployment
  kubectl pullprobe ask deployment/web -n shop --timeout 1m`,
	}
	return a.withTimeout(c, askTimeout, "how long to wait for the answer", a.ask)
}

// ask asks for a diagnosis and writes the answer.
func (a *App) ask(ctx context.Context, arg string, timeout time.Duration) error {
	r, err := a.reader()
	if err != nil {
		return err
	}
	t, err := a.target(ctx, r, arg)
	if err != nil {
		return err
	}
	pods, err := t.pods(ctx, r)
	if err != nil {
		return withSentence(err, "list", "pods", t.namespace)
	}
	pod := toAsk(pods)
	switch {
	case pod == nil:
		return fmt.Errorf("%s has no pod", t.name)
	case pod.Spec.NodeName == "":
		return fmt.Errorf("pod %s/%s %s: no agent can check it", pod.Namespace, pod.Name, view.StateOf(pod).Text)
	}
	defer a.writeNotes(r.limits)
	before := r.answerBefore(ctx, pod)
	value, err := r.Request(ctx, pod, r.now)
	switch {
	case cluster.Denied(err):
		r.limits.Add(cluster.MayNot("patch", "pods", pod.Namespace, "shown is the last answer; no diagnosis was requested"))
		if err := a.showTarget(ctx, showOptions{}, "pod/"+pod.Name); err != nil {
			return err
		}
		return ExitUnknown
	case err != nil:
		return err
	}
	answer, err := a.await(ctx, r, pod, value, before, timeout)
	if err != nil {
		return err
	}
	r.now = a.Now()
	return a.writeAnswer(ctx, r, pod, answer)
}

// toAsk returns the first pod that waits for an image, or else the first on a node, or else the
// first; nil: there is none.
func toAsk(pods []corev1.Pod) *corev1.Pod {
	var first *corev1.Pod
	for i := range pods {
		p := &pods[i]
		switch {
		case len(waiting.Cases(pods[i:i+1], waiting.Sources{})) > 0:
			return p
		case first == nil || first.Spec.NodeName == "" && p.Spec.NodeName != "":
			first = p
		}
	}
	return first
}

// answerBefore returns what Events say on a pod before the request, for a caller who may not read
// reports.
func (r *reader) answerBefore(ctx context.Context, pod *corev1.Pod) []waiting.Event {
	if _, err := r.Report(ctx, pod.Spec.NodeName); !cluster.Denied(err) {
		return nil
	}
	return r.events(ctx, pod.Namespace, pod.UID)[string(pod.UID)]
}

// poll is how often ask and wait read at least.
const poll = time.Second

// await waits until the agent has answered, and returns what it says.
func (a *App) await(
	ctx context.Context, r *reader, pod *corev1.Pod, value string, before []waiting.Event, timeout time.Duration,
) ([]waiting.Case, error) {
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	progress := a.progress("waiting for the agent of " + pod.Spec.NodeName)
	defer progress.Close()
	changes := r.Changes(ctx, pod.Namespace)
	var first time.Time // when the first image was answered
	for {
		cases, answered, err := r.answer(ctx, pod, value, before)
		if answered > 0 && first.IsZero() {
			first = time.Now()
		}
		switch {
		case over(ctx):
			return nil, r.whyNoAnswer(pod, timeout)
		case err != nil, answered > 0 && (answered >= len(cases) || time.Since(first) > patience):
			return cases, err
		}
		select {
		case <-ctx.Done():
			return nil, r.whyNoAnswer(pod, timeout)
		case <-changes:
		case <-time.After(poll):
		}
	}
}

// over reports whether ctx has ended, or is about to: a request whose deadline has passed may fail
// before ctx says so.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// progress begins to show what is waited for, if standard error is a terminal.
func (a *App) progress(what string) *screen.Progress {
	return screen.NewProgress(a.Err, a.errStyle(), what)
}

// patience is how long the answers for further images of a pod may take after the first.
const patience = 5 * time.Second

// answer returns what the agent says about a pod, and how much of it answers a request.
func (r *reader) answer(ctx context.Context, pod *corev1.Pod, value string, before []waiting.Event) ([]waiting.Case, int, error) {
	if now, err := r.Pod(ctx, pod.Namespace, pod.Name); apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID {
		return nil, 0, fmt.Errorf("pod %s/%s was deleted meanwhile", pod.Namespace, pod.Name)
	}
	x, err := r.Report(ctx, pod.Spec.NodeName)
	switch {
	case cluster.Denied(err):
		return r.answerInEvents(ctx, pod, before)
	case apierrors.IsNotFound(err):
		return nil, 0, nil // it may come
	case err != nil:
		return nil, 0, err
	case x.Content == nil:
		return nil, 0, fmt.Errorf("the report of node %s cannot be read: %s", x.Node, x.Problem)
	}
	cases := waiting.About(pod, x.Content)
	if x.Content.Answered[string(pod.UID)] == value {
		return cases, max(1, len(cases)), nil
	}
	asked := 0
	for _, c := range cases {
		for _, ref := range c.Diagnosis.Refs() {
			if ref.UID == c.UID && ref.Container == c.Container && ref.Asked == value {
				asked++
			}
		}
	}
	return cases, asked, nil
}

// answerInEvents returns what Events say, once the newest was written since before.
func (r *reader) answerInEvents(ctx context.Context, pod *corev1.Pod, before []waiting.Event) ([]waiting.Case, int, error) {
	r.limits.Add(cluster.MayNot("get", "configmaps", r.Home(), "shown are the Events on the pod; "+cluster.ReaderRole))
	events := r.events(ctx, pod.Namespace, pod.UID)[string(pod.UID)]
	// The agent writes the Event again for each request. The time in it may stay the same.
	if len(events) == 0 || len(before) > 0 && events[0].Version == before[0].Version {
		return nil, 0, nil
	}
	c := waiting.Case{
		Namespace: pod.Namespace, Pod: pod.Name, UID: string(pod.UID), Node: pod.Spec.NodeName, Owner: waiting.OwnerOf(pod),
		Since: pod.CreationTimestamp.Time, Verdict: events[0].Verdict, Source: waiting.FromEvent, At: events[0].At,
	}
	if len(pod.Spec.Containers) == 1 {
		c.Container, c.Image = pod.Spec.Containers[0].Name, pod.Spec.Containers[0].Image
	}
	return []waiting.Case{c}, 1, nil
}

// whyNoAnswer returns why there is no answer: the agent does not run, or is silent.
func (r *reader) whyNoAnswer(pod *corev1.Pod, timeout time.Duration) error {
	ctx, stop := context.WithTimeout(context.Background(), completeTimeout)
	defer stop()
	text := fmt.Sprintf("no answer from node %s within %s", pod.Spec.NodeName, readable.Duration(timeout))
	agent, err := r.Agent(ctx, pod.Spec.NodeName)
	switch {
	case cluster.Denied(err):
		return fmt.Errorf("%s; %s", text, cluster.MayNot("list", "pods", r.Home(), "whether an agent runs there is not known"))
	case err != nil:
		return errors.New(text)
	case agent == nil:
		return fmt.Errorf("%s: no agent runs there (kubectl pullprobe doctor)", text)
	case !view.Ready(agent):
		return fmt.Errorf("%s: its agent, pod %s/%s, %s (kubectl pullprobe doctor)", text, agent.Namespace, agent.Name, view.StateOf(agent).Text)
	}
	return fmt.Errorf("%s: its agent, pod %[2]s/%[3]s, is ready; kubectl logs -n %[2]s %[3]s", text, agent.Namespace, agent.Name)
}

// writeAnswer writes the answer to a request.
func (a *App) writeAnswer(ctx context.Context, r *reader, pod *corev1.Pod, cases []waiting.Case) error {
	style, err := a.Style()
	if err != nil {
		return err
	}
	text := screen.NewText(style)
	t := &target{namespace: pod.Namespace, name: "pod/" + pod.Name, kind: "pod", pod: pod}
	code := outcome(cases)
	if len(cases) == 0 {
		code = writeIdle(text, t, []corev1.Pod{*pod})
	}
	if err := a.writeDetails(ctx, r, text, cases); err != nil {
		return err
	}
	if _, err := text.WriteTo(a.Out); err != nil {
		return err
	}
	return ended(code)
}
