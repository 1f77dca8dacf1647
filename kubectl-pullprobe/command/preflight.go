package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/workload"
	"github.com/pullprobe/pullprobe/report/readable"
)

const (
	// preflightTimeout is how long preflight waits by default: many images of one registry take
	// their time, as its rate is limited.
	preflightTimeout = 2 * time.Minute
	// planTimeout is how long the fleet may take to choose nodes: a new leader needs 15 s.
	planTimeout = 20 * time.Second
	// podsAtOnce is how many pods there are at a time: the fleet takes as many of a namespace.
	podsAtOnce = 4
	// removeTimeout is how long the removal of a pod may take, also after an interrupt.
	removeTimeout = 10 * time.Second
)

const preflightLong = `Checks before a rollout whether the nodes can pull its images. It makes a pod
from each pod template of the manifest, with a scheduling gate: the pod never
runs, and nothing is pulled. One node of each kind where the pod may run checks
the images with the pod's own credentials. The pod is deleted at the end.

The fleet (pullprobe-fleet) must run. Only the rights to create, get and delete
pods and to list events in the namespace are needed.

Exit codes: 0 every image can be pulled, 1 a fault was found, 2 usage error,
3 could not tell.`

const preflightExample = `  # A manifest, before it is applied
  kubectl pullprobe preflight -n shop -f deploy.yaml

  # A chart, before it is installed
  helm template web ./chart | kubectl pullprobe preflight -n shop -f -

  # All manifests of a directory, for a script
  kubectl pullprobe preflight -n shop -f manifests/ -o json

  # What is deployed, for example after a change of its pull secret
  kubectl get deployment web -n shop -o yaml |
    kubectl pullprobe preflight -n shop -f -`

// preflightOptions are the flags of preflight.
type preflightOptions struct {
	files   resource.FilenameOptions
	output  string
	timeout time.Duration
}

func newPreflight(a *App) *cobra.Command {
	o := preflightOptions{}
	c := &cobra.Command{
		Use: "preflight -f FILE", Short: "Check the images of a manifest on the nodes, before a rollout",
		Long: preflightLong, Example: preflightExample, Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.preflight(c.Context(), o) },
	}
	f := c.Flags()
	f.StringSliceVarP(&o.files.Filenames, "filename", "f", nil, "a file, directory or URL of manifests; - is standard input")
	f.StringVarP(&o.files.Kustomize, "kustomize", "k", "", "a directory with a kustomization, instead of -f")
	f.BoolVarP(&o.files.Recursive, "recursive", "R", false, "read the directories of -f recursively")
	f.StringVarP(&o.output, "output", "o", "", "json or yaml")
	f.DurationVar(&o.timeout, "timeout", preflightTimeout, "how long to wait for the answers")
	return c
}

// preflight checks the images of manifests and writes what was found.
func (a *App) preflight(ctx context.Context, o preflightOptions) error {
	style, err := a.Style()
	if err != nil {
		return err
	}
	workloads, err := a.workloads(o)
	if err != nil {
		return err
	}
	r, err := a.reader()
	if err != nil {
		return err
	}
	why, err := r.WhyNoPreflight(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		return errors.New(why + ". " + o.instead())
	}
	defer a.writeNotes(r.limits)
	waiting, stop := context.WithTimeout(ctx, o.timeout)
	defer stop()
	found, progress := make([]view.Preflight, len(workloads)), a.progress("checking the images on the nodes")
	var work sync.WaitGroup
	turns := make(chan struct{}, podsAtOnce)
	for i, w := range workloads {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i] = a.preflightOf(waiting, r, w)
		})
	}
	work.Wait()
	progress.Close()
	if ctx.Err() != nil { // an interrupt
		return ExitUnknown
	}
	return a.writePreflights(style, o, found)
}

// instead returns what can be found out without the nodes.
func (o preflightOptions) instead() string {
	file := "manifest.yaml"
	if len(o.files.Filenames) > 0 {
		file = o.files.Filenames[0]
	}
	return "From this machine, without the nodes: pullprobe check -f " + file +
		" finds out whether the images exist and for which platforms, with the logins of --auth-file docker"
}

// workloads reads the manifests. The namespace of a workload is its own, or that of the flags.
func (a *App) workloads(o preflightOptions) ([]workload.Workload, error) {
	if len(o.files.Filenames) == 0 && o.files.Kustomize == "" {
		return nil, usagef("name a manifest with -f FILE, or a kustomization with -k DIRECTORY")
	}
	if o.output != "" && o.output != "json" && o.output != "yaml" {
		return nil, usagef("--output=%s: must be json or yaml, or absent for text", o.output)
	}
	if o.timeout <= 0 {
		return nil, usagef("--timeout=%v: must be greater than 0", o.timeout)
	}
	b := resource.NewLocalBuilder().Unstructured().Flatten()
	files := o.files
	files.Filenames = nil
	for _, f := range o.files.Filenames {
		if f == "-" {
			b.Stream(a.In, "standard input")
		} else {
			files.Filenames = append(files.Filenames, f)
		}
	}
	infos, err := b.FilenameParam(false, &files).Do().Infos()
	if err != nil {
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "error: "))
	}
	objects := make([]*unstructured.Unstructured, 0, len(infos))
	for _, i := range infos {
		if object, ok := i.Object.(*unstructured.Unstructured); ok {
			objects = append(objects, object)
		}
	}
	out, err := workload.Of(objects)
	if err != nil {
		return nil, usageError{err}
	}
	namespace, named, err := a.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	for i := range out {
		w := &out[i]
		switch {
		case w.Namespace == "":
			w.Namespace = namespace
		case named && w.Namespace != namespace:
			return nil, usagef("%s is for namespace %s, and -n is %s", w.Name, w.Namespace, namespace)
		}
		w.Pod.Namespace = w.Namespace
	}
	return out, nil
}

