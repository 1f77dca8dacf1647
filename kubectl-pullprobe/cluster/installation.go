package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// Part is what is read of an installation.
type Part string

// The parts of an installation.
const (
	PartDaemonSet Part = "daemonset"
	PartAgents    Part = "agents"
	PartReports   Part = "reports"
	PartFleet     Part = "fleet"
	PartSecrets   Part = "secrets"
	PartAdmission Part = "admission"
	PartRights    Part = "rights"
)

// Installation is what the cluster has of pullprobe itself.
type Installation struct {
	Home       string
	DaemonSet  *appsv1.DaemonSet          // nil: there is none
	Agents     []corev1.Pod               // of the DaemonSet
	Warnings   map[types.UID]corev1.Event // the newest one on an agent or on the DaemonSet
	Reports    []Report                   //
	Nodes      []Node                     // that exist, or that have a report
	Fleet      *appsv1.Deployment         // nil: there is none
	Secrets    SecretAccess               // of the agents
	Policies   []string                   // that are bound
	NoPolicies bool                       // the cluster has no such API
	Rights     []Right                    // of the caller
	Unread     map[Part]string            // why a part could not be read
	Limits     *Limits
}

// SecretAccess is how agents may read pull secrets.
type SecretAccess string

// The ways in which agents may read pull secrets, by the components that grant it.
const (
	NoSecrets          SecretAccess = ""
	AllSecrets         SecretAccess = "secrets"
	SecretsOfNode      SecretAccess = "read-as-node"
	SecretsOfNamespace SecretAccess = "secrets-per-namespace"
)

// Right is what the caller may do, or not.
type Right struct {
	Verb, Resource, Namespace string
	Allowed                   bool
	Without                   string // what does not work without it
}

// Installation reads what the cluster has of pullprobe. What cannot be read is named in Unread.
func (c *Client) Installation(ctx context.Context, namespace string, now time.Time) (*Installation, error) {
	out := &Installation{Warnings: map[types.UID]corev1.Event{}, Unread: map[Part]string{}, Limits: &Limits{}}
	if err := c.readReports(ctx, out, now); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, *Installation) error{
		c.readDaemonSet, c.readAgents, c.readWarnings, c.readFleet, c.readSecrets, c.readPolicies,
	} {
		if err := read(ctx, out); err != nil {
			return nil, err
		}
	}
	out.Home = c.home
	return out, c.readRights(ctx, out, namespace)
}

// unread notes a missing right; any other error is returned.
func (i *Installation) unread(part Part, err error, verb, resource, namespace string) error {
	if Denied(err) {
		i.Unread[part] = MissingRight(verb, resource, namespace, "")
		return nil
	}
	return err
}

func (c *Client) readReports(ctx context.Context, out *Installation, now time.Time) error {
	var err error
	if out.Reports, err = c.Reports(ctx, out.Limits); err != nil {
		return out.unread(PartReports, err, "list", "configmaps", c.home)
	}
	all, err := c.Compare(ctx, now, out.Limits)
	out.Nodes = all.Nodes
	return out.unread(PartReports, err, "list", "configmaps", c.home)
}

// readDaemonSet finds the DaemonSet of the agents; if the caller has not named the namespace of
// pullprobe, and nothing else has shown it, in any.
func (c *Client) readDaemonSet(ctx context.Context, out *Installation) error {
	o := metav1.ListOptions{LabelSelector: agentLabels}
	list, err := c.Kube.AppsV1().DaemonSets(c.home).List(ctx, o)
	if err != nil {
		return out.unread(PartDaemonSet, err, "list", "daemonsets", c.home)
	}
	if len(list.Items) == 0 && !c.fixed && len(out.Reports) == 0 {
		if all, err := c.Kube.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, o); err == nil && len(all.Items) == 1 {
			list = all
			c.home = all.Items[0].Namespace
		}
	}
	if len(list.Items) > 0 {
		out.DaemonSet = &list.Items[0]
	}
	return nil
}

func (c *Client) readAgents(ctx context.Context, out *Installation) error {
	list, err := c.Pods(ctx, c.home, metav1.ListOptions{LabelSelector: agentLabels})
	out.Agents = list
	return out.unread(PartAgents, err, "list", "pods", c.home)
}

