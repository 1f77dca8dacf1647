// Package examine plans and makes all checks of one image, as the container
// runtime on this machine would pull it, and decides whether a test pull may be
// made. It knows nothing of Kubernetes.
//
// [Examiner.Examine] is the door for one image, [Examiner.Survey] for the
// registries of a node, [Examiner.NodeState] for the runtime and the disk.
package examine
