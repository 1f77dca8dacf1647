package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
)

// completeTimeout is how long a completion may take.
const completeTimeout = 3 * time.Second

// names returns what may follow a prefix. What cannot be read completes nothing.
type names func(ctx context.Context, r *reader, prefix string) []string

// completion returns the completion of an argument or of a flag's value.
type completion = func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// complete returns a completion from names that are read from the cluster.
func (a *App) complete(of names) completion {
	return func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		r, err := a.reader()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, stop := context.WithTimeout(c.Context(), completeTimeout)
		defer stop()
		return matching(of(ctx, r, prefix), prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// first restricts a completion to the first argument.
func first(of completion) completion {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return of(c, args, prefix)
	}
}

// oneOf returns the completion of a flag that has these values.
func oneOf(values ...string) completion {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return matching(values, prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

func matching(list []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}

// completeFlags sets the completions of the flags that all commands have, and of the outputs.
func (a *App) completeFlags(root *cobra.Command) {
	for name, of := range map[string]completion{
		"color": oneOf("auto", "always", "never"),
		"namespace": a.complete(func(ctx context.Context, r *reader, _ string) []string {
			return r.names(ctx, corev1.SchemeGroupVersion.WithResource("namespaces"), "")
		}),
		"context": func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			cfg, err := a.kube.ToRawKubeConfigLoader().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var out []string
			for name := range cfg.Contexts {
				out = append(out, name)
			}
			return matching(out, prefix), cobra.ShellCompDirectiveNoFileComp
		},
	} {
		must(root.RegisterFlagCompletionFunc(name, of))
	}
	for _, c := range append(root.Commands(), root) {
		if f := c.Flags().Lookup("output"); f != nil {
			values := strings.FieldsFunc(f.Usage, func(r rune) bool { return r == ',' || r == ' ' || r == ':' })
			known := []string{"wide", "json", "yaml", "name", "html"}
			values = slices.DeleteFunc(values, func(s string) bool { return !slices.Contains(known, s) })
			must(c.RegisterFlagCompletionFunc("output", oneOf(values...)))
		}
	}
}

// must panics on an error of the program itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// names returns the names of objects.
func (r *reader) names(ctx context.Context, resource schema.GroupVersionResource, namespace string) (out []string) {
	list, err := r.Meta.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	for _, o := range list.Items {
		out = append(out, o.Name)
	}
	return out
}

// completePods completes the name of a pod of the namespace, or the name in TYPE/NAME.
func (a *App) completePods() completion {
	return first(a.complete(func(ctx context.Context, r *reader, prefix string) (out []string) {
		namespace, err := a.Namespace()
		if err != nil {
			return nil
		}
		kind, _, typed := strings.Cut(prefix, "/")
		if !typed {
			return r.names(ctx, corev1.SchemeGroupVersion.WithResource("pods"), namespace)
		}
		mapper, err := a.kube.ToRESTMapper()
		if err != nil {
			return nil
		}
		resource, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: kind})
		if err != nil {
			return nil
		}
		for _, name := range r.names(ctx, resource, namespace) {
			out = append(out, kind+"/"+name)
		}
		return out
	}))
}

// completeNodes completes the name of a node.
func (a *App) completeNodes() completion {
	return first(a.complete(func(ctx context.Context, r *reader, _ string) (out []string) {
		all, err := r.Compare(ctx, r.now, r.limits)
		if err != nil {
			return nil
		}
		for _, n := range all.Nodes {
			out = append(out, n.Name)
		}
		return out
	}))
}

// completeHosts completes the name of a host that nodes check.
func (a *App) completeHosts() completion {
	return first(a.complete(func(ctx context.Context, r *reader, _ string) (out []string) {
		all, err := r.Compare(ctx, r.now, r.limits)
		if err != nil {
			return nil
		}
		for _, h := range view.HostRows(all.Result) {
			out = append(out, h.Host)
		}
		return out
	}))
}
