// Package missing finds out why a registry refused a manifest: whether the tag or the
// repository is missing, which name may have been meant, and the reason that the registry
// gives. What it sends to the registry are questions, within the budget.
package missing