// preflightOf makes the pod of a workload, waits for the answers, and removes the pod.
func (a *App) preflightOf(ctx context.Context, r *reader, w workload.Workload) view.Preflight {
	out := view.Preflight{Name: w.Name, Namespace: w.Namespace}
	if ctx.Err() != nil {
		out.Problem = "the time was over before its turn: give --timeout a longer one"
		return out
	}
	if _, err := r.PreflightOn(ctx, w.Namespace, ""); err != nil { // before there is a pod
		out.Problem = withSentence(err, "list", "events", w.Namespace).Error()
		return out
	}
	// An interrupt must not leave a pod that nobody knows of.
	making, stop := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer stop()
	pod, err := r.CreateGated(making, w.Pod)
	if err != nil {
		out.Problem = rejected(w, err)
		return out
	}
	defer func() {
		removing, stop := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer stop()
		if err := r.Remove(removing, pod); err != nil {
			r.limits.Add(fmt.Sprintf("pod %[1]s/%[2]s cannot be deleted: %[3]v. It never runs, and the fleet deletes it after 15 min",
				pod.Namespace, pod.Name, err))
		}
	}()
	answers, problem := r.awaitPreflight(ctx, pod)
	out.Problem = problem
	if answers.Plan == nil {
		return out
	}
	out.KindsOmitted, out.Excluded = answers.Plan.KindsOmitted, answers.Plan.Excluded
	for _, k := range answers.Plan.Kinds {
		out.Kinds = append(out.Kinds, view.PreflightKind{Kind: k, Results: answers.Results[k.Node]})
	}
	if len(out.Kinds) == 0 {
		out.Problem = "no node may run its pod"
	}
	return out
}

// rejected returns why a pod cannot be made, in words.
func rejected(w workload.Workload, err error) string {
	text := readable.Clean(err.Error(), 1000)
	switch {
	case cluster.Denied(err) && strings.Contains(text, "cannot create resource"): // by the authorizer
		return cluster.MissingRight("create", "pods", w.Namespace, "a preflight makes a pod from the template, which never runs")
	case apierrors.IsNotFound(err):
		return "namespace " + w.Namespace + " does not exist"
	case strings.Contains(text, "error looking up service account"):
		return fmt.Sprintf("ServiceAccount %s does not exist in namespace %s: create it first, with its pull secrets",
			w.Pod.Spec.ServiceAccountName, w.Namespace)
	case apierrors.IsInvalid(err), cluster.Denied(err):
		return "the cluster rejects the pod, as it would reject those of the rollout: " + text
	}
	return "cannot create the pod: " + text
}

// awaitPreflight waits until all nodes have answered. problem is why not all did.
func (r *reader) awaitPreflight(ctx context.Context, pod *corev1.Pod) (last cluster.Preflight, problem string) {
	began, changes := time.Now(), r.EventsChange(ctx, pod)
	for {
		answers, err := r.PreflightOn(ctx, pod.Namespace, pod.UID)
		switch {
		case err != nil && over(ctx):
		case err != nil:
			return last, withSentence(err, "list", "events", pod.Namespace).Error()
		default:
			last = answers
		}
		switch {
		case last.Complete():
			return last, ""
		case last.Plan == nil && (over(ctx) || time.Since(began) > planTimeout):
			return last, "no fleet has answered within " + readable.Duration(time.Since(began).Round(time.Second)) +
				": pullprobe-fleet is not installed, does not run, or is of an older version (kubectl pullprobe doctor)"
		case over(ctx):
			return last, "no answer, or not for all images, from " + readable.Abbreviate(last.Missing()) +
				": give --timeout a longer one, and see whether the agents there are well and up to date (kubectl pullprobe doctor)"
		}
		if _, err := r.Pod(ctx, pod.Namespace, pod.Name); apierrors.IsNotFound(err) {
			return last, "its pod was deleted by others before all nodes had answered"
		}
		select {
		case <-ctx.Done():
		case <-changes:
			pause(ctx, together)
		case <-time.After(poll):
		}
	}
}

// together is how long after an answer others that come with it are awaited.
const together = 200 * time.Millisecond

// pause waits until a time has passed, or ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// writePreflights writes what was found, and returns the exit code.
func (a *App) writePreflights(style screen.Style, o preflightOptions, found []view.Preflight) error {
	answered := false
	code := ExitOK
	for _, p := range found {
		answered = answered || len(p.Kinds) > 0
		switch {
		case p.Faulty():
			code = ExitFault
		case !p.Healthy() && code == ExitOK:
			code = ExitUnknown
		}
	}
	if o.output != "" {
		if err := a.writeObject(o.output, map[string]any{"workloads": found}); err != nil {
			return err
		}
	} else {
		text := screen.NewText(style)
		view.WritePreflights(text, found)
		if _, err := text.WriteTo(a.Out); err != nil {
			return err
		}
	}
	for _, p := range found {
		if p.Problem != "" {
			a.remark("error: ", p.Name+": "+p.Problem)
		}
	}
	if !answered {
		a.remark("note: ", o.instead())
	}
	return ended(code)
}
