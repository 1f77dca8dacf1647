package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
)

// completeTimeout is how long a completion may take.
const completeTimeout = 3 * time.Second

// completing runs a completion of the first argument. What cannot be read completes nothing.
func (a *App) completing(c *cobra.Command, args []string, prefix string, names func(context.Context, *reader) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	r, err := a.reader()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(c.Context(), completeTimeout)
	defer stop()
	var out []string
	for _, name := range names(ctx, r) {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePods completes the name of a pod of the namespace.
func (a *App) completePods(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completing(c, args, prefix, func(ctx context.Context, r *reader) (out []string) {
		namespace, err := a.Namespace()
		if err != nil {
			return nil
		}
		pods, err := r.Pods(ctx, namespace, metav1.ListOptions{})
		if err != nil {
			return nil
		}
		for _, p := range pods {
			out = append(out, p.Name)
		}
		return out
	})
}

// completeNodes completes the name of a node.
func (a *App) completeNodes(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completing(c, args, prefix, func(ctx context.Context, r *reader) (out []string) {
		all, err := r.Compare(ctx, r.now, r.limits)
		if err != nil {
			return nil
		}
		for _, n := range all.Nodes {
			out = append(out, n.Name)
		}
		return out
	})
}

// completeHosts completes the name of a host that nodes check.
func (a *App) completeHosts(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.completing(c, args, prefix, func(ctx context.Context, r *reader) (out []string) {
		all, err := r.Compare(ctx, r.now, r.limits)
		if err != nil {
			return nil
		}
		for _, h := range view.HostRows(all.Result) {
			out = append(out, h.Host)
		}
		return out
	})
}
