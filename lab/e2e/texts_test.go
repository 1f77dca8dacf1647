//go:build e2e

package e2e

// Parts of the product's sentences that the tests expect, because no evidence holds the
// same fact. A change of such a sentence changes this file.
const (
	// textForbidden precedes the namespace where the agent lacks a permission of RBAC:
	// verb and resource (credentials.ForbiddenError).
	textForbidden = "get secrets in namespace "
	// textMissingVerb is the verb of RBAC that reading as the node needs first
	// (whyNotAsNode in the package that reads from the API server).
	textMissingVerb = "impersonate:associated-node"
	// textOnlyReferenced is why the API server refuses a secret that no pod of the node
	// refers to (whyNotAsNode).
	textOnlyReferenced = "only what its pods refer to"
	// textNeedsToken is whose token a credential provider needs (whyNotRun in the
	// package that examines an image).
	textNeedsToken = "ServiceAccount"
	// retryCommand is the part of the retry command that no other command has
	// (report.Ask).
	retryCommand = "probe=$(date +%s)"
)
