// Package examine plans and makes all checks of one image, as the container
// runtime on this machine would pull it, and decides whether a test pull may be
// made. It calls no Kubernetes API.
//
// [NodeReader] reads what the runtime on this machine is set to. With it,
// [Examiner.Examine] checks one image, [Surveyor.Survey] the registries of a node, and
// [NodeReader.State] the runtime and the disk.
package examine
