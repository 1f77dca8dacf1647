package report

// The labels of a node's ConfigMap, for `kubectl get cm -L`. The fleet's has those that
// have a meaning for it.
const (
	LabelReport      = "pullprobe.dev/report" // that it is the report of a node
	LabelFault       = "pullprobe.dev/fault"
	LabelCause       = "pullprobe.dev/cause"
	LabelStuck       = "pullprobe.dev/stuck"
	LabelSince       = "pullprobe.dev/since"
	LabelUnreachable = "pullprobe.dev/unreachable"
	LabelChecked     = "pullprobe.dev/checked"
	LabelDomain      = "pullprobe.dev/" // followed by a fault: how many stuck pods, or findings, it must act on
)

// LabelNodes is the label of the fleet's ConfigMap that has how many nodes there are.
const LabelNodes = "pullprobe.dev/nodes"

// FleetName is the name of the fleet's ConfigMap. No report of a node has it.
const FleetName = "pullprobe-fleet"

// FieldManager owns the fields that pullprobe writes (server-side apply).
const FieldManager = "pullprobe"

// SummaryKey is the key of a ConfigMap's data that people read.
const SummaryKey = "summary"

// ConfigMapName returns the name of a node's report: pullprobe-<node>, or pullprobe-<node
// UID> where that is longer than a name may be. That of a node named "fleet" is
// pullprobe--fleet: the other one is the fleet's, and no Node's name begins with a hyphen.
func ConfigMapName(node, uid string) string {
	if node == "fleet" {
		return "pullprobe--fleet"
	}
	return nameFor("pullprobe-", node, uid)
}

// AnswersName returns the name of the ConfigMap with what the fleet says to a node. No
// report has such a name.
func AnswersName(node, uid string) string { return nameFor("second-opinion-", node, uid) }

// nameFor returns the name of an object about a node.
func nameFor(prefix, node, uid string) string {
	const longest = 253
	if len(prefix)+len(node) > longest && uid != "" {
		return prefix + uid
	}
	return prefix + node
}
