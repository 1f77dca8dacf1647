// Package imagemanifest reads image indexes and manifests as containerd does: which
// manifest of an index fits a platform, how large an image is, and what a digest may be.
package imagemanifest
