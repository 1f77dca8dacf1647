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

// FieldManager owns the fields that pullprobe writes (server-side apply).
const FieldManager = "pullprobe"

// SummaryKey is the key of a ConfigMap's data that people read.
const SummaryKey = "summary"

// ConfigMapName returns the name of a node's report: pullprobe-<node>, or pullprobe-<node
// UID> where that is longer than a name may be.
func ConfigMapName(node, uid string) string { return nameFor("pullprobe-", node, uid) }

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
