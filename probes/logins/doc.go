// Package logins decides which login goes to which host or token service: as the runtime
// gives it, except where the probes must not send it. It sends nothing.
package logins
