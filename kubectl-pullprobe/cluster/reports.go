package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Report is the report of one node, as its ConfigMap has it.
type Report struct {
	Node    string
	Content *report.NodeReport // nil: it cannot be read
	Problem string             // why not
	Summary string             // for people, as the agent wrote it
	Written time.Time          // by the API server's clock; zero: not known
}

// pageSize is how many reports one request returns: at most 64 KiB each.
const pageSize = 100

// Home returns the namespace of pullprobe.
func (c *Client) Home() string { return c.home }

// Reports returns the reports of all nodes, by the name of the node. If there is none in the
// namespace of pullprobe, and the caller has not named it, they are looked for in all
// namespaces.
func (c *Client) Reports(ctx context.Context, limits *Limits) ([]Report, error) {
	out, err := c.reportsIn(ctx, c.home)
	if c.fixed || err != nil && !Denied(err) || len(out) > 0 {
		return sorted(out), err
	}
	elsewhere, errAll := c.reportsIn(ctx, metav1.NamespaceAll)
	var namespaces []string
	for _, r := range elsewhere {
		if !slices.Contains(namespaces, r.namespace) {
			namespaces = append(namespaces, r.namespace)
		}
	}
	switch {
	case errAll != nil || len(namespaces) == 0:
		return sorted(out), err
	case len(namespaces) > 1: // anyone may make a ConfigMap with this label
		return nil, fmt.Errorf("reports are in several namespaces (%s and %s): name one with --pullprobe-namespace", namespaces[0], namespaces[1])
	}
	c.home = namespaces[0]
	limits.Add("the reports are those of namespace " + c.home + "; name another with --pullprobe-namespace")
	return sorted(elsewhere), nil
}

// located is a report with the namespace of its ConfigMap.
type located struct {
	Report
	namespace string
}

func sorted(list []located) []Report {
	out := make([]Report, len(list))
	for i, r := range list {
		out[i] = r.Report
	}
	slices.SortFunc(out, func(a, b Report) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func (c *Client) reportsIn(ctx context.Context, namespace string) (out []located, err error) {
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return c.Kube.CoreV1().ConfigMaps(namespace).List(ctx, o)
	}))
	p.PageSize = pageSize
	err = p.EachListItem(ctx, metav1.ListOptions{LabelSelector: report.LabelReport}, func(o runtime.Object) error {
		if cm, ok := o.(*corev1.ConfigMap); ok {
			out = append(out, located{newReport(cm), cm.Namespace})
		}
		return nil
	})
	return out, err
}

// Report returns the report of one node. An error of the kind NotFound means that it has none.
func (c *Client) Report(ctx context.Context, node string) (Report, error) {
	cm, err := c.Kube.CoreV1().ConfigMaps(c.home).Get(ctx, report.ConfigMapName(node, ""), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		// Its name may be the Node's UID, or pullprobe may be in another namespace.
		list, errList := c.Reports(ctx, &Limits{})
		for _, r := range list {
			if r.Node == node {
				return r, nil
			}
		}
		if errList != nil && !Denied(errList) {
			return Report{}, errList
		}
	}
	if err != nil {
		return Report{}, err
	}
	return newReport(cm), nil
}

// maxSchema is the part of a schema's name that an error repeats.
const maxSchema = 40

// newReport reads a ConfigMap. It is the claim of its node.
func newReport(cm *corev1.ConfigMap) Report {
	r := Report{Node: nodeOf(cm.Name), Summary: cm.Data[report.SummaryKey], Written: writtenAt(&cm.ObjectMeta)}
	var head struct{ Schema, Node string }
	body := []byte(cm.Data["report.json"])
	if err := json.Unmarshal(body, &head); err != nil {
		r.Problem = "its report.json is no JSON"
		return r
	}
	r.Node = cmp.Or(head.Node, r.Node)
	var content report.NodeReport
	switch err := json.Unmarshal(body, &content); {
	case cm.Name != report.ConfigMapName(head.Node, "") && !isUID.MatchString(nodeOf(cm.Name)):
		r.Node, r.Problem = nodeOf(cm.Name), "it is about another node"
	case head.Schema != report.Schema:
		r.Problem = fmt.Sprintf("its schema is %q, and this plugin reads %s: use a plugin of the agent's version",
			readable.Clean(head.Schema, maxSchema), report.Schema)
	case err != nil:
		r.Problem = "its report.json has something that this plugin does not know: use a plugin of the agent's version"
	default:
		for i := range content.Diagnoses {
			d := &content.Diagnoses[i]
			d.Checks = content.ChecksOf(*d)
		}
		r.Content = &content
	}
	return r
}

// isUID matches the UID of a Node, which names a report whose node has too long a name.
var isUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// nodeOf returns what follows the prefix in the name of a report: the node or its UID.
func nodeOf(name string) string {
	const prefix = "pullprobe-"
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return name
	}
	return name[len(prefix):]
}

// writtenAt returns when an agent wrote last, by the API server's clock: a node's own may be
// wrong.
func writtenAt(m *metav1.ObjectMeta) time.Time {
	var at time.Time
	for _, f := range m.ManagedFields {
		if f.Time != nil && f.Manager == report.FieldManager && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}

// Silent is how old a report may be before its agent counts as silent: two sweeps at the
// default interval, which is the shortest time for which facts count, and two minutes.
const Silent = 12 * time.Minute
