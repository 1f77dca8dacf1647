// Package tokens gets a token from the token service that a registry names, as containerd
// does. Whether the login may be sent there is decided before, in package logins.
package tokens
