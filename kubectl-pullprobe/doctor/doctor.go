// Package doctor says whether pullprobe itself is well. It is pure: no clock, no cluster.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/pullprobe/pullprobe/kubectl-pullprobe/cluster"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/screen"
	"github.com/pullprobe/pullprobe/kubectl-pullprobe/view"
	"github.com/pullprobe/pullprobe/report"
	"github.com/pullprobe/pullprobe/report/readable"
)

// Check is one thing that is well or not.
type Check struct {
	Part    cluster.Part   `json:"part"`
	Outcome report.Outcome `json:"outcome"` // skipped: a remark; unknown: it could not be read
	Summary string         `json:"summary"`
	Fix     string         `json:"fix,omitempty"`
}

// More parts than those that are read.
const (
	partRuntime  cluster.Part = "runtime"
	partVersions cluster.Part = "versions"
)

// Checks returns what is well and what is not, for a plugin of a version.
func Checks(i *cluster.Installation, version string, now time.Time) []Check {
	var out []Check
	for _, of := range []func(*cluster.Installation) []Check{
		daemonSet, agents, runtimes,
		func(i *cluster.Installation) []Check { return reports(i, now) },
		func(i *cluster.Installation) []Check { return versions(i, version) },
		fleet, secrets, admission, rights,
	} {
		out = append(out, of(i)...)
	}
	return out
}

// unread returns the check on a part that could not be read.
func unread(i *cluster.Installation, part cluster.Part) ([]Check, bool) {
	why, ok := i.Unread[part]
	return []Check{{Part: part, Outcome: report.Unknown, Summary: why}}, ok
}

func daemonSet(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartDaemonSet); ok {
		return c
	}
	c := Check{Part: cluster.PartDaemonSet, Outcome: report.Fail}
	d := i.DaemonSet
	switch {
	case d == nil && len(i.Reports) > 0:
		c.Summary = "there are reports in namespace " + i.Home + ", but no DaemonSet: pullprobe was removed, or its labels were changed"
		return []Check{c}
	case d == nil:
		c.Summary = "pullprobe is not installed in namespace " + i.Home
		c.Fix = "install it (docs/install.md), or name its namespace with --pullprobe-namespace"
		return []Check{c}
	case d.Status.DesiredNumberScheduled == 0:
		c.Summary = d.Name + " is for no node: no node matches its nodeSelector and tolerations"
		return []Check{c}
	}
	ready, want := d.Status.NumberReady, d.Status.DesiredNumberScheduled
	c.Summary = fmt.Sprintf("%s in namespace %s: %d of %s ready", d.Name, d.Namespace, ready, screen.Plural(int(want), "agent"))
	if ready == want {
		c.Outcome = report.Pass
	}
	if updated := d.Status.UpdatedNumberScheduled; updated < want {
		c.Summary += fmt.Sprintf("; %d of %d have the current template", updated, want)
	}
	out := []Check{c}
	if e, ok := i.Warnings[d.UID]; ok && ready < want {
		out = append(out, Check{Part: cluster.PartDaemonSet, Outcome: report.Fail, Summary: warning(e), Fix: fixFor(e.Message)})
	}
	return out
}

func warning(e corev1.Event) string { return e.Reason + ": " + readable.Clean(e.Message, maxMessage) }

// maxMessage bounds a message of the cluster, in bytes.
const maxMessage = 300

// agents returns why agents are not ready: those of one reason together.
func agents(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartAgents); ok {
		return c
	}
	type reason struct{ text, fix string }
	nodes := map[reason][]string{}
	var order []reason
	for n := range i.Agents {
		p := &i.Agents[n]
		if view.Ready(p) || p.DeletionTimestamp != nil {
			continue
		}
		r := reason{text: view.StateOf(p).Text}
		if e, ok := i.Warnings[p.UID]; ok {
			r.text += "; " + strings.ReplaceAll(warning(e), p.Name, "the pod")
			r.fix = fixFor(e.Message)
		}
		if nodes[r] == nil {
			order = append(order, r)
		}
		nodes[r] = append(nodes[r], cmp.Or(p.Spec.NodeName, p.Name))
	}
	out := make([]Check, 0, len(order))
	for _, r := range order {
		out = append(out, Check{
			Part: cluster.PartAgents, Outcome: report.Fail, Fix: r.fix,
			Summary: "the agent of " + readable.Abbreviate(nodes[r]) + " " + r.text,
		})
	}
	return out
}

