package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/waiting"
	"github.com/pullprobe/pullprobe/report/readable"
)

// showOptions are the flags of the root command.
type showOptions struct {
	all    bool
	labels string
	pods   bool
	watch  bool
	output string
}

func (o *showOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "the pods of all namespaces")
	f.StringVarP(&o.labels, "selector", "l", "", "only pods with these labels")
	f.BoolVar(&o.pods, "pods", false, "one line for each pod")
	f.BoolVarP(&o.watch, "watch", "w", false, "show every change, until Ctrl-C")
	f.StringVarP(&o.output, "output", "o", "", "wide, json, yaml or name")
}

// validOutput returns a usage error for an output that does not exist.
func validOutput(output string, known ...string) error {
	if output == "" || slices.Contains(known, output) {
		return nil
	}
	return usagef("--output=%s: must be %s", output, strings.Join(known, ", "))
}

// show runs the root command.
func (a *App) show(ctx context.Context, o showOptions, args []string) error {
	if err := validOutput(o.output, "wide", "json", "yaml", "name"); err != nil {
		return err
	}
	if len(args) == 1 {
		switch {
		case o.all || o.labels != "" || o.pods:
			return usagef("-A, -l and --pods are not for a single POD or TYPE/NAME")
		case o.watch:
			return usagef("-w is for the list of pods; 'kubectl pullprobe wait %s' waits for one", args[0])
		}
		return a.showTarget(ctx, o, args[0])
	}
	namespace := ""
	if !o.all {
		var err error
		if namespace, err = a.Namespace(); err != nil {
			return err
		}
	}
	if o.watch {
		return a.watchPods(ctx, o, namespace)
	}
	r, err := a.reader()
	if err != nil {
		return err
	}
	all, err := r.overview(ctx, namespace, o.labels)
	if err != nil {
		return withSentence(err, "list", "pods", namespace)
	}
	defer a.writeNotes(r.limits)
	if err := a.writeOverview(all, o, r.limits); err != nil {
		return err
	}
	return ended(outcome(all.Cases))
}

// withSentence returns an error on a missing right as a sentence.
func withSentence(err error, verb, resource, namespace string) error {
	if cluster.Denied(err) {
		return fmt.Errorf("%s", cluster.MayNot(verb, resource, namespace, "nothing can be shown"))
	}
	return err
}

// writeOverview writes pods that wait in the format of the flags.
func (a *App) writeOverview(all view.Overview, o showOptions, limits *cluster.Limits) error {
	switch o.output {
	case "json", "yaml":
		return a.writeObject(o.output, view.NewList(all.Cases, limits.All()))
	case "name":
		a.writeNames(all.Cases)
		return nil
	}
	style, err := a.Style()
	if err != nil {
		return err
	}
	t := screen.NewText(style)
	if o.pods || o.output == "wide" {
		all.WritePods(t, o.output == "wide")
	} else {
		all.Write(t)
		if len(all.Cases) > 0 && style.Terminal {
			t.Blank()
			t.Line("%s", style.Faint("The checks of one pod: kubectl pullprobe POD. Again: kubectl pullprobe ask POD."))
		}
	}
	_, err = t.WriteTo(a.Out)
	return err
}

// writeNames writes the names of the pods that wait.
func (a *App) writeNames(cases []waiting.Case) {
	seen := map[string]bool{}
	for _, c := range cases {
		if !seen[c.UID] {
			seen[c.UID] = true
			fmt.Fprintln(a.Out, "pod/"+c.Pod)
		}
	}
}

// maxDetails is how many groups of a TYPE/NAME are shown with all that is known.
const maxDetails = 3

// showTarget shows a pod, or the pods of a TYPE/NAME.
func (a *App) showTarget(ctx context.Context, o showOptions, arg string) error {
	r, err := a.reader()
	if err != nil {
		return err
	}
	if node, ok := nodeArgument(arg); ok {
		return a.showNode(ctx, r, node, o.output)
	}
	t, err := a.target(ctx, r, arg)
	if err != nil {
		return err
	}
	pods, err := t.pods(ctx, r)
	if err != nil {
		return withSentence(err, "list", "pods", t.namespace)
	}
	from, err := r.sources(ctx, pods)
	if err != nil {
		return err
	}
	cases := waiting.Cases(pods, from)
	if len(cases) == 0 && t.pod != nil {
		cases = waiting.About(&pods[0], from.Reports[t.pod.Spec.NodeName])
	}
	defer a.writeNotes(r.limits)
	switch o.output {
	case "json", "yaml":
		if err := a.writeObject(o.output, view.NewList(cases, r.limits.All())); err != nil {
			return err
		}
		return ended(outcome(cases))
	case "name":
		a.writeNames(cases)
		return ended(outcome(cases))
	}
	style, err := a.Style()
	if err != nil {
		return err
	}
	text := screen.NewText(style)
	code := outcome(cases)
	if len(cases) == 0 {
		code = writeIdle(text, t, pods)
	}
	if err := a.writeDetails(ctx, r, text, cases); err != nil {
		return err
	}
	if _, err := text.WriteTo(a.Out); err != nil {
		return err
	}
	return ended(code)
}

