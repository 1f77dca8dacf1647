// Package examine plans and makes all checks of one image, as the container
// runtime on this machine would pull it, and decides whether a test pull may be
// made. It calls no Kubernetes API.
//
// [Examiner.Examine] checks one image, [Examiner.Survey] the registries of a node, and
// [Examiner.NodeState] the runtime and the disk.
package examine
