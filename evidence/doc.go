// Package evidence prepares the facts of a check for a report. Facts come from
// servers, files and the kernel: here they are bounded and made readable.
package evidence