// writeDetails adds the groups of the cases, the first with all that is known.
func (a *App) writeDetails(ctx context.Context, r *reader, text *screen.Text, cases []waiting.Case) error {
	groups := waiting.Groups(cases)
	var all cluster.Comparison
	if len(groups) > 0 {
		var err error
		if all, err = r.Compare(ctx, r.now, r.limits); err != nil && !cluster.Denied(err) {
			return err
		}
	}
	for i, g := range groups {
		if i == maxDetails {
			text.Blank()
			text.Para(fmt.Sprintf("... and %s more; each pod has its own: kubectl pullprobe POD", screen.Plural(len(groups)-i, "reason")))
			break
		}
		text.Blank()
		d := view.Detail{Group: g, Now: r.now, Elsewhere: view.Elsewhere(g.Cases[0], all)}
		if g.Cases[0].Node != "" && g.Cases[0].Source != waiting.FromMessage {
			d.Again = askCommand(g.Cases[0])
		}
		d.Write(text)
	}
	return nil
}

// askCommand returns the command that asks for a new diagnosis of a pod.
func askCommand(c waiting.Case) string {
	return "kubectl pullprobe ask " + c.Pod + " -n " + c.Namespace
}

// writeIdle writes what pods do of which none waits for an image.
func writeIdle(text *screen.Text, t *target, pods []corev1.Pod) Exit {
	if t.pod != nil {
		s := view.StateOf(&pods[0])
		text.Para(fmt.Sprintf("Pod %s/%s %s.", t.namespace, pods[0].Name, strings.TrimSuffix(s.Text, ".")))
		if s.Open {
			return ExitUnknown
		}
		text.Para("It does not wait for an image.")
		return ExitOK
	}
	code := ExitOK
	states := map[string]int{}
	var order []string
	for i := range pods {
		s := view.StateOf(&pods[i])
		if s.Open {
			code = ExitUnknown
		}
		if states[s.Text]++; states[s.Text] == 1 {
			order = append(order, s.Text)
		}
	}
	if len(pods) == 0 {
		text.Para(fmt.Sprintf("%s in namespace %s has no pod.", t.name, t.namespace))
		return ExitUnknown
	}
	text.Para(fmt.Sprintf("No pod of %s in namespace %s waits for an image (%s).", t.name, t.namespace, screen.Plural(len(pods), "pod")))
	for _, s := range order {
		text.Field(screen.Plural(states[s], "pod"), strings.TrimSuffix(s, "."))
	}
	return code
}

// nodeArgument returns the node of an argument node/NAME.
func nodeArgument(arg string) (string, bool) {
	kind, name, ok := strings.Cut(arg, "/")
	return name, ok && name != "" && slices.Contains([]string{"node", "nodes", "no"}, kind)
}

// The pauses between two readings of a watch: after a change, and without one.
const (
	settle  = 500 * time.Millisecond
	refresh = 10 * time.Second
)

// watchPods shows the pods that wait, and again at every change.
func (a *App) watchPods(ctx context.Context, o showOptions, namespace string) error {
	style, err := a.Style()
	if err != nil {
		return err
	}
	r, err := a.reader()
	if err != nil {
		return err
	}
	changes := r.Changes(ctx, namespace)
	last := ""
	for {
		began := time.Now()
		r.now, r.limits = a.Now(), &cluster.Limits{}
		all, err := r.overview(ctx, namespace, o.labels)
		if err != nil {
			return withSentence(err, "list", "pods", namespace)
		}
		text := fingerprint(all.Cases)
		if text != last {
			if style.Terminal && o.output != "json" && o.output != "yaml" {
				fmt.Fprint(a.Out, "\x1b[H\x1b[2J") // the top of an empty screen
			} else if last != "" {
				fmt.Fprintln(a.Out)
			}
			if o.output == "" || o.output == "wide" {
				fmt.Fprintf(a.Out, "%s\n\n", readable.Time(r.now))
			}
			if err := a.writeOverview(all, o, r.limits); err != nil {
				return err
			}
			a.writeNotes(r.limits)
		}
		last = text
		// What takes long to read is read more rarely.
		pause := max(settle, 5*time.Since(began))
		if !waitFor(ctx, changes, pause) {
			return ended(outcome(all.Cases))
		}
	}
}

// fingerprint returns a text that is equal for cases that differ in times only.
func fingerprint(cases []waiting.Case) string {
	var b strings.Builder
	for _, c := range cases {
		v := c.Verdict
		fmt.Fprintf(&b, "%s %s %s %s %s %v %s\n", c.UID, c.Container, c.Image, v.Fault, v.Cause, v.Confidence, v.Summary)
	}
	return b.String() + "."
}

// waitFor waits for a change and then so long, or for the refresh. It returns false when ctx ends.
func waitFor(ctx context.Context, changes <-chan struct{}, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changes:
	case <-time.After(refresh):
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