// fixFor returns what fixes a warning of Kubernetes; empty: not known.
func fixFor(message string) string {
	switch {
	case strings.Contains(message, "hostPath type check failed"):
		return "the path is of another kind on this node: change the volume of the DaemonSet (docs/setups.md)"
	case strings.Contains(message, "violates PodSecurity"):
		return "label the namespace: kubectl label namespace NAMESPACE pod-security.kubernetes.io/enforce=privileged"
	case strings.Contains(message, "exceeded quota"):
		return "raise the quota of the namespace, or remove it"
	case strings.Contains(message, "denied the request"), strings.Contains(message, "admission webhook"):
		return "an admission policy of the cluster rejects the pod: exempt the namespace of pullprobe from it (docs/privileges.md)"
	}
	return ""
}

// runtimes names the nodes whose agent does not reach the container runtime.
func runtimes(i *cluster.Installation) []Check {
	nodes := map[string][]string{}
	var order []string
	read := 0
	for _, r := range i.Reports {
		if r.Content == nil {
			continue
		}
		read++
		if x := r.Content.Runtime; x.Outcome == report.Fail || x.Outcome == report.Error {
			if nodes[x.Summary] == nil {
				order = append(order, x.Summary)
			}
			nodes[x.Summary] = append(nodes[x.Summary], r.Node)
		}
	}
	if read == 0 {
		return nil
	}
	if len(order) == 0 {
		text := "the agents reach the container runtime on " + screen.Plural(read, "node")
		return []Check{{Part: partRuntime, Outcome: report.Pass, Summary: text}}
	}
	out := make([]Check, 0, len(order))
	for _, text := range order {
		out = append(out, Check{
			Part: partRuntime, Outcome: report.Fail, Summary: readable.Abbreviate(nodes[text]) + ": " + text,
			Fix: "if the socket is elsewhere on these nodes: docs/setups.md",
		})
	}
	return out
}

// reports returns which nodes have no report, an old one, or one that cannot be read.
func reports(i *cluster.Installation, now time.Time) []Check {
	if c, ok := unread(i, cluster.PartReports); ok {
		c[0].Fix = cluster.ReaderRole
		return c
	}
	fail := func(summary, fix string) Check {
		return Check{Part: cluster.PartReports, Outcome: report.Fail, Summary: summary, Fix: fix}
	}
	var out []Check
	var missing, silent []string
	for _, n := range i.Nodes {
		switch {
		case !n.Reports():
			missing = append(missing, n.Name)
		case n.Silent(now):
			silent = append(silent, n.Name)
		}
	}
	if len(missing) > 0 && i.DaemonSet != nil {
		out = append(out, missingReports(i, missing))
	}
	if len(silent) > 0 {
		out = append(out, fail(readable.Abbreviate(silent)+": the report is old, its agent is silent",
			"read the logs of the agent: kubectl logs -n "+i.Home+" -l app.kubernetes.io/name=pullprobe"))
	}
	for _, r := range i.Reports {
		if r.Content == nil {
			out = append(out, fail(r.Node+": the report cannot be read: "+r.Problem, ""))
		}
	}
	if len(out) == 0 && len(i.Reports) > 0 {
		out = append(out, Check{Part: cluster.PartReports, Outcome: report.Pass, Summary: fmt.Sprintf("%d of %s report",
			len(i.Reports), screen.Plural(len(i.Nodes), "node"))})
	}
	return out
}

// missingReports returns the check on nodes without a report. That no agent runs on a node may be
// intended.
func missingReports(i *cluster.Installation, nodes []string) Check {
	have := map[string]bool{}
	for _, p := range i.Agents {
		have[p.Spec.NodeName] = true
	}
	var withAgent []string
	for _, n := range nodes {
		if have[n] {
			withAgent = append(withAgent, n)
		}
	}
	if len(withAgent) > 0 {
		return Check{
			Part: cluster.PartReports, Outcome: report.Fail, Summary: readable.Abbreviate(withAgent) + ": there is an agent, but no report",
			Fix: "read its logs: kubectl logs -n " + i.Home + " -l app.kubernetes.io/name=pullprobe",
		}
	}
	return Check{
		Part: cluster.PartReports, Outcome: report.Skipped, Summary: readable.Abbreviate(nodes) + ": no agent, so no report",
		Fix: "if one is to run there, check nodeSelector and tolerations of the DaemonSet",
	}
}

// versions compares the versions of agents and plugin.
func versions(i *cluster.Installation, plugin string) []Check {
	nodes := map[string][]string{}
	var order []string
	for _, r := range i.Reports {
		if r.Content == nil {
			continue
		}
		v := r.Content.Agent
		if nodes[v] == nil {
			order = append(order, v)
		}
		nodes[v] = append(nodes[v], r.Node)
	}
	if len(order) == 0 {
		return nil
	}
	slices.Sort(order)
	c := Check{Part: partVersions, Outcome: report.Pass}
	if len(order) == 1 {
		c.Summary = "the agents have version " + order[0]
	} else {
		c.Outcome = report.Skipped
		var parts []string
		for _, v := range order {
			parts = append(parts, v+" on "+readable.Abbreviate(nodes[v]))
		}
		c.Summary = "the agents have several versions: " + strings.Join(parts, "; ")
	}
	if len(order) == 1 && order[0] == plugin {
		c.Summary += ", as this plugin"
	} else {
		c.Summary += "; this plugin has " + plugin
	}
	return []Check{c}
}

