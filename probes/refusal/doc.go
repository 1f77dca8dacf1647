// Package refusal finds the reason that a registry's own text gives for a refusal.
//
// It is the only place in the probes that reads a registry's English. What leaves it is
// one of the reasons, never the text. The text says who refused; it is not the runtime's,
// and names no cause.
package refusal
