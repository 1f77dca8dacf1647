/*
Pullprobe explains why an image pull fails, from the node where it fails: which
of the manifest, the node and the registry is at fault, the cause, and the fix.

Usage:

	pullprobe agent [flags]
	pullprobe check [flags] IMAGE...
	pullprobe explain [flags] [MESSAGE]
	pullprobe completion bash|zsh|fish
	pullprobe version [flags]

Flags stand anywhere; "pullprobe COMMAND --help" lists them.

# Agent

The agent runs in a privileged DaemonSet, one per node. It watches the pods of
its node, checks the images that they wait for, and publishes the verdicts: an
Event on each stuck pod, and a ConfigMap with the report of the node. It also
checks all registries of the node periodically. Each flag is also an environment
variable; docs/configuration.md lists them.

# Check

Check runs the same checks once, on any Linux machine, without a cluster. With
--runtime-endpoint it sees the node as the container runtime does, and has the
runtime pull the image, unless --no-pull is given or the image is present.

With -f it checks the images of Kubernetes manifests, with their pull policy and
the platform of their node selector. With --auth-file it uses the logins of a file,
or those of docker or podman.

The output is text, or with -o json an array with one diagnosis per image
(docs/report.md). On a terminal the verdict has a color, and a line on standard
error shows the progress; a pipe gets neither.

# Explain

Explain classifies error messages offline: the argument, or one message per line
of standard input. With -o json it prints one object per line. A message alone
proves little: the confidence is at most "likely", except for an invalid image
name and the pull policy Never.

# Exit codes

	0  healthy; explain: always
	1  check: a fault was found; agent: it failed
	2  usage error
	3  check: could not tell: no fault was found, and an image is undetermined

# Limits

Check sees this machine only, and the credentials that --auth-file names. Without
--runtime-endpoint no pull is made, so no verdict is confirmed by the runtime.
*/
package main
