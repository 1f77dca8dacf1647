package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// waitTimeout is how long wait waits by default.
const waitTimeout = 5 * time.Minute

func newWait(a *App) *cobra.Command {
	c := &cobra.Command{
		Use: "wait TYPE/NAME", Short: "Wait for a rollout, and end at once if its image cannot be pulled",
		Long: "Waits as 'kubectl rollout status' does: for a Deployment, DaemonSet,\nStatefulSet, Job or Pod. " +
			"It ends as soon as pullprobe confirms why an image of\nthe new pods cannot be pulled.\n\n" +
			"Exit codes: 0 rolled out, 1 an image cannot be pulled (the cause is printed),\n" +
			"3 not ready at the timeout for another reason, which is printed.",
		Example: `  # In a pipeline, after kubectl apply
  kubectl pullprobe wait deployment/web -n shop --timeout 5m`,
	}
	return a.withTimeout(c, waitTimeout, "how long to wait", a.wait)
}

// rollout is how far a rollout is.
type rollout struct {
	done    bool
	failed  bool   // it will not go on
	message string // how far it is, or why it failed
	cases   []waiting.Case
	pods    []corev1.Pod // of the newest revision
}

// wait waits for a rollout.
func (a *App) wait(ctx context.Context, arg string, timeout time.Duration) error {
	r, err := a.reader()
	if err != nil {
		return err
	}
	t, err := a.target(ctx, r, arg)
	if err != nil {
		return err
	}
	if !t.rolls() {
		return usagef("%s: wait is for a Deployment, DaemonSet, StatefulSet, Job or Pod", t.name)
	}
	defer func() { a.writeNotes(r.limits) }()
	reading, stopReading := context.WithTimeout(ctx, timeout+grace)
	defer stopReading()
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	progress := a.progress("waiting for " + t.name)
	now, err := a.follow(ctx, reading, r, t, progress.Say)
	progress.Close()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ExitUnknown
	case err != nil:
		return err
	case now.done:
		fmt.Fprintln(a.Out, now.message)
		return nil
	}
	return a.writeStuck(r, t, now, timeout)
}

// grace is how much longer than the timeout a reading may take: at the timeout there is one.
const grace = 10 * time.Second

// follow reads until the rollout has ended, or ctx has, and says how far it is. It returns what it
// read last. A reading ends with its own context.
func (a *App) follow(ctx, reading context.Context, r *reader, t *target, say func(string)) (last rollout, err error) {
	changes := r.Changes(ctx, t.namespace)
	said := ""
	for {
		now, err := a.rollout(reading, r, t)
		switch {
		case err != nil && over(reading):
			return last, nil
		case err != nil:
			return last, err
		}
		last = now
		if now.done || now.failed || confirmed(now.cases) {
			return last, nil
		}
		if now.message != said {
			said = now.message
			say(said)
		}
		select {
		case <-ctx.Done():
			return last, nil
		case <-changes:
		case <-time.After(poll):
		}
	}
}

// confirmed reports whether some image certainly cannot be pulled. What is likely may pass.
func confirmed(cases []waiting.Case) bool {
	for _, c := range cases {
		if c.Verdict.Fault != report.FaultNone && c.Verdict.Confidence == report.Confirmed && c.Source != waiting.FromOwner {
			return true
		}
	}
	return false
}

// rollout reads how far a rollout is.
func (a *App) rollout(ctx context.Context, r *reader, t *target) (rollout, error) {
	r.now = a.Now()
	out := rollout{}
	var err error
	if t.object != nil {
		if err = a.refresh(ctx, t); err != nil {
			return out, a.gone(t, err)
		}
	}
	pods, err := t.pods(ctx, r)
	if err != nil {
		return out, a.gone(t, withSentence(err, "list", "pods", t.namespace))
	}
	if t.pod != nil && pods[0].UID != t.pod.UID {
		return out, fmt.Errorf("%s in namespace %s was deleted meanwhile", t.name, t.namespace)
	}
	out.done, out.failed, out.message = t.status(pods)
	if out.done {
		return out, nil
	}
	if t.object != nil && t.object.GetGeneration() > observed(t.object) && t.kind != "job" {
		return out, nil // the pods are those of the revision before
	}
	out.pods = newest(ctx, r, t, pods)
	waits := waiting.Cases(out.pods, waiting.Sources{})
	creating := false
	for i := range out.pods {
		creating = creating || view.StateOf(&out.pods[i]).Open
	}
	if len(waits) == 0 && !creating {
		return out, nil
	}
	from, err := r.sources(ctx, out.pods)
	if err != nil {
		return out, err
	}
	out.cases = waiting.Cases(out.pods, from)
	return out, nil
}

// gone returns the error on an object that is there no more.
func (a *App) gone(t *target, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s in namespace %s was deleted meanwhile", t.name, t.namespace)
	}
	return err
}

// writeStuck writes why a rollout is not ready: the verdicts if an image cannot be pulled, or
// else what its pods do.
func (a *App) writeStuck(r *reader, t *target, now rollout, timeout time.Duration) error {
	style, err := a.Style()
	if err != nil {
		return err
	}
	text := screen.NewText(style)
	code := outcome(now.cases)
	if len(now.cases) > 0 {
		ctx, stop := context.WithTimeout(context.Background(), completeTimeout)
		defer stop()
		if err := a.writeDetails(ctx, r, text, now.cases); err != nil {
			return err
		}
	} else {
		code = ExitUnknown
	}
	if code != ExitFault {
		code = ExitUnknown
		text.Blank()
		head := fmt.Sprintf("%s is not ready after %s.", t.name, readable.Duration(timeout))
		if now.failed {
			head = fmt.Sprintf("%s has failed.", t.name)
		}
		text.Para(head)
		text.Field("status", strings.TrimSuffix(now.message, "..."))
		writeStates(text, now.pods)
		writeConditions(text, t.object)
	}
	if _, err := text.WriteTo(a.Out); err != nil {
		return err
	}
	return ended(code)
}

// writeStates adds what pods do that are not ready, with how many do so.
func writeStates(text *screen.Text, pods []corev1.Pod) {
	states := map[string]int{}
	var order []string
	for i := range pods {
		if view.Ready(&pods[i]) {
			continue
		}
		s := view.StateOf(&pods[i]).Text
		if states[s]++; states[s] == 1 {
			order = append(order, s)
		}
	}
	for _, s := range order {
		verb := s
		if states[s] > 1 {
			verb = "each: " + s
		}
		text.Field(screen.Plural(states[s], "pod"), verb)
	}
}

// writeConditions adds the conditions of a workload that say why it makes no pods.
func writeConditions(text *screen.Text, o *unstructured.Unstructured) {
	if o == nil {
		return
	}
	list, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return
	}
	for _, x := range list {
		c, ok := x.(map[string]any)
		if !ok {
			continue
		}
		kind, _ := c["type"].(string)
		status, _ := c["status"].(string)
		message, _ := c["message"].(string)
		if (kind == "ReplicaFailure" && status == "True") || (kind == "Progressing" && status == "False") {
			text.Field("condition", kind+": "+readable.Clean(message, 300))
		}
	}
}

// statusOf returns the status of a workload as 'kubectl rollout status' does.
func statusOf(o *unstructured.Unstructured) (done bool, message string, err error) {
	viewer, err := polymorphichelpers.StatusViewerFor(o.GroupVersionKind().GroupKind())
	if err != nil {
		return false, "", err
	}
	message, done, err = viewer.Status(o, 0)
	return done && err == nil, strings.TrimSpace(message), err
}