func fleet(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartFleet); ok {
		return c
	}
	if i.DaemonSet == nil && i.Fleet == nil {
		return nil
	}
	c := Check{Part: cluster.PartFleet}
	switch d := i.Fleet; {
	case d == nil:
		c.Outcome = report.Skipped
		c.Summary = "not installed: agents get no evidence of other nodes, and pods without a node are not answered"
		c.Fix = "add the component fleet of the manifests"
	case d.Status.ReadyReplicas == 0:
		c.Outcome = report.Fail
		c.Summary = fmt.Sprintf("%s: none of %s is ready", d.Name, screen.Plural(wanted(d), "replica"))
		for _, x := range d.Status.Conditions {
			if x.Type == appsv1.DeploymentReplicaFailure && x.Status == corev1.ConditionTrue {
				c.Summary += "; " + readable.Clean(x.Message, maxMessage)
				c.Fix = fixFor(x.Message)
			}
		}
	default:
		c.Outcome = report.Pass
		c.Summary = fmt.Sprintf("%s: %d of %s ready", d.Name, d.Status.ReadyReplicas, screen.Plural(wanted(d), "replica"))
	}
	return []Check{c}
}

func wanted(d *appsv1.Deployment) int {
	if d.Spec.Replicas == nil {
		return 1
	}
	return int(*d.Spec.Replicas)
}

func secrets(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartSecrets); ok {
		return c
	}
	if i.DaemonSet == nil {
		return nil
	}
	c := Check{Part: cluster.PartSecrets, Outcome: report.Pass}
	switch i.Secrets {
	case cluster.NoSecrets:
		c.Outcome = report.Skipped
		c.Summary = "agents may not read pull secrets, so credentials are not checked"
		c.Fix = "add one of the components secrets, read-as-node, secrets-per-namespace"
	case cluster.SecretsOfNode:
		c.Summary = "agents may read the pull secrets of their own node's pods"
	case cluster.SecretsOfNamespace:
		c.Summary = "agents may read pull secrets of some namespaces"
	case cluster.AllSecrets:
		c.Summary = "agents may read pull secrets"
	}
	return []Check{c}
}

// agentPolicies tie an agent to its own node.
var agentPolicies = []string{"pullprobe-report", "pullprobe-events"}

func admission(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartAdmission); ok {
		return c
	}
	if i.DaemonSet == nil {
		return nil
	}
	c := Check{Part: cluster.PartAdmission, Outcome: report.Pass, Summary: "policies tie each agent to its own node"}
	var missing []string
	for _, name := range agentPolicies {
		if !slices.Contains(i.Policies, name) {
			missing = append(missing, name)
		}
	}
	switch {
	case i.NoPolicies:
		c.Outcome = report.Skipped
		c.Summary = "this cluster has no ValidatingAdmissionPolicy (Kubernetes 1.30): the token of one agent can forge the reports of all nodes"
	case len(missing) > 0:
		c.Outcome = report.Skipped
		c.Summary = "no policy " + strings.Join(missing, ", ") + " is bound: the token of one agent can forge the reports of all nodes"
		c.Fix = "add the component admission-policy of the manifests"
	}
	return []Check{c}
}

// rights returns what the caller may not do.
func rights(i *cluster.Installation) []Check {
	if c, ok := unread(i, cluster.PartRights); ok {
		return c
	}
	var out []Check
	for _, r := range i.Rights {
		if !r.Allowed {
			text := cluster.MayNot(r.Verb, r.Resource, r.Namespace, r.Without)
			out = append(out, Check{Part: cluster.PartRights, Outcome: report.Skipped, Summary: text})
		}
	}
	if len(out) == 0 && len(i.Rights) > 0 {
		const text = "you may read pods, reports, Events and nodes, and request diagnoses"
		out = append(out, Check{Part: cluster.PartRights, Outcome: report.Pass, Summary: text})
	}
	return out
}

// Write adds the checks.
func Write(t *screen.Text, checks []Check) {
	for _, c := range checks {
		texts := []string{c.Summary}
		if c.Fix != "" {
			texts = append(texts, "fix: "+c.Fix)
		}
		t.Item(c.Outcome, string(c.Part), texts...)
	}
}
