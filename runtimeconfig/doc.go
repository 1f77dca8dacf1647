// Package runtimeconfig reads how the container runtime is configured to reach
// registries, and which of these settings are invalid, ignored, or newer than
// the running process.
//
// What a file means depends on the version of containerd that reads it: generation.go has
// the rules of config.toml, hoststoml.go those of hosts.toml.
//
// [Read] reads containerd's own files. [RegistryConfig.Hosts] lists the hosts that
// containerd contacts for a domain, from hosts.toml, Docker's certificate
// directories or registry.mirrors, by containerd's own rules.
//
// Its checks:
//
//	runtime/config.toml   the configuration files, and whether they are newer than the process
//	runtime/environment   proxy and trust settings, and what its service's files would give it now
package runtimeconfig
