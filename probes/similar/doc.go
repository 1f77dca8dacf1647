// Package similar finds the tags, repositories and hosts that may have been meant by a name that
// does not exist: among names of a list, or by a guess. It sends nothing.
package similar