// readWarnings takes the newest warning on each agent and on the DaemonSet. Without the right to
// read Events there are none.
func (c *Client) readWarnings(ctx context.Context, out *Installation) error {
	selector := fields.OneTermEqualSelector("type", corev1.EventTypeWarning).String()
	list, err := c.Kube.CoreV1().Events(c.home).List(ctx, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		if Denied(err) {
			out.Limits.Add(MissingRight("list", "events", c.home, "the reason why a pod of pullprobe does not start may be missing"))
			return nil
		}
		return err
	}
	for _, e := range list.Items {
		if have, ok := out.Warnings[e.InvolvedObject.UID]; !ok || eventTime(&e).After(eventTime(&have)) {
			out.Warnings[e.InvolvedObject.UID] = e
		}
	}
	return nil
}

func eventTime(e *corev1.Event) time.Time {
	return slices.MaxFunc([]time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time}, time.Time.Compare)
}

// fleetLabels selects the Deployment of the fleet.
const fleetLabels = "app.kubernetes.io/name=pullprobe-fleet"

func (c *Client) readFleet(ctx context.Context, out *Installation) error {
	list, err := c.Kube.AppsV1().Deployments(c.home).List(ctx, metav1.ListOptions{LabelSelector: fleetLabels})
	if err != nil {
		return out.unread(PartFleet, err, "list", "deployments", c.home)
	}
	if len(list.Items) > 0 {
		out.Fleet = &list.Items[0]
	}
	return nil
}

// readSecrets finds out by which component agents may read pull secrets.
func (c *Client) readSecrets(ctx context.Context, out *Installation) error {
	o := metav1.ListOptions{LabelSelector: agentLabels}
	cluster, err := c.Kube.RbacV1().ClusterRoles().List(ctx, o)
	if err != nil {
		return out.unread(PartSecrets, err, "list", "clusterroles", "")
	}
	for _, r := range cluster.Items {
		switch {
		case grants(r.Rules, "get", "secrets"):
			out.Secrets = AllSecrets
			return nil
		case grants(r.Rules, "impersonate-on:associated-node:get", "secrets"):
			out.Secrets = SecretsOfNode
			return nil
		}
	}
	roles, err := c.Kube.RbacV1().Roles(metav1.NamespaceAll).List(ctx, o)
	if err != nil {
		return out.unread(PartSecrets, err, "list", "roles", "")
	}
	for _, r := range roles.Items {
		if grants(r.Rules, "get", "secrets") {
			out.Secrets = SecretsOfNamespace
		}
	}
	return nil
}

// grants reports whether some rule allows a verb on a resource.
func grants(rules []rbacv1.PolicyRule, verb, resource string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, verb) && slices.Contains(r.Resources, resource)
	})
}

// readPolicies takes the names of the admission policies that are bound.
func (c *Client) readPolicies(ctx context.Context, out *Installation) error {
	api := c.Kube.AdmissionregistrationV1()
	policies, err := api.ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		out.NoPolicies = true
		return nil
	}
	if err != nil {
		return out.unread(PartAdmission, err, "list", "validatingadmissionpolicies", "")
	}
	bindings, err := api.ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return out.unread(PartAdmission, err, "list", "validatingadmissionpolicybindings", "")
	}
	for _, p := range policies.Items {
		for _, b := range bindings.Items {
			if b.Spec.PolicyName == p.Name && !slices.Contains(out.Policies, p.Name) {
				out.Policies = append(out.Policies, p.Name)
			}
		}
	}
	return nil
}

// readRights finds out what the caller may do.
func (c *Client) readRights(ctx context.Context, out *Installation, namespace string) error {
	for _, r := range []Right{
		{"list", "pods", namespace, false, "only the waiting pods that the reports name are shown"},
		{"list", "configmaps", c.home, false, "verdicts come from Events only; " + ReaderRole},
		{"list", "events", namespace, false, "for a pod that is in no report, only the kubelet's message is shown"},
		{"patch", "pods", namespace, false, "'ask' cannot request a diagnosis"},
		{"create", "pods", namespace, false, "'preflight' cannot check images before a rollout"},
		{"list", "pods", "", false, "-A shows the pods that the reports name"},
		{"list", "nodes", "", false, "nodes are compared without their zones, pools and subnets"},
	} {
		review := &authv1.SelfSubjectAccessReview{Spec: authv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authv1.ResourceAttributes{Verb: r.Verb, Resource: r.Resource, Namespace: r.Namespace},
		}}
		got, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if Denied(err) {
			out.Unread[PartRights] = "you may not find out what you may do"
			return nil
		}
		if err != nil {
			return fmt.Errorf("what you may do: %w", err)
		}
		r.Allowed = got.Status.Allowed
		out.Rights = append(out.Rights, r)
	}
	return nil
}
